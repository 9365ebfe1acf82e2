"""What can be done to a mask without looking at its photo: its connected parts, holes, a smoother outline, a union."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from maskdistill.errors import ConfigError, ShapeError
from maskdistill.proposals.components import component_at
from maskdistill.review.repair.clicks import pixel_at

SMOOTHING = 0.006  # standard deviation of the smoothing kernel, as a share of the photo's shorter side
_NEAR = 0.02  # of the shorter side: a point beside a part counts as on it


def keep_component(mask: np.ndarray, x: float, y: float) -> np.ndarray:
    """Only the connected part under a point, or the nearest one if the point lies beside it.

    Args:
        mask: (H, W) bool.
        x: Pixels from the left.
        y: Pixels from the top.

    Returns:
        (H, W) bool; the mask as it was where no part is near the point.

    Raises:
        ConfigError: If the point lies outside the photo.
    """
    part = _part_near(mask, x, y)
    return part if part is not None else mask.copy()


def erase_component(mask: np.ndarray, x: float, y: float) -> np.ndarray:
    """All but the connected part under a point, or the nearest one if the point lies beside it.

    Args:
        mask: As ``keep_component``, and so the rest.
        x: Likewise.
        y: Likewise.
    """
    part = _part_near(mask, x, y)
    return mask & ~part if part is not None else mask.copy()


def _part_near(mask: np.ndarray, x: float, y: float) -> np.ndarray | None:
    row, col = pixel_at(x, y, _size_of(mask))
    reach = max(1, round(_NEAR * min(mask.shape)))
    top, left = max(row - reach, 0), max(col - reach, 0)
    rows, cols = np.nonzero(mask[top : row + reach + 1, left : col + reach + 1])
    distances = (rows + top - row) ** 2 + (cols + left - col) ** 2
    if not len(distances) or distances.min() > reach**2:
        return None
    nearest = int(distances.argmin())
    return component_at(mask, (int(rows[nearest]) + top, int(cols[nearest]) + left))


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """The mask with all that it encloses; (H, W) bool."""
    _size_of(mask)
    return ndimage.binary_fill_holes(mask)


def smooth(mask: np.ndarray) -> np.ndarray:
    """The mask with a smoother outline: what is half covered around each pixel; specks and slits of few pixels go.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) bool; the mask as it was where nothing would be left of it.
    """
    _size_of(mask)
    blurred = ndimage.gaussian_filter(mask.astype(np.float32), max(1.0, SMOOTHING * min(mask.shape)), truncate=3)
    found = blurred > 0.5
    return found if found.any() else mask.copy()


def merge(masks: Sequence[np.ndarray]) -> np.ndarray:
    """The union of masks of one photo, (H, W) bool.

    Raises:
        ConfigError: If there is none.
        ShapeError: If their sizes differ.
    """
    if not len(masks):
        raise ConfigError("There is no mask to join: name at least one.")
    union = np.zeros(_size_of(masks[0]), dtype=bool)
    for mask in masks:
        if mask.shape != union.shape:
            raise ShapeError("masks", f"{union.shape}, as the first one", mask.shape)
        union |= mask
    return union


def _size_of(mask: np.ndarray) -> tuple[int, int]:
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ShapeError("mask", "(H, W), of type bool", (*mask.shape, str(mask.dtype)))
    return mask.shape[0], mask.shape[1]
