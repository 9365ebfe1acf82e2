"""Clusters that a mask may belong to rather."""

import numpy as np

from maskdistill.review.audit import ClusterCentres, suggest_clusters

CLUSTERS = np.array([1, 1, 2, 2, 2, 4, 4, 4, 4, 0])
VECTORS = np.array(
    [[9, 0], [8, 1], [0, 9], [1, 8], [0, 7], [-9, 0], [-8, 0], [-8, 1], [-9, 1], [5, 5]], dtype=np.float32
)


def test_own_then_stage_1_then_nearest_then_largest():
    centres = ClusterCentres.of(CLUSTERS, VECTORS)
    assert suggest_clusters(4, 2, centres, VECTORS[0]) == [4, 2, 1]
    assert suggest_clusters(0, 0, centres, VECTORS[0])[0] == 1


def test_largest_first_without_vectors():
    assert suggest_clusters(0, 0, ClusterCentres.of(CLUSTERS)) == [4, 2, 1]


def test_nearest_is_measured_from_the_mean_of_all():
    far = VECTORS + 1000  # all directions from the origin are alike
    centres = ClusterCentres.of(CLUSTERS, far)
    assert centres.nearest(far[2])[0] == 2


def test_means_are_those_of_a_loop():
    centres = ClusterCentres.of(CLUSTERS, VECTORS)
    mean = VECTORS.mean(axis=0)
    for place, number in enumerate(centres.ids):
        direction = VECTORS[number == CLUSTERS].mean(axis=0) - mean
        np.testing.assert_allclose(centres.directions[place], direction / np.linalg.norm(direction), rtol=1e-5)


def test_at_most_nine_and_none_that_is_banned_or_gone():
    centres = ClusterCentres.of(np.arange(1, 20))
    offered = suggest_clusters(77, 5, centres, excluded={1, 2})
    assert offered == [5, 3, 4, 6, 7, 8, 9, 10, 11]
