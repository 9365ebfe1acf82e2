"""All geometric transforms between photo pixels, network pixels and patches: here, once.

Coordinates follow the pixel-area convention: pixel i covers [i, i + 1), so resizing maps x to x * new / old.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

from maskdistill.errors import ConfigError, ShapeError

ResizeMode = Literal["resize", "pad"]


@dataclass(frozen=True)
class PatchGeometry:
    """How one photo lies on a grid of patches: scaled to the content's size, at the top left of the grid."""

    height: int  # pixels of the photo
    width: int  # pixels of the photo
    resized_height: int  # network pixels of the content; the rest of the grid is padding
    resized_width: int  # network pixels of the content
    rows: int  # patches
    cols: int  # patches
    patch_size: int  # network pixels, side of one patch

    @property
    def padded_height(self) -> int:
        """Network pixels, with padding."""
        return self.rows * self.patch_size

    @property
    def padded_width(self) -> int:
        """Network pixels, with padding."""
        return self.cols * self.patch_size


def patch_grid(
    height: int, width: int, *, shorter_side: int, patch_size: int, mode: ResizeMode, max_ratio: float = 4.0
) -> PatchGeometry:
    """Choose the grid of patches for a photo.

    Args:
        height: Pixels of the photo.
        width: Pixels of the photo.
        shorter_side: Network pixels that the shorter side is scaled to.
        patch_size: Network pixels, side of one patch.
        mode: ``"resize"`` scales both sides to the nearest whole number of patches (at least one), so each side is
            off by half a patch at most. ``"pad"``, the published way, keeps the aspect and leaves zeros at the right
            and bottom up to whole patches.
        max_ratio: The longer side gets at most ``max_ratio * shorter_side`` network pixels; a more elongated photo is
            scaled down further. So the grid has about max_ratio * (shorter_side / patch_size) ** 2 patches at most.

    Raises:
        ConfigError: If a number is not positive, ``max_ratio`` is below 1 or the mode is unknown.
    """
    if min(height, width, shorter_side, patch_size) < 1 or max_ratio < 1:
        raise ConfigError(
            f"Sizes must be at least 1 pixel and max_ratio at least 1, got height={height}, width={width}, "
            f"shorter_side={shorter_side}, patch_size={patch_size}, max_ratio={max_ratio}."
        )
    scale = min(shorter_side / min(height, width), max_ratio * shorter_side / max(height, width))
    if mode == "resize":
        rows, cols = (max(1, _round(side * scale / patch_size)) for side in (height, width))
        return PatchGeometry(height, width, rows * patch_size, cols * patch_size, rows, cols, patch_size)
    if mode == "pad":
        resized_height, resized_width = (max(1, _round(side * scale)) for side in (height, width))
        rows, cols = math.ceil(resized_height / patch_size), math.ceil(resized_width / patch_size)
        return PatchGeometry(height, width, resized_height, resized_width, rows, cols, patch_size)
    raise ConfigError(f"The resize mode must be 'resize' or 'pad', got {mode!r}.")


def to_pixels(
    image: Image.Image,
    geometry: PatchGeometry,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    mirror: bool = False,
) -> Tensor:
    """Resize (bicubic, antialiased), normalise and pad a photo for the network.

    Args:
        image: RGB, the photo itself or a smaller decoding of it (``read_photo``'s ``min_short_side``).
        geometry: The photo's grid.
        mean: Of red, green and blue in [0, 1].
        std: Of red, green and blue in [0, 1].
        mirror: Whether left and right of the content are swapped; padding stays at the right.

    Returns:
        (3, rows * patch_size, cols * patch_size) float32; padding is zero after normalisation.

    Raises:
        ShapeError: If the image is not RGB.
    """
    if image.mode != "RGB":
        raise ShapeError("image", "(H, W, 3) in mode RGB", (image.height, image.width, len(image.getbands())))
    size = (geometry.resized_width, geometry.resized_height)
    # Pixels are merged by whole factors first only where the photo is at least six times too large. On 12 megapixels
    # of smoothed noise that differed from plain bicubic by 3 of 255 at most (0.4 in the mean), in under half the time.
    image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    if mirror:
        image = ImageOps.mirror(image)
    content = _normalised(image, mean, std)
    right, bottom = geometry.padded_width - content.shape[2], geometry.padded_height - content.shape[1]
    return functional.pad(content, (0, right, 0, bottom))


def patches_to_pixels(values: np.ndarray, geometry: PatchGeometry, *, smooth: bool) -> np.ndarray:
    """Map a value per patch back to the photo's pixels, without the padding.

    Args:
        values: (k * rows, k * cols) with a whole k, any type if not smooth.
        geometry: The photo's grid.
        smooth: False takes each pixel's patch and keeps the type, so masks and ids stay what they are. True
            interpolates a float map bilinearly between the centres of the patches.

    Returns:
        (height, width), of the type of ``values``, or float32 if smooth.

    Raises:
        ShapeError: If ``values`` is not a whole multiple of the grid.
        ConfigError: If a map that is not of floats is to be smoothed.
    """
    finer = values.shape[0] // geometry.rows  # values per patch, along a side
    if finer < 1 or values.shape != (finer * geometry.rows, finer * geometry.cols):
        raise ShapeError("values", f"(k * {geometry.rows}, k * {geometry.cols})", values.shape)
    cell = geometry.patch_size / finer  # network pixels, side of one value
    if smooth and values.dtype.kind != "f":
        raise ConfigError(f"Only float maps can be smoothed, got {values.dtype}. Use smooth=False for masks and ids.")
    if smooth:
        box = (0, 0, geometry.resized_width / cell, geometry.resized_height / cell)
        image = Image.fromarray(np.ascontiguousarray(values, np.float32))
        return np.array(image.resize((geometry.width, geometry.height), Image.Resampling.BILINEAR, box=box))
    rows = _cell_of_pixels(geometry.height, geometry.resized_height, cell)
    cols = _cell_of_pixels(geometry.width, geometry.resized_width, cell)
    return values[:, cols][rows]


def pixels_to_patches(values: np.ndarray, geometry: PatchGeometry) -> np.ndarray:
    """Mean of a map of pixels over each patch: (height, width), any real type -> (rows, cols) float32; padding is 0.

    Raises:
        ShapeError: If ``values`` is not of the photo's size.
    """
    if values.shape != (geometry.height, geometry.width):
        raise ShapeError("values", f"({geometry.height}, {geometry.width})", values.shape)
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    content = (geometry.resized_width, geometry.resized_height)
    if content == (geometry.padded_width, geometry.padded_height):
        return np.array(image.resize((geometry.cols, geometry.rows), Image.Resampling.BOX))
    padded = Image.new("F", (geometry.padded_width, geometry.padded_height))
    padded.paste(image.resize(content, Image.Resampling.BOX))
    return np.array(padded.resize((geometry.cols, geometry.rows), Image.Resampling.BOX))


def crop_to_pixels(
    image: Image.Image,
    box: Sequence[float],
    side: int,
    *,
    mean: Sequence[float],
    std: Sequence[float],
) -> Tensor:
    """A part of an RGB image, scaled to a square for the network, whatever its aspect.

    Args:
        image: The photo.
        box: left, top, right, bottom in pixels of ``image``.
        side: Network pixels.
        mean: Of red, green and blue in [0, 1].
        std: Of red, green and blue in [0, 1].

    Returns:
        (3, side, side) float32, normalised.
    """
    crop = image.resize((side, side), Image.Resampling.BICUBIC, box=(box[0], box[1], box[2], box[3]), reducing_gap=3.0)
    return _normalised(crop, mean, std)


def _normalised(image: Image.Image, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(3, H, W) float32 of an RGB image."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255)
    return pixels.sub_(torch.tensor(mean).view(3, 1, 1)).div_(torch.tensor(std).view(3, 1, 1)).contiguous()


def pixel_to_patch(u: float, v: float, geometry: PatchGeometry) -> tuple[int, int]:
    """(row, col) of the patch under a point of the photo.

    Args:
        u: Fraction of the photo's width, 0 left, 1 right. Values outside are taken to the border.
        v: Fraction of the photo's height, 0 top, 1 bottom.
        geometry: The photo's grid.
    """
    row = int(min(max(v, 0.0), 1.0) * geometry.resized_height / geometry.patch_size)
    col = int(min(max(u, 0.0), 1.0) * geometry.resized_width / geometry.patch_size)
    return min(row, geometry.rows - 1), min(col, geometry.cols - 1)


def _round(value: float) -> int:
    """Nearest whole number, halves up (``round`` takes halves to the even one)."""
    return math.floor(value + 0.5)


def _cell_of_pixels(num_pixels: int, resized: int, cell: float) -> np.ndarray:
    """(num_pixels,) index of the cell in which the centre of each photo pixel lies."""
    centres = np.arange(num_pixels) + 0.5
    return (centres * (resized / (num_pixels * cell))).astype(np.intp)
