import numpy as np
import pytest
from blobs import blobs, slow_inertia
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score

from maskdistill.clustering.kmeans import Clustering, cluster
from maskdistill.clustering.ward import merge_centres


@pytest.mark.parametrize("num_classes", [1, 2, 5, 9, 12])
def test_merging_centres_of_one_size_is_ward_linkage(num_classes):
    centres = np.random.default_rng(0).normal(size=(12, 3))
    groups = merge_centres(centres, np.ones(12), num_classes)
    expected = fcluster(linkage(centres, "ward"), num_classes, criterion="maxclust")
    assert adjusted_rand_score(groups, expected) == 1
    assert groups[0] == 0
    assert sorted(set(groups.tolist())) == list(range(num_classes))


@pytest.mark.parametrize("seed", range(3))
def test_every_step_of_a_long_merge_is_ward_linkage(seed):
    centres = np.random.default_rng(seed).normal(size=(60, 2))
    tree = linkage(centres, "ward")
    for num_classes in range(2, 60):
        expected = fcluster(tree, num_classes, criterion="maxclust")
        assert adjusted_rand_score(merge_centres(centres, np.ones(60), num_classes), expected) == 1


@pytest.mark.parametrize("seed", range(4))
def test_each_merge_is_the_one_that_adds_least_inertia(seed):
    vectors, _ = blobs(sizes=(30, 20, 8), spread=1.5, seed=seed)
    labels = cluster(vectors, 7, seed=seed, num_seeds=1).labels
    for wanted in range(6, 1, -1):
        pairs = [(one, other) for other in range(wanted + 1) for one in range(other)]
        best = min(pairs, key=lambda pair: slow_inertia(vectors, np.where(labels == pair[1], pair[0], labels)))
        expected = np.unique(np.where(labels == best[1], best[0], labels), return_inverse=True)[1]
        now = Clustering.from_labels(vectors, labels)
        merged = merge_centres(now.centres, np.bincount(labels), wanted)[labels]
        np.testing.assert_array_equal(merged, expected)
        labels = merged


def test_an_empty_cluster_is_merged_without_a_trace():
    centres = np.array([[0.0, 0], [9, 9], [5, 5], [0.1, 0]])
    groups = merge_centres(centres, np.array([3, 4, 0, 2]), 2)
    assert groups[0] == groups[3] != groups[1]
