"""Connected pieces of boolean masks; apart from ``masks``, which the app's first page must not wait for SciPy with."""

import numpy as np
from scipy import ndimage


def piece_with(mask: np.ndarray, seed: tuple[int, int]) -> np.ndarray:
    """The 4-connected piece of a (H, W) mask that holds ``seed`` (row, col); empty if the seed is outside."""
    labels, _ = ndimage.label(mask)
    return (labels == labels[seed]) & mask


def keep_large_pieces(mask: np.ndarray, min_piece: float) -> np.ndarray:
    """Drop 4-connected pieces smaller than ``min_piece`` times the largest piece's area; (H, W) bool."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return (areas >= min_piece * areas.max())[labels] & mask
