import numpy as np
import pandas as pd
import pytest

from maskdistill.clustering.stored_vectors import read_vectors
from maskdistill.config import FilterConfig
from maskdistill.errors import RunError
from maskdistill.pseudo_labels.candidates import PredictedMask
from maskdistill.pseudo_labels.new_photo import ClusterSpace, Places, filter_photo
from maskdistill.storage.run_folder import Run


@pytest.fixture(scope="module")
def space(finished):
    return ClusterSpace.read(finished[0])


def test_the_runs_own_masks_are_placed_where_they_are(finished, space):
    run = finished[0]
    store, table = read_vectors(run), run.clusters()
    numbers = sorted({mask_id // 10 for mask_id in table["mask_id"]})
    places = space.place(store.read(numbers))
    np.testing.assert_allclose(places.vectors, np.load(run.path / "embeddings.npy"), atol=1e-6)
    others = ~table["fitted"].to_numpy()  # those were put into the cluster of the nearest centre
    assert others.any()
    assert places.clusters[others].tolist() == table["cluster"][others].tolist()
    np.testing.assert_allclose(places.distances[others], table["distance"][others], atol=1e-5)


def test_a_cluster_that_people_merged_counts_as_what_it_became(finished, monkeypatch):
    table = finished[0].clusters()
    merged = table.assign(cluster=table["cluster"].replace({3: 1}))
    monkeypatch.setattr(Run, "classes", lambda _run: merged)
    assert ClusterSpace.read(finished[0]).class_of.tolist() == [1, 2, 1]


def test_a_run_without_clusters_says_how_to_make_them(tmp_path):
    with pytest.raises(RunError, match="maskdistill cluster"):
        ClusterSpace.read(Run(tmp_path))


def test_vectors_of_another_kind_are_refused(space):
    with pytest.raises(RunError, match="there are only CLS 1"):
        space.place({"cls1": np.ones((1, 32), np.float32)})


def seen(score, proposal=0, label=1):
    return PredictedMask(np.ones((2, 2), bool), proposal, label, score, 0.9, 0.9, 0.2, 0.1)


def table(*rows):
    columns = ("image", "cluster", "score", "iou", "agreement", "distance", "area", "border")
    return pd.DataFrame([(*row, 0.9, 0.9, 0.1, 0.2, 0.1) for row in rows], columns=columns)


def places(*clusters):
    count = len(clusters)
    return Places(np.zeros((count, 2)), np.array(clusters), np.full(count, 0.1), np.ones(count))


def test_a_new_photo_is_filtered_beside_the_runs_masks():
    config = FilterConfig(min_score=0.5, empty_photos="none")
    judged = filter_photo(table((0, 1, 0.9), (1, 1, 0.3)), None, [seen(0.7), seen(0.4, None, 2)], places(1), config)
    assert judged.kept.tolist() == [True, False]
    assert judged.rules == ("kept", "low score")
    assert judged.whole.kept.tolist() == [True, False, True, False]
    assert judged.whole.signals.cluster.tolist() == [1, 1, 1, 2]


def test_a_photo_of_the_run_takes_the_place_of_its_own_rows():
    config = FilterConfig(min_score=0.95)
    judged = filter_photo(table((0, 1, 0.9), (1, 1, 0.3), (1, 2, 0.2)), 1, [seen(0.7), seen(0.4)], places(1, 1), config)
    assert judged.whole.kept.tolist() == [True, True, False]
    assert judged.rules == ("best of its photo", "low score")


def test_the_best_share_counts_the_whole_cluster():
    config = FilterConfig(keep_share=0.5, empty_photos="none")
    run = table(*((photo, 1, 0.1 * photo) for photo in range(1, 8)))
    assert filter_photo(run, None, [seen(0.65)], places(1), config).kept.tolist() == [True]
    assert filter_photo(run, None, [seen(0.25)], places(1), config).kept.tolist() == [False]


def test_a_photo_without_a_mask_is_judged_too():
    judged = filter_photo(table((0, 1, 0.9)), None, [], places(), FilterConfig(min_score=0.5))
    assert judged.kept.tolist() == []
    assert judged.whole.kept.tolist() == [True]
