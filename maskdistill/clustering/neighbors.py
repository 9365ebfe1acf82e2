"""Which masks are most alike, by the embeddings that they were clustered by."""

import numpy as np

from maskdistill.errors import ConfigError


def nearest(vectors: np.ndarray, row: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The vectors most alike to one of them.

    Args:
        vectors: (N, D); may be mapped into memory.
        row: Of the one.
        count: How many others are wanted.

    Returns:
        (n,) rows, n at most ``count`` and N - 1, and (n,) cosines in [-1, 1], most alike first. The one itself is not
        among them. A vector of zeros has cosine 0 with all.

    Raises:
        ConfigError: If there is no such row, or ``count`` is negative.
    """
    if not 0 <= row < len(vectors) or count < 0:
        raise ConfigError(f"Neighbours of row {row} of {len(vectors)} were requested, {count} of them.")
    return _nearest(vectors, np.asarray(vectors[row]), min(count, len(vectors) - 1), row)


def nearest_to(vectors: np.ndarray, wanted: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The same for a (D,) vector that is none of them: n is at most ``count`` and N.

    Raises:
        ConfigError: If ``count`` is negative.
    """
    if count < 0:
        raise ConfigError(f"{count} neighbours were requested.")
    return _nearest(vectors, wanted, min(count, len(vectors)), None)


def _nearest(vectors: np.ndarray, wanted: np.ndarray, count: int, without: int | None) -> tuple[np.ndarray, np.ndarray]:
    wanted = wanted.astype(np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    scale = np.where(lengths > 0, lengths, 1) * (float(np.linalg.norm(wanted)) or 1)
    cosines = (vectors @ wanted) / scale
    if without is not None:
        cosines[without] = -np.inf
    if not count:
        return np.zeros(0, np.int64), np.zeros(0)
    best = np.argpartition(-cosines, count - 1)[:count]
    best = best[np.lexsort((best, -cosines[best]))]  # of equal ones the first, whatever the partition did
    return best, np.clip(cosines[best], -1, 1)
