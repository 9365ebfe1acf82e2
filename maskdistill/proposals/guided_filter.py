"""Guided filter (He, Sun and Tang, PAMI 2013): soft masks that follow the edges of their photo."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter

RADIUS = 8  # pixels, at the working size
SMOOTHNESS = 1e-3  # variance of the colours in [0, 1] below which a window counts as flat
GAIN = 3.0  # slope from a signed map (mean absolute value 1) to a probability
MOST_PIXELS = 120_000  # of the working size, else half the photo's

Span = tuple[int, int]  # first, and the one after the last
Spans = Sequence[Span]  # of rows and of columns


class GuidedFilter:
    """One photo as guide of many masks. Only the part around a mask is worked on.

    Args:
        image: The photo, RGB, at its size or a smaller one.
        size: height, width of the photo in pixels.
    """

    def __init__(self, image: Image.Image, size: tuple[int, int]) -> None:
        self._size = size
        scale = min(0.5, (MOST_PIXELS / (size[0] * size[1])) ** 0.5)
        self.height, self.width = (max(1, round(side * scale)) for side in size)
        small = image.resize((self.width, self.height), Image.Resampling.BOX)
        self._colours = np.asarray(small, np.float32) / 255
        self._mean = _blur(self._colours)
        self._inverse = _inverse_of_spread(self._colours, self._mean)

    def sharpen(self, values: np.ndarray) -> np.ndarray:
        """A signed map, positive inside, as a mask of the photo's pixels.

        Args:
            values: (h, w) float32 of any resolution, of the whole photo.

        Returns:
            (H, W) bool.
        """
        mask = np.zeros(self._size, bool)
        kept = self._reach(values > 0, 2 * RADIUS)  # what is further away sees no pixel inside
        if kept is None:
            return mask
        read = [_widen(span, 2 * RADIUS, side) for span, side in zip(kept, (self.height, self.width), strict=True)]
        scaled = values / max(float(np.abs(values).mean()), 1e-6)
        soft = 1 / (1 + np.exp(-GAIN * _resize(scaled, (self.height, self.width), read)))
        place = tuple(slice(*span) for span in read)
        colours, means = self._colours[place], self._mean[place]
        mean = _blur(soft)
        joint = _blur(colours * soft[..., None]) - means * mean[..., None]
        slope = np.einsum("hwij,hwj->hwi", self._inverse[place], joint)
        offset = mean - (slope * means).sum(axis=-1)
        followed = (_blur(slope) * colours).sum(axis=-1) + _blur(offset)
        return self._enlarge(followed - 0.5, kept, read, mask)

    def _reach(self, inside: np.ndarray, margin: int) -> Spans | None:
        """Rows and columns, at the working size, of what is inside and of so many pixels around; None for nothing."""
        if not inside.any():
            return None
        spans = []
        for axis, side in enumerate((self.height, self.width)):
            cells = np.flatnonzero(inside.any(axis=1 - axis))
            scale = side / inside.shape[axis]
            # One cell more: interpolated, a map may be positive as far as the next cell's middle.
            first, last = math.floor((cells[0] - 1) * scale), math.ceil((cells[-1] + 2) * scale)
            spans.append(_widen((max(first, 0), min(last, side)), margin, side))
        return spans

    def _enlarge(self, values: np.ndarray, kept: Spans, read: Spans, mask: np.ndarray) -> np.ndarray:
        """Where a part of a map, ``read`` at the working size, is positive: written into a mask of pixels."""
        pixels = [
            (math.ceil(first * full / side), math.floor(last * full / side))
            for (first, last), full, side in zip(kept, self._size, (self.height, self.width), strict=True)
        ]
        box = [
            (first * side / full - origin, last * side / full - origin)
            for (first, last), (origin, _), full, side in zip(
                pixels, read, self._size, (self.height, self.width), strict=True
            )
        ]
        mask[tuple(slice(*span) for span in pixels)] = _sample(values, pixels, box) > 0
        return mask


def _inverse_of_spread(colours: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(h, w, 3) colours and their means over windows -> (h, w, 3, 3) inverse of the windows' covariance, smoothed.

    By cofactors: a solver that takes the matrices one by one needs ten times as long.
    """
    left, right = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)
    spread = _blur(colours[..., left] * colours[..., right]) - mean[..., left] * mean[..., right]
    rr, rg, rb, gg, gb, bb = np.moveaxis(spread, -1, 0).astype(np.float64)
    rr, gg, bb = rr + SMOOTHNESS, gg + SMOOTHNESS, bb + SMOOTHNESS
    first, second, third = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    middle, across, last = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    cofactors = np.stack([first, second, third, second, middle, across, third, across, last], axis=-1)
    cofactors /= (rr * first + rg * second + rb * third)[..., None]
    return cofactors.astype(np.float32).reshape(*colours.shape, 3)


def _blur(values: np.ndarray) -> np.ndarray:
    """Mean over a square window of the first two axes."""
    side = 2 * RADIUS + 1
    return uniform_filter(values, size=(side, side, *(1,) * (values.ndim - 2)))


def _widen(span: Span, margin: int, side: int) -> Span:
    return max(span[0] - margin, 0), min(span[1] + margin, side)


def _resize(values: np.ndarray, size: tuple[int, int], part: Spans) -> np.ndarray:
    """Bicubic interpolation of a map to (height, width), of which only some rows and columns are made."""
    scales = [old / new for old, new in zip(values.shape, size, strict=True)]
    box = [(first * scale, last * scale) for (first, last), scale in zip(part, scales, strict=True)]
    return _sample(values, part, box)


def _sample(values: np.ndarray, pixels: Spans, box: Sequence[tuple[float, float]]) -> np.ndarray:
    """The box of a map, rows and columns, at as many pixels as these are."""
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    height, width = (last - first for first, last in pixels)
    (top, bottom), (left, right) = box
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=(left, top, right, bottom)))
