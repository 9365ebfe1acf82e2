"""Guided filter (He, Sun and Tang, PAMI 2013): soft masks that follow the edges of their photo."""

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter

RADIUS = 8  # pixels, at the working size
SMOOTHNESS = 1e-3  # variance of the colours in [0, 1] below which a window counts as flat
GAIN = 3.0  # slope from a signed map (mean absolute value 1) to a probability
MOST_PIXELS = 120_000  # of the working size, else half the photo's


class GuidedFilter:
    """One photo as guide of many masks.

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
        pairs = _blur(self._colours[..., :, None] * self._colours[..., None, :])
        spread = pairs - self._mean[..., :, None] * self._mean[..., None, :]
        self._inverse = np.linalg.inv(spread + SMOOTHNESS * np.eye(3, dtype=np.float32))

    def sharpen(self, values: np.ndarray) -> np.ndarray:
        """A signed map, positive inside, as a mask of the photo's pixels.

        Args:
            values: (h, w) float32 of any resolution, of the whole photo.

        Returns:
            (H, W) bool.
        """
        scaled = values / max(float(np.abs(values).mean()), 1e-6)
        soft = 1 / (1 + np.exp(-GAIN * _resize(scaled, self.height, self.width)))
        mean = _blur(soft)
        joint = _blur(self._colours * soft[..., None]) - self._mean * mean[..., None]
        slope = np.einsum("hwij,hwj->hwi", self._inverse, joint)
        offset = mean - (slope * self._mean).sum(axis=-1)
        followed = (_blur(slope) * self._colours).sum(axis=-1) + _blur(offset)
        return _resize(followed - 0.5, *self._size) > 0


def _blur(values: np.ndarray) -> np.ndarray:
    """Mean over a square window of the first two axes."""
    side = 2 * RADIUS + 1
    return uniform_filter(values, size=(side, side, *(1,) * (values.ndim - 2)))


def _resize(values: np.ndarray, height: int, width: int) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
