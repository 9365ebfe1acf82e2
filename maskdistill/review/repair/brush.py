"""Brush and eraser: a stroke over a mask."""

from collections.abc import Sequence

import numpy as np

from maskdistill.errors import ConfigError, ShapeError


def paint(mask: np.ndarray, points: Sequence[tuple[float, float]], radius: float, *, erases: bool) -> np.ndarray:
    """Draw one stroke with a round brush into a mask.

    Args:
        mask: (H, W) bool.
        points: (x, y) in pixels of the photo, in the order of the stroke; one point is a dot. Points may lie outside.
        radius: Of the brush, pixels.
        erases: Whether what is under the brush is taken away.

    Returns:
        (H, W) bool.

    Raises:
        ShapeError: If ``mask`` is no mask.
        ConfigError: If the radius is not positive, or a coordinate is no number.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ShapeError("mask", "(H, W), of type bool", (*mask.shape, str(mask.dtype)))
    if not radius > 0 or not np.isfinite([radius, *(value for point in points for value in point)]).all():
        raise ConfigError(f"A stroke needs finite points and a radius above 0 pixels, got radius={radius:g}.")
    stroke = _draw(mask.shape, points, radius)
    return mask & ~stroke if erases else mask | stroke


def _draw(size: tuple[int, ...], points: Sequence[tuple[float, float]], radius: float) -> np.ndarray:
    """The pixels whose middle lies within the radius of the stroke."""
    stroke = np.zeros(size, dtype=bool)
    ends = points[1:] if len(points) > 1 else points
    for (x, y), (to_x, to_y) in zip(points, ends, strict=False):
        rows, cols = _span(y, to_y, radius, size[0]), _span(x, to_x, radius, size[1])
        right, down = np.arange(cols.start, cols.stop) + 0.5 - x, np.arange(rows.start, rows.stop)[:, None] + 0.5 - y
        length = (to_x - x) ** 2 + (to_y - y) ** 2
        along = np.clip((right * (to_x - x) + down * (to_y - y)) / length, 0, 1) if length else 0.0
        away = (right - along * (to_x - x)) ** 2 + (down - along * (to_y - y)) ** 2
        stroke[rows, cols] |= away <= radius**2
    for x, y in points:  # so that the smallest brush paints too
        if 0 <= y < size[0] and 0 <= x < size[1]:
            stroke[int(y), int(x)] = True
    return stroke


def _span(first: float, second: float, radius: float, side: int) -> slice:
    low, high = min(first, second) - radius, max(first, second) + radius
    return slice(min(max(int(low), 0), side), min(max(int(high) + 1, 0), side))
