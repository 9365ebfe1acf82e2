"""Clicks: points of a photo of which a person says whether they belong to a mask."""

import math
from dataclasses import dataclass

from maskdistill.errors import ConfigError

Size = tuple[int, int]  # height, width in pixels


@dataclass(frozen=True)
class Click:
    """A point of the upright photo that belongs to the mask, or does not."""

    x: float  # pixels from the left, [0, width]
    y: float  # pixels from the top, [0, height]
    adds: bool  # whether it belongs to the mask
    everywhere: bool = False  # whether all that is like it changes too, not the connected part around it alone

    def pixel(self, size: Size) -> tuple[int, int]:
        """(row, col) of the pixel under it.

        Args:
            size: height, width of the photo in pixels.

        Raises:
            ConfigError: If it lies outside the photo.
        """
        return pixel_at(self.x, self.y, size)


def pixel_at(x: float, y: float, size: Size) -> tuple[int, int]:
    """(row, col) of the pixel under a point of a photo; the right and lower border count as inside.

    Args:
        x: Pixels from the left.
        y: Pixels from the top.
        size: height, width of the photo in pixels.

    Raises:
        ConfigError: If the point lies outside the photo.
    """
    height, width = size
    if not (0 <= x <= width and 0 <= y <= height):  # also where one is no number
        raise ConfigError(f"A point must lie in the photo of {width} x {height} pixels, got x={x:g}, y={y:g}.")
    return min(math.floor(y), height - 1), min(math.floor(x), width - 1)
