"""Masks that may have the same failure as those that a person mended. Pure: no file is read, and no ground truth."""

from collections.abc import Sequence

import numpy as np

CHANGE_WEIGHT = 0.3  # of a cosine, that a change by another factor than e costs at most


def measure_likeness(
    vectors: np.ndarray, expected: np.ndarray, mended: Sequence[int], changes: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """How much each mask is like one that was mended, by its embedding and by how it seems to be wrong.

    Args:
        vectors: (N, D) embeddings of all masks; a row of zeros for a mask without one.
        expected: (N,) natural logarithm of the area that a model draws, over the mask's; NaN where none draws it.
        mended: (M,) rows of the masks that were mended.
        changes: (M,) natural logarithm of the area that each had afterwards, over that of before.

    Returns:
        (N,) likeness in [-1.3, 1], -inf for masks that were mended or have no vector; (N,) place in ``mended`` of the
        one that it is like, -1 where there is none.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    rows = np.asarray(mended, np.int64)
    known = lengths[rows] > 0 if len(rows) else np.zeros(0, bool)
    likeness, place = np.full(len(vectors), -np.inf), np.full(len(vectors), -1)
    if not known.any():
        return likeness, place
    unit = vectors / np.where(lengths > 0, lengths, 1)[:, None]
    cosines = unit @ unit[rows[known]].T  # (N, M)
    away = np.abs(expected[:, None] - np.asarray(changes, np.float64)[known])
    values = cosines - CHANGE_WEIGHT * np.clip(np.nan_to_num(away, nan=1.0), 0, 1)
    open_rows = lengths > 0
    open_rows[rows] = False
    best = values.argmax(axis=1)
    likeness[open_rows] = values[np.arange(len(values)), best][open_rows]
    place[open_rows] = np.flatnonzero(known)[best][open_rows]
    return likeness, place
