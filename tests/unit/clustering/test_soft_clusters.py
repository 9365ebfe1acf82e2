import numpy as np
import pytest
from blobs import blobs

from maskdistill.clustering.kmeans import Clustering
from maskdistill.clustering.soft_clusters import cluster_shares, match_to_medoid
from maskdistill.errors import ShapeError

VECTORS, TRUTH = blobs(sizes=(20, 15, 10))
FIRST = np.flatnonzero(TRUTH == 0)  # the members of the first blob
EVERYTHING = np.ones(len(VECTORS), bool)


def run_of(labels):
    return Clustering.from_labels(VECTORS, np.asarray(labels))


def with_moved(count):
    """The blobs, with some masks of the first one in the second."""
    labels = TRUTH.copy()
    labels[FIRST[:count]] = 1
    return labels


def test_the_medoid_comes_first_and_gives_the_numbers():
    runs = [run_of((with_moved(8) + 1) % 3), run_of(2 - TRUTH), run_of((with_moved(2) + 2) % 3)]
    first, *others = match_to_medoid(runs)
    assert first is runs[2]
    in_its_numbers = [(with_moved(8) + 2) % 3, (TRUTH + 2) % 3]
    for run, wanted in zip(others, in_its_numbers, strict=True):
        np.testing.assert_array_equal(run.labels, wanted)
        np.testing.assert_allclose(run.centres[1], VECTORS[wanted == 1].mean(axis=0), atol=1e-5)


def test_of_equal_runs_the_first_is_the_medoid():
    runs = [run_of(TRUTH), run_of(2 - TRUTH)]
    first, second = match_to_medoid(runs)
    assert first is runs[0]
    np.testing.assert_array_equal(second.labels, TRUTH)


def test_shares_count_the_runs():
    runs = match_to_medoid([run_of(with_moved(0)), run_of(with_moved(2)), run_of(with_moved(2)), run_of(with_moved(4))])
    shares = cluster_shares(runs, VECTORS, EVERYTHING)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares[FIRST[:2]], [[0.25, 0.75, 0]] * 2)
    np.testing.assert_allclose(shares[FIRST[2:4]], [[0.75, 0.25, 0]] * 2)
    others = np.setdiff1d(np.arange(len(TRUTH)), FIRST[:4])
    np.testing.assert_allclose(shares[others], np.eye(3)[TRUTH[others]])


def test_one_run_gives_whole_shares():
    np.testing.assert_array_equal(cluster_shares([run_of(TRUTH)], VECTORS, EVERYTHING), np.eye(3)[TRUTH])


def test_what_no_run_saw_goes_to_each_runs_nearest_centre():
    one, other = match_to_medoid([run_of(TRUTH), run_of(2 - TRUTH)])
    centres = np.stack([VECTORS[number == TRUTH].mean(axis=0) for number in range(3)])
    fitted = np.append(EVERYTHING, [False, False])
    vectors = np.concatenate([VECTORS, centres[[2, 0]]])
    shares = cluster_shares([one, other], vectors, fitted)
    np.testing.assert_array_equal(shares[-2:], [[0, 0, 1], [1, 0, 0]])


def test_runs_of_different_numbers_of_clusters_are_refused():
    with pytest.raises(ShapeError, match="runs"):
        match_to_medoid([run_of(TRUTH), run_of(np.minimum(TRUTH, 1))])
