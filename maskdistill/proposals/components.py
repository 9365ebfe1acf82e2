"""Connected components of boolean masks; apart from ``masks``, because these need SciPy, which loads slowly."""

import numpy as np
from scipy import ndimage


def component_at(mask: np.ndarray, seed: tuple[int, int]) -> np.ndarray:
    """The 4-connected component of a (H, W) mask that holds ``seed`` (row, col); empty if the seed is outside."""
    labels, _ = ndimage.label(mask)
    return (labels == labels[seed]) & mask


def keep_large_components(mask: np.ndarray, min_piece: float) -> np.ndarray:
    """Drop 4-connected components smaller than ``min_piece`` times the largest component's area; (H, W) bool."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return (areas >= min_piece * areas.max())[labels] & mask
