"""Maps of the mask embeddings in two dimensions: PCA at once, UMAP as a stage of its own."""

from collections.abc import Callable

import numpy as np

from maskdistill.clustering.embedding_space import EmbeddingSpace
from maskdistill.config import ProjectionConfig
from maskdistill.errors import ShapeError

PCA_FIRST = 50  # dimensions that UMAP is given at most: neighbours stay, time falls
SAME = 1e-5  # difference, as a fraction of the largest value, that rounding makes of one photo met twice
PLACED_AT_ONCE = 20_000  # of those that are placed among the others
FEWEST = 5  # with fewer vectors every one is a neighbour of every other, and UMAP has nothing to unfold


def pca_map(vectors: np.ndarray) -> np.ndarray:
    """(N, D) vectors to (N, 2) float32 along the two directions of largest variance; zeros where there is none.

    Raises:
        ShapeError: If ``vectors`` is not a matrix.
        ConfigError: If one is not finite.
    """
    reduced = _reduce(vectors, 2)
    placed = np.zeros((len(vectors), 2), dtype=np.float32)
    placed[:, : reduced.shape[1]] = reduced
    return placed


def umap_map(
    vectors: np.ndarray,
    config: ProjectionConfig,
    seed: int,
    groups: np.ndarray | None = None,
    on_step: Callable[[int, int], None] = lambda _done, _total: None,
) -> np.ndarray:
    """(N, D) vectors to (N, 2) float32 by UMAP (McInnes et al., 2018) after PCA to 50 dimensions.

    The first call in a process takes up to a minute more: numba compiles. One thread, so that a seed gives one map.
    Fewer than five vectors, or vectors that are all the same, get ``pca_map``. Of more than ``most_unfolded`` a sample
    is unfolded, and the others are placed among it.

    Args:
        vectors: (N, D).
        config: Settings.
        seed: Of UMAP and of the sample.
        groups: (N,) of whose groups the sample has an equal share each, as far as they have members; None: of all.
        on_step: Called with how many are placed, and their number.

    Raises:
        ShapeError: If ``vectors`` is not a matrix.
        ConfigError: If one is not finite.
    """
    start = pca_map(vectors)
    if len(vectors) < FEWEST or not start.any():
        return start
    from umap import UMAP  # seconds to import

    # PCA keeps the arrangement at large; the noise parts equal vectors and widens a map that is only a line.
    noise = np.random.default_rng(seed).normal(scale=1e-3, size=start.shape)
    begin = (start * (10 / np.abs(start).max()) + noise).astype(np.float32)
    reduced = _reduce(vectors, PCA_FIRST)
    chosen = stratified_rows(groups if groups is not None else np.zeros(len(vectors), int), config.most_unfolded, seed)
    reducer = UMAP(
        n_neighbors=min(config.num_neighbors, len(chosen) - 1),
        min_dist=config.min_dist,
        n_epochs=config.num_epochs,
        init=begin[chosen],
        random_state=seed,
        n_jobs=1,
    )
    placed = np.empty((len(vectors), 2), np.float32)
    placed[chosen] = reducer.fit_transform(reduced[chosen])
    on_step(len(chosen), len(vectors))
    others = np.setdiff1d(np.arange(len(vectors)), chosen)
    for first in range(0, len(others), PLACED_AT_ONCE):
        rows = others[first : first + PLACED_AT_ONCE]
        placed[rows] = reducer.transform(reduced[rows])
        on_step(len(chosen) + first + len(rows), len(vectors))
    return placed


def stratified_rows(groups: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most so many rows, rising: as many of each group, and of a small one all.

    Args:
        groups: (N,) whole numbers.
        most: Of the rows.
        seed: Of which they are.
    """
    if len(groups) <= most:
        return np.arange(len(groups))
    order = np.random.default_rng(seed).permutation(len(groups))
    by_group = order[np.argsort(groups[order], kind="stable")]
    _, sizes = np.unique(groups, return_counts=True)
    rank = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # of each row in its group
    return np.sort(by_group[np.argsort(rank, kind="stable")[:most]])


def _reduce(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """(N, d) by PCA, d at most ``dimensions`` and the rank; (N, 0) if no vector differs from another."""
    if vectors.ndim != 2:
        raise ShapeError("vectors", "(N, D)", vectors.shape)
    if len(vectors) < 2 or np.abs(vectors - vectors[0]).max() <= SAME * np.abs(vectors).max():
        return np.zeros((len(vectors), 0), dtype=np.float32)
    return EmbeddingSpace.fit(vectors, dimensions, whiten=False, normalise=False).transform(vectors)
