"""Two clusterings of the same masks, against counts done by hand."""

import numpy as np
import pytest

from maskdistill.clustering.compare_clusterings import compare_clusterings, diagonal_order
from maskdistill.errors import ShapeError

NOW = np.array([1] * 10 + [2] * 10 + [3] * 10)


def test_equal_but_for_the_numbers():
    found = compare_clusterings(NOW, np.array([0, 3, 1, 2])[NOW])
    assert found.agreement == pytest.approx(1)
    assert found.overlap == 1
    assert found.pairs == ((1, 3), (2, 1), (3, 2)) == found.same
    assert found.splits() == {} == found.merges()


def test_one_comes_apart():
    other = NOW.copy()
    other[:4] = 4
    found = compare_clusterings(NOW, other)
    assert found.counts.tolist() == [[6, 0, 0, 4], [0, 10, 0, 0], [0, 0, 10, 0]]
    assert found.splits() == {1: [1, 4]}
    assert found.merges() == {}
    assert found.overlap == pytest.approx(26 / 30)
    assert found.same == ((2, 2), (3, 3))


def test_two_come_together():
    found = compare_clusterings(NOW, np.where(NOW == 3, 2, NOW))
    assert found.merges() == {2: [2, 3]}
    assert found.splits() == {}
    assert 0 < found.agreement < 1
    assert found.overlap == pytest.approx(20 / 30)


def test_a_few_strays_are_no_split():
    other = NOW.copy()
    other[0] = 2
    found = compare_clusterings(NOW, other)
    assert found.splits() == {}
    assert found.same == ((1, 1), (2, 2), (3, 3))


def test_masks_in_no_cluster_do_not_count():
    other = np.where(np.arange(30) % 2, NOW, 0)
    found = compare_clusterings(NOW, other)
    assert found.counts.sum() == 15
    assert found.agreement == pytest.approx(1)
    nothing = compare_clusterings(np.zeros(3, int), np.ones(3, int))
    assert nothing.counts.size == 0
    assert nothing.overlap == 0 == nothing.agreement
    assert nothing.pairs == ()


def test_refuses_clusterings_of_different_masks():
    with pytest.raises(ShapeError, match="other"):
        compare_clusterings(NOW, NOW[1:])


def test_order_brings_a_shuffled_matrix_to_its_diagonal():
    counts = np.diag([5, 6, 7, 8])
    shuffled = counts[:, [2, 0, 3, 1]]
    assert shuffled[:, diagonal_order(shuffled)].tolist() == counts.tolist()
