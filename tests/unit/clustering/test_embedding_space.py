import io

import numpy as np
import pytest

from maskdistill.clustering import embedding_space
from maskdistill.clustering.embedding_space import EmbeddingSpace, check_vectors, sample_rows, unit_rows
from maskdistill.errors import CheckpointError, ConfigError, ShapeError


def stretched(num=60, width=8, seed=0):
    """Vectors with another variance and mean in each dimension, and dimensions that hang together."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(num, width)) * np.geomspace(5, 0.1, width) @ rng.normal(size=(width, width))
    return (values + rng.normal(size=width) * 3).astype(np.float32)


def slow_axes(vectors):
    """Variances and directions of a PCA, from the covariance summed up row by row."""
    mean = vectors.astype(np.float64).mean(axis=0)
    covariance = np.zeros((vectors.shape[1],) * 2)
    for row in vectors:
        covariance += np.outer(row - mean, row - mean) / (len(vectors) - 1)
    variances, axes = np.linalg.eigh(covariance)
    return variances[::-1], axes[:, ::-1].T


def test_the_published_way_divides_by_the_std_and_does_not_centre():
    vectors = stretched()
    placed = EmbeddingSpace.fit(vectors, -1, whiten=True, normalise=True).transform(vectors)
    expected = vectors / vectors.std(axis=0)
    np.testing.assert_allclose(placed, expected / np.linalg.norm(expected, axis=1)[:, None], atol=1e-5)


def test_without_anything_the_vectors_stay():
    vectors = stretched()
    space = EmbeddingSpace.fit(vectors, -1, whiten=False, normalise=False)
    np.testing.assert_array_equal(space.transform(vectors), vectors)
    assert space.dimensions == 8
    assert space.note is None


@pytest.mark.parametrize("num", [60, 6], ids=["more rows than columns", "fewer"])
def test_pca_equals_a_slow_covariance(num):
    vectors = stretched(num)
    placed = EmbeddingSpace.fit(vectors, 3, whiten=False, normalise=False).transform(vectors)
    variances, axes = slow_axes(vectors)
    for number in range(3):
        expected = (vectors - vectors.mean(axis=0)) @ axes[number]
        sign = np.sign(expected @ placed[:, number])
        np.testing.assert_allclose(placed[:, number] * sign, expected, atol=1e-3)  # float32 values of about 30
    np.testing.assert_allclose(placed.var(axis=0, ddof=1), variances[:3], rtol=1e-4)


def test_whitened_dimensions_have_variance_one_and_do_not_hang_together():
    vectors = stretched()
    placed = EmbeddingSpace.fit(vectors, 5, whiten=True, normalise=False).transform(vectors)
    np.testing.assert_allclose(np.cov(placed.T), np.eye(5), atol=1e-4)


def test_normalised_vectors_have_length_one():
    vectors = stretched()
    placed = EmbeddingSpace.fit(vectors, 4, whiten=True, normalise=True).transform(vectors)
    assert placed.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(placed, axis=1), 1, atol=1e-5)


def test_standardised_before_pca_no_dimension_dominates():
    vectors = stretched()
    vectors[:, 0] *= 1000
    plain = EmbeddingSpace.fit(vectors, 1, whiten=False, normalise=False)
    standardised = EmbeddingSpace.fit(vectors, 1, whiten=False, normalise=False, standardise=True)
    assert np.abs(plain.components[0, 0]) > 0.999
    assert np.abs(standardised.components[0, 0]) < 0.9


@pytest.mark.parametrize(("num", "width", "expected"), [(4, 8, 3), (60, 8, 8), (2, 8, 1)])
def test_dimensions_are_cut_to_what_the_vectors_span_and_a_note_says_so(num, width, expected):
    vectors = stretched(num, width)
    space = EmbeddingSpace.fit(vectors, 24, whiten=True, normalise=True)
    assert space.dimensions == expected
    assert space.note == f"PCA to 24 dimensions was cut to {expected}: {num} vectors span no more."
    assert np.isfinite(space.transform(vectors)).all()


def test_doubled_rows_do_not_count_as_directions():
    vectors = np.repeat(stretched(4), 10, axis=0)
    space = EmbeddingSpace.fit(vectors, 24, whiten=True, normalise=False)
    assert space.dimensions == 3
    placed = space.transform(vectors)
    np.testing.assert_array_equal(placed[::10], placed[9::10])
    np.testing.assert_allclose(placed.std(axis=0, ddof=1), 1, atol=1e-4)


@pytest.mark.parametrize("dimensions", [-1, 3])
def test_constant_dimensions_count_for_nothing(dimensions):
    vectors = stretched()
    widened = np.insert(vectors, 2, np.float32(1e4 / 3), axis=1)
    widened[::2, 2] = np.nextafter(widened[0, 2], np.float32(np.inf))  # rounding, which a std would blow up
    options = {"whiten": True, "normalise": True, "standardise": True}
    placed = EmbeddingSpace.fit(widened, dimensions, **options).transform(widened)
    expected = EmbeddingSpace.fit(vectors, dimensions, **options).transform(vectors)
    kept = np.delete(placed, 2, axis=1) if dimensions == -1 else placed
    np.testing.assert_allclose(np.abs(kept), np.abs(expected), atol=1e-5)


def test_a_cut_space_is_the_one_fitted_to_fewer_dimensions():
    vectors = stretched()
    cut = EmbeddingSpace.fit(vectors, 6, whiten=True, normalise=True).cut(3)
    fewer = EmbeddingSpace.fit(vectors, 3, whiten=True, normalise=True)
    assert cut.dimensions == 3
    np.testing.assert_allclose(cut.transform(vectors), fewer.transform(vectors), atol=1e-5)
    with pytest.raises(ConfigError, match="without PCA has no order of dimensions"):
        EmbeddingSpace.fit(vectors, -1, whiten=True, normalise=True).cut(3)


def test_new_vectors_go_through_the_map_that_was_learnt():
    vectors = stretched()
    space = EmbeddingSpace.fit(vectors, 4, whiten=True, normalise=True)
    np.testing.assert_allclose(space.transform(vectors[5:6]), space.transform(vectors)[5:6], atol=1e-6)


def test_chunks_do_not_show(monkeypatch):
    vectors = stretched()
    space = EmbeddingSpace.fit(vectors, 4, whiten=True, normalise=True)
    whole = space.transform(vectors)
    monkeypatch.setattr(embedding_space, "CHUNK_ROWS", 7)
    np.testing.assert_allclose(space.transform(vectors), whole, atol=1e-6)


@pytest.mark.parametrize("dimensions", [-1, 50])
def test_survives_a_file(dimensions):
    vectors = stretched()
    space = EmbeddingSpace.fit(vectors, dimensions, whiten=True, normalise=True)
    file = io.BytesIO()
    np.savez(file, **space.to_arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        back = EmbeddingSpace.from_arrays(arrays)
    np.testing.assert_array_equal(back.transform(vectors), space.transform(vectors))
    assert back.note == space.note


def test_a_file_that_lacks_an_array_is_named():
    arrays = EmbeddingSpace.fit(stretched(), 2, whiten=True, normalise=True).to_arrays()
    del arrays["mean"]
    with pytest.raises(CheckpointError, match=r"lacks mean. Run the stage 'cluster' again"):
        EmbeddingSpace.from_arrays(arrays)


def test_one_vector_is_too_few():
    with pytest.raises(ConfigError, match="at least 2 masks, got 1. Add photos"):
        EmbeddingSpace.fit(stretched(1), 3, whiten=True, normalise=True)


def test_vectors_that_are_all_the_same_are_refused():
    with pytest.raises(ConfigError, match="All 9 embeddings are the same"):
        EmbeddingSpace.fit(np.ones((9, 4), np.float32), 3, whiten=True, normalise=True)


@pytest.mark.parametrize("dimensions", [0, -2])
def test_dimensions_that_mean_nothing_are_refused(dimensions):
    with pytest.raises(ConfigError, match=f"at least 1, or -1 for no PCA, got {dimensions}"):
        EmbeddingSpace.fit(stretched(), dimensions, whiten=True, normalise=True)


def test_a_broken_vector_is_counted_and_named():
    vectors = stretched()
    vectors[[3, 8], 1] = np.nan, np.inf
    with pytest.raises(ConfigError, match=r"2 of 60 embeddings hold NaN or infinity, the first in row 3"):
        check_vectors(vectors)


@pytest.mark.parametrize("shape", [(5,), (5, 0), (2, 3, 4)])
def test_what_is_no_matrix_is_refused(shape):
    with pytest.raises(ShapeError, match=r"vectors must have shape \(N, D\)"):
        check_vectors(np.zeros(shape))


def test_vectors_of_another_width_are_refused():
    space = EmbeddingSpace.fit(stretched(), 3, whiten=True, normalise=True)
    with pytest.raises(ShapeError, match=r"vectors must have shape \(N, 8\), got \(60, 7\)"):
        space.transform(stretched()[:, :7])


def test_a_sample_is_in_order_without_doubles_and_always_the_same():
    vectors = np.arange(200).reshape(100, 2)
    sample = sample_rows(vectors, 30)
    assert len(sample) == 30
    assert (np.diff(sample[:, 0]) > 0).all()
    assert len(set(np.diff(sample[:, 0]))) > 1  # not evenly spaced
    np.testing.assert_array_equal(sample_rows(vectors, 30), sample)
    assert sample_rows(vectors, 100) is vectors


def test_unit_rows_leave_zeros():
    np.testing.assert_allclose(unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])
