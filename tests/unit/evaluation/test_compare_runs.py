import shutil

import numpy as np
import pytest

from maskdistill.errors import RunError
from maskdistill.evaluation.compare_runs import (
    PhotoPair,
    common_photos,
    comparable_runs,
    compare_runs,
    match_counts,
    share_unmatched,
)
from maskdistill.evaluation.run_label_maps import LabelMaps
from maskdistill.pseudo_labels.label_maps import read_label_png, write_label_png
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_photos import photos_of

SWAP = np.array([0, 2, 3, 1, *range(4, 256)], np.uint8)  # other numbers for the same clusters


@pytest.fixture(scope="module")
def run(finished):
    return finished[0]


@pytest.fixture
def other(run, tmp_path):
    """A copy whose final label maps have other numbers for the clusters."""
    copy = Run(shutil.copytree(run.path, tmp_path / "other"))
    for number in range(len(photos_of(copy))):
        path = copy.prediction("stage2", number)
        write_label_png(path, SWAP[read_label_png(path)])
    return copy


def compare(run, other, **options):
    pairs = common_photos(photos_of(run), photos_of(other))
    return compare_runs(LabelMaps(run), LabelMaps(other), pairs, **options)


def test_runs_that_differ_in_numbers_only_agree(run, other):
    found = compare(run, other)
    assert found.agreement == 1.0
    present = {label for n in range(12) for label in np.unique(read_label_png(run.prediction("stage2", n)))}
    assert {cluster: label for label, cluster in found.matching.items()} == {label: SWAP[label] for label in present}


def test_photo_that_differs_is_found(run, other):
    path = other.prediction("stage2", 5)
    labels = read_label_png(path)
    labels[: len(labels) // 2] = np.where(labels[: len(labels) // 2] == 0, SWAP[1], 0)
    write_label_png(path, labels)
    seen = []
    found = compare(run, other, on_progress=lambda done, total: seen.append((done, total)))
    assert found.pairs[int(found.changed.argmax())] == PhotoPair(5, 5)
    assert 0 < found.agreement < 1
    assert seen[-1] == (12, 12)


def test_label_maps_of_two_sizes_are_refused(run, other):
    write_label_png(other.prediction("stage2", 0), np.zeros((3, 3), np.uint8))
    with pytest.raises(RunError, match="3 x 3 pixels"):
        compare(run, other)


def test_photos_go_together_by_content_not_by_name(run):
    photos = photos_of(run)
    renamed = [type(photo)(**{**vars(photo), "id": f"other-{photo.id}"}) for photo in reversed(photos)]
    assert common_photos(photos, renamed) == [PhotoPair(number, 11 - number) for number in range(12)]
    assert common_photos(photos, renamed[:3]) == [PhotoPair(9, 2), PhotoPair(10, 1), PhotoPair(11, 0)]


def test_runs_without_a_photo_in_common_have_no_agreement(run):
    found = compare_runs(LabelMaps(run), LabelMaps(run), [])
    assert found.agreement is None
    assert found.matching == {0: 0}


def test_cluster_without_a_counterpart_differs():
    counts = [[(0, 0, 10), (1, 1, 6), (1, 2, 4)]]
    matching = match_counts(counts)
    assert matching == {0: 0, 1: 1}
    assert share_unmatched(counts[0], matching) == 4 / 20
    assert share_unmatched([], matching) == 0.0


def test_only_labelled_runs_of_the_same_data_are_offered(run, other, tmp_path):
    elsewhere = Run(shutil.copytree(run.path, tmp_path / "elsewhere"))
    elsewhere.write_info(run.info() | {"data": "sample"})
    bare = Run(shutil.copytree(run.path, tmp_path / "bare"))
    (bare.path / "predictions.json").unlink()
    assert [found.name for found in comparable_runs(run, [run, other, elsewhere, bare])] == ["other"]
