import numpy as np
import pytest

from maskdistill.clustering.neighbors import nearest, nearest_to
from maskdistill.errors import ConfigError


def test_agrees_with_a_loop_over_cosines():
    vectors = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    cosines = [float(row @ vectors[7] / np.linalg.norm(row) / np.linalg.norm(vectors[7])) for row in vectors]
    wanted = sorted((row for row in range(50) if row != 7), key=lambda row: -cosines[row])[:5]
    rows, found = nearest(vectors, 7, 5)
    assert rows.tolist() == wanted
    np.testing.assert_allclose(found, [cosines[row] for row in wanted], atol=1e-5)  # float32 products


def test_of_equal_ones_the_first_comes_first():
    vectors = np.array([[1, 0], [0, 1], [1, 0], [2, 0], [1, 0]], np.float32)
    assert nearest(vectors, 2, 3)[0].tolist() == [0, 3, 4]


def test_more_than_there_are_gives_all_others():
    assert len(nearest(np.eye(3, dtype=np.float32), 0, 12)[0]) == 2
    assert len(nearest(np.ones((1, 3), np.float32), 0, 12)[0]) == 0


def test_a_vector_of_zeros_is_like_none():
    _, cosines = nearest(np.array([[0, 0], [1, 0]], np.float32), 0, 1)
    assert cosines.tolist() == [0]


def test_a_row_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="row 3 of 2"):
        nearest(np.eye(2), 3, 1)


def test_of_a_vector_that_is_none_of_them_all_may_be_neighbours():
    vectors = np.array([[0, 1], [3, 0], [1, 1]], np.float32)
    rows, cosines = nearest_to(vectors, np.array([2.0, 0.0]), 9)
    assert rows.tolist() == [1, 2, 0]
    np.testing.assert_allclose(cosines, [1, 0.5**0.5, 0], atol=1e-6)


def test_a_vector_and_its_row_have_the_same_neighbours_but_for_itself():
    vectors = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    assert nearest_to(vectors, vectors[3], 6)[0].tolist() == [3, *nearest(vectors, 3, 5)[0]]
