"""Masks like those that a person mended: by embedding, and by how they seem to be wrong."""

import numpy as np

from maskdistill.review.audit import measure_likeness

UNKNOWN = float("nan")


def test_alike_in_embedding_space_comes_first():
    vectors = np.array([[1.0, 0], [2, 0.1], [0, 3], [1, 1]])
    likeness, place = measure_likeness(vectors, np.zeros(4), [0], [0.0])
    assert np.argsort(-likeness).tolist()[:3] == [1, 3, 2]
    assert likeness[0] == -np.inf  # it was mended
    assert place.tolist() == [-1, 0, 0, 0]
    np.testing.assert_allclose(likeness[3], np.sqrt(0.5))


def test_same_failure_comes_before_another_one():
    vectors = np.array([[1.0, 0], [1, 0], [1, 0], [1, 0]])
    growing = np.log(1.5)
    likeness, _ = measure_likeness(vectors, np.array([0, growing, -growing, UNKNOWN]), [0], [growing])
    assert likeness[1] > likeness[2]
    assert likeness[1] > likeness[3]


def test_each_is_like_the_nearest_of_several():
    vectors = np.array([[1.0, 0], [0, 1], [0.9, 0.1], [0.1, 0.9]])
    _, place = measure_likeness(vectors, np.zeros(4), [0, 1], [0.0, 0.0])
    assert place.tolist() == [-1, -1, 0, 1]


def test_without_a_vector_or_a_mended_mask_nothing_is_alike():
    vectors = np.array([[1.0, 0], [0, 0]])
    assert measure_likeness(vectors, np.zeros(2), [0], [0.0])[0][1] == -np.inf
    assert (measure_likeness(vectors, np.zeros(2), [], [])[0] == -np.inf).all()
    assert (measure_likeness(vectors, np.zeros(2), [1], [0.0])[0] == -np.inf).all()  # the mended one has no vector
