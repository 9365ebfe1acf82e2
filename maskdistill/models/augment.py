"""Photos and labels on their way into a network: scaled, mirrored, turned, cropped, the same for both.

Coordinates follow ``datasets.transforms``: pixel i covers [i, i + 1). Labels and masks take the nearest pixel.
"""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from maskdistill.datasets import IGNORE_INDEX

MEAN, STD = (
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)  # of ImageNet: what DINO's and MoCo's weights were trained with
MAX_ANGLE = 5.0  # degrees, published
SCALES = (0.75, 1.25)  # published
MAX_THREADS = 8

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class CropRecipe:
    """One random view of a photo on a square crop. Steps in the order of the fields."""

    height: int  # pixels the photo is scaled to
    width: int  # pixels the photo is scaled to
    mirror: bool  # left and right swapped
    angle: float  # degrees, about the photo's centre; clockwise as seen
    top: float  # pixels of the scaled photo above the crop; negative leaves padding
    left: float  # pixels of the scaled photo left of the crop; negative leaves padding


def fit_longer_side(height: int, width: int, side: int) -> tuple[int, int]:
    """(height, width) in pixels after scaling the longer side to ``side``; each at least 1."""
    scale = side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def fit_shorter_side(height: int, width: int, side: int, max_ratio: float) -> tuple[int, int]:
    """(height, width) in pixels after scaling the shorter side to ``side``, or less: the longer gets no more than
    ``max_ratio * side``."""
    scale = min(side / min(height, width), max_ratio * side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def draw_crop(height: int, width: int, side: int, generator: torch.Generator) -> CropRecipe:
    """Draw the published augmentation for a photo of this size in pixels: mirror, turn by 5°, scale by 0.75-1.25, crop.

    Scale 1 has the longer side as long as the crop's, about VOC's own size at the published 512 pixels.
    """
    mirror, turn, scale, down, right = torch.rand(5, generator=generator).tolist()
    factor = SCALES[0] + (SCALES[1] - SCALES[0]) * scale
    rows, cols = fit_longer_side(height, width, round(side * factor))
    return CropRecipe(
        height=rows,
        width=cols,
        mirror=mirror < 0.5,
        angle=MAX_ANGLE * (2 * turn - 1),
        top=down * (rows - side),  # anywhere inside; of a photo smaller than the crop, all is seen somewhere
        left=right * (cols - side),
    )


def crop_photo(image: Image.Image, recipe: CropRecipe, side: int) -> Tensor:
    """(3, side, side) float32 normalised pixels of an RGB photo (or a smaller decoding of it); padding is near 0."""
    scaled = image.resize((recipe.width, recipe.height), Image.Resampling.BICUBIC)  # antialiased, unlike transform
    matrix = _crop_to_photo(recipe, recipe.height, recipe.width)
    fill = tuple(round(255 * value) for value in MEAN)
    crop = scaled.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=fill)
    return normalise(crop)


def crop_labels(labels: np.ndarray, recipe: CropRecipe, side: int) -> Tensor:
    """(side, side) int64 of a (H, W) uint8 label map at the photo's size; padding is 255."""
    matrix = _crop_to_photo(recipe, *labels.shape)
    crop = Image.fromarray(labels).transform(
        (side, side), Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=IGNORE_INDEX
    )
    return torch.from_numpy(np.array(crop)).long()


def normalise(image: Image.Image) -> Tensor:
    """(3, H, W) float32 of an RGB image, as ImageNet networks want it."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255)  # (3, H, W)
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def resize_masks(masks: np.ndarray, height: int, width: int) -> np.ndarray:
    """(M, height, width) bool of (M, H, W) bool masks: each pixel takes the one its centre lies in."""
    rows = ((np.arange(height) + 0.5) * (masks.shape[1] / height)).astype(np.intp)
    cols = ((np.arange(width) + 0.5) * (masks.shape[2] / width)).astype(np.intp)
    return masks[:, rows[:, None], cols[None, :]]


def sample_generators(generator: torch.Generator, count: int) -> list[torch.Generator]:
    """A generator per photo of a batch, so that photos may be read in any order and in threads."""
    seeds = torch.randint(2**62, (count,), generator=generator).tolist()
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Results in the order of the items; decoding and resizing photos let other threads run."""
    num_threads = min(MAX_THREADS, len(items), os.cpu_count() or 1)
    with ThreadPoolExecutor(max(1, num_threads)) as pool:
        return list(pool.map(function, items))


def _crop_to_photo(recipe: CropRecipe, height: int, width: int) -> tuple[float, ...]:
    """Six numbers of the affine map from a point of the crop to one of the photo at (height, width), as Pillow wants.

    Backwards through the recipe: shift, turn back about the centre, mirror, scale.
    """
    angle = math.radians(recipe.angle)
    centre_x, centre_y = recipe.width / 2, recipe.height / 2
    cos, sin = math.cos(angle), math.sin(angle)
    shift = np.array([[1, 0, recipe.left - centre_x], [0, 1, recipe.top - centre_y], [0, 0, 1]])
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    mirror = np.diag([-1.0 if recipe.mirror else 1.0, 1.0, 1.0])
    back = np.array([[1, 0, centre_x], [0, 1, centre_y], [0, 0, 1]])
    scale = np.diag([width / recipe.width, height / recipe.height, 1.0])
    return tuple((scale @ back @ mirror @ turn @ shift)[:2].ravel())
