import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from maskdistill.clustering.projection import pca_map, stratified_rows, umap_map
from maskdistill.config import ProjectionConfig
from maskdistill.errors import ConfigError, ShapeError


def blobs(num=40, width=12, seed=0):
    """Two blobs far apart, and which each vector is of."""
    rng = np.random.default_rng(seed)
    truth = np.arange(num) % 2
    return (rng.normal(size=(num, width)) + truth[:, None] * 9).astype(np.float32), truth


class FakeUmap:
    """Returns what it was told to start from; keeps what it was asked."""

    asked: list[tuple[dict, np.ndarray]]

    def __init__(self, **options):
        self.options = options

    def fit_transform(self, vectors):
        self.asked.append((self.options, vectors))
        return self.options["init"].astype(np.float64)


@pytest.fixture
def fake_umap(monkeypatch):
    """umap without its minute of compilation."""
    monkeypatch.setattr(FakeUmap, "asked", [], raising=False)
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FakeUmap))
    return FakeUmap


def test_pca_map_holds_the_two_largest_variances():
    vectors, truth = blobs()
    placed = pca_map(vectors)
    assert placed.shape == (40, 2)
    assert placed.dtype == np.float32
    variances = np.linalg.eigvalsh(np.cov(vectors.T))[::-1]
    np.testing.assert_allclose(placed.var(axis=0, ddof=1), variances[:2], rtol=1e-4)
    sides = placed[:, 0] > 0
    assert (sides == truth).all() or (sides != truth).all()


@pytest.mark.parametrize("num", [0, 1, 5])
def test_pca_map_of_vectors_that_do_not_differ_is_zero(num):
    np.testing.assert_array_equal(pca_map(np.full((num, 6), 3.0)), np.zeros((num, 2)))


def test_doubles_up_to_rounding_do_not_differ():
    vectors = np.full((5, 6), 3.0, np.float32)
    vectors[2, 1] = np.nextafter(vectors[2, 1], np.float32(4))
    np.testing.assert_array_equal(pca_map(vectors), np.zeros((5, 2)))


@pytest.mark.parametrize("vectors", [np.array([[0.0, 0], [3, 4]]), np.array([[0.0], [5]])], ids=["two", "one column"])
def test_pca_map_of_a_line_has_an_empty_second_column(vectors):
    placed = pca_map(vectors)
    np.testing.assert_allclose(np.abs(placed), [[2.5, 0], [2.5, 0]], atol=1e-6)


@pytest.mark.parametrize("make", [pca_map, lambda vectors: umap_map(vectors, ProjectionConfig(), 0)])
def test_what_cannot_be_placed_is_refused(make):
    with pytest.raises(ShapeError, match=r"vectors must have shape \(N, D\), got \(6,\)"):
        make(np.zeros(6))
    with pytest.raises(ConfigError, match="1 of 6 embeddings hold NaN"):
        make(np.array([[0.0, 1], [2, 3], [1, 1], [np.nan, 2], [0, 0], [5, 1]]))


@pytest.mark.parametrize("num", [2, 4])
def test_few_vectors_are_placed_by_pca(num, fake_umap):
    vectors = blobs(num)[0]
    np.testing.assert_array_equal(umap_map(vectors, ProjectionConfig(), 0), pca_map(vectors))
    np.testing.assert_array_equal(umap_map(np.ones((9, 3)), ProjectionConfig(), 0), np.zeros((9, 2)))
    assert not fake_umap.asked


def test_umap_is_asked_with_the_settings(fake_umap):
    vectors = blobs(80, width=64)[0]
    config = ProjectionConfig(num_neighbors=7, min_dist=0.3, num_epochs=33)
    placed = umap_map(vectors, config, 5)
    options, seen = fake_umap.asked[0]
    assert (options["n_neighbors"], options["min_dist"], options["n_epochs"]) == (7, 0.3, 33)
    assert (options["random_state"], options["n_jobs"]) == (5, 1)
    assert seen.shape == (80, 50)
    assert placed.dtype == np.float32
    start = pca_map(vectors)
    np.testing.assert_allclose(options["init"], start * 10 / np.abs(start).max(), atol=0.01)


def test_neighbours_are_no_more_than_there_are_others(fake_umap):
    umap_map(blobs(8)[0], ProjectionConfig(num_neighbors=15), 0)
    assert fake_umap.asked[0][0]["n_neighbors"] == 7


def test_a_line_starts_with_some_width(fake_umap):
    umap_map(np.arange(20.0)[:, None], ProjectionConfig(), 0)
    assert np.ptp(fake_umap.asked[0][0]["init"][:, 1]) > 0


@pytest.mark.slow
def test_umap_keeps_the_blobs_apart_and_comes_out_the_same_again():
    vectors, truth = blobs(60)
    vectors[10:20], truth[10:20] = vectors[10], truth[10]  # doubles
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        placed = umap_map(vectors, ProjectionConfig(), 3)
        small = umap_map(vectors[:6], ProjectionConfig(), 3)
        line = umap_map(np.arange(20.0)[:, None], ProjectionConfig(), 3)
    np.testing.assert_array_equal(placed, umap_map(vectors, ProjectionConfig(), 3))
    assert placed.dtype == np.float32
    assert np.isfinite(placed).all()
    assert np.isfinite(small).all()
    assert np.isfinite(line).all()
    away = np.linalg.norm(placed[:, None] - placed[None], axis=2)
    np.fill_diagonal(away, np.inf)
    nearest = away.argmin(axis=1)
    assert (truth[nearest] == truth).mean() > 0.95


class TestStratifiedRows:
    def test_few_are_all_taken(self):
        assert stratified_rows(np.array([2, 0, 1]), 3, 0).tolist() == [0, 1, 2]

    def test_of_each_group_as_many_and_of_a_small_one_all(self):
        groups = np.repeat([7, 1, 4], [500, 5, 95])
        rows = stratified_rows(groups, 85, 0)
        assert np.unique(groups[rows], return_counts=True)[1].tolist() == [5, 40, 40]
        assert rows.tolist() == sorted(set(rows.tolist())) == stratified_rows(groups, 85, 0).tolist()
        assert rows.tolist() != stratified_rows(groups, 85, 1).tolist()


@pytest.mark.slow
def test_of_many_a_sample_is_unfolded_and_the_others_are_placed_among_it():
    vectors, truth = blobs(300)
    steps = []
    config = ProjectionConfig(most_unfolded=120)
    placed = umap_map(vectors, config, 3, truth, lambda done, total: steps.append((done, total)))
    assert steps == [(120, len(vectors)), (len(vectors), len(vectors))]
    centres = np.stack([placed[truth == group].mean(axis=0) for group in np.unique(truth)])
    nearest = np.linalg.norm(placed[:, None] - centres, axis=2).argmin(axis=1)
    assert (np.unique(truth)[nearest] == truth).mean() > 0.95
