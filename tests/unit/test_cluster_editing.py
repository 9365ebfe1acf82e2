import numpy as np
import pytest
from blobs import blobs

from maskdistill.cluster_editing import cluster_table, merge_clusters, split_cluster
from maskdistill.clustering import cluster
from maskdistill.errors import ConfigError, ShapeError


def test_merged_clusters_take_the_lowest_id_and_close_the_gaps():
    labels = np.array([0, 1, 2, 3, 4, 5, 4, 1])
    np.testing.assert_array_equal(merge_clusters(labels, [4, 1]), [0, 1, 2, 3, 1, 4, 1, 1])
    np.testing.assert_array_equal(merge_clusters(labels, [2, 0, 3, 0]), [0, 1, 0, 0, 2, 3, 2, 1])
    assert labels[4] == 4


@pytest.mark.parametrize(
    ("which", "match"), [([1], r"at least 2 different clusters, got \[1\]"), ([0, 7], "There is no cluster 7")]
)
def test_a_merge_that_means_nothing_is_refused(which, match):
    with pytest.raises(ConfigError, match=match):
        merge_clusters(np.array([0, 1, 2]), which)


def test_a_split_leaves_the_other_ids_alone():
    vectors, truth = blobs(sizes=(40, 25, 20, 10))
    labels = np.choose(truth, [1, 0, 1, 1])  # three blobs in one cluster
    split = split_cluster(vectors, labels, 1, 3, seed=0)
    np.testing.assert_array_equal(split, np.choose(truth, [1, 0, 2, 3]))
    np.testing.assert_array_equal(labels, np.choose(truth, [1, 0, 1, 1]))


@pytest.mark.parametrize("into", [1, 11])
def test_a_split_into_more_parts_than_masks_is_refused(into):
    vectors, truth = blobs()
    with pytest.raises(ConfigError, match=f"Cluster 3 can be split into 2 to 10 parts.*got {into}"):
        split_cluster(vectors, truth, 3, into, seed=0)
    with pytest.raises(ConfigError, match="There is no cluster 4. There are 0 to 3"):
        split_cluster(vectors, truth, 4, 2, seed=0)


def test_the_table_equals_a_slow_loop():
    vectors, _ = blobs(spread=1.2)
    result = cluster(vectors, 4, seed=0, num_seeds=3)
    table = cluster_table(result, vectors)
    assert [row["cluster"] for row in table] == [0, 1, 2, 3]
    assert [row["size"] for row in table] == sorted((row["size"] for row in table), reverse=True)
    for row in table:
        members = [spot for spot in range(len(vectors)) if result.labels[spot] == row["cluster"]]
        centre = result.centres[row["cluster"]]
        cosines = [vectors[spot] @ centre / np.linalg.norm(vectors[spot]) / np.linalg.norm(centre) for spot in members]
        assert row["size"] == len(members)
        assert row["mean_cosine"] == pytest.approx(np.mean(cosines), abs=1e-5)
        assert row["mean_distance"] == pytest.approx(np.mean([result.distances[spot] for spot in members]), abs=1e-5)
        assert row["exemplars"] == sorted(members, key=lambda spot: result.distances[spot])[:12]
        assert row["borderline"] == sorted(members, key=lambda spot: result.margins[spot])[:12]


def test_the_table_refuses_other_vectors():
    vectors, _ = blobs()
    result = cluster(vectors, 4, seed=0, num_seeds=2)
    with pytest.raises(ShapeError, match=r"vectors must have shape \(95, 6\), got \(94, 6\)"):
        cluster_table(result, vectors[:-1])
