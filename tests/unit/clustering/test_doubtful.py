import numpy as np

from maskdistill.clustering.doubtful import DOUBTFUL, doubtful_clusters


def test_a_cluster_far_below_the_median_is_named_with_its_share():
    labels = np.repeat([0, 1, 2], 4)
    prominence = np.array([0.8] * 4 + [0.7] * 4 + [0.3] * 4)
    found = doubtful_clusters(labels, prominence)
    assert list(found) == [2]
    assert found[2] == 0.3 / 0.7
    assert DOUBTFUL < 0.7 / 0.75


def test_masks_that_are_left_out_or_unknown_count_nowhere():
    labels = np.array([0, 0, 1, 1, 1, -1, -1, -1, -1, -1])
    prominence = np.array([0.8, 0.8, 0.4, np.nan, 0.4, *[0.01] * 5])
    assert doubtful_clusters(labels, prominence)[1] == np.mean([0.4, 0.4]) / np.median([0.8, 0.8, 0.4, 0.4])


def test_nothing_is_named_without_a_foreground():
    labels = np.array([0, 1, 1])
    assert doubtful_clusters(labels, np.full(3, np.nan)) == {}
    assert doubtful_clusters(labels, np.zeros(3)) == {}
