"""A closer look at candidates: the box around each goes through the transformer again, larger, for a better outline.

An object of a fiftieth of the photo covers a dozen patches, too few for its outline. In a crop of its own it has some
sixty. There each patch says which of two mean directions it is nearer to, that of the candidate's inside or that of the
rest of the crop; this and the candidate's own map are added, both counting alike. Neither is as good alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from maskdistill.datasets.transforms import crop_to_pixels
from maskdistill.features.backbone import Backbone
from maskdistill.features.forward import FeatureRequest
from maskdistill.features.patch_tokens import stack_tokens
from maskdistill.proposals.foreground import patch_vectors
from maskdistill.proposals.refinement import normalise_map, refine_patches, resize_map

READ_SIDE = 960  # pixels, shorter side at which a photo is read whose crops are looked at
FINE_SIDE = 192  # cells on the shorter side of the grid on which the new outlines are drawn
CROP_PATCHES = 16  # side of a crop
MARGIN = 1.6  # side of a crop, in the longer side of the candidate's box
LEAST_SIDE = 0.13  # of a crop, in the photo's shorter side: closer there is nothing to be seen
MOST_AREA = 0.64  # of the photo that a crop covers; a larger one shows no more than the photo did
MOST_SURE = 2.0  # of a candidate's map, in its mean absolute value in the crop, so that a crop can change it
ROUNDED = 1e-6  # of a cell
PER_PASS = 8  # crops that go through the transformer at once: a bound on memory

Box = tuple[float, float, float, float]  # left, top, right, bottom, as shares of the photo


@dataclass(frozen=True, eq=False)
class Zoom:
    """A transformer that looks closer.

    Args:
        backbone: The frozen transformer.
        blocks: Whose patch tokens are compared.
        count: Candidates of a photo that are looked at, the first ones.
    """

    backbone: Backbone = field(repr=False)
    blocks: tuple[int, ...]
    count: int

    def refine(self, image: Image.Image, values: np.ndarray) -> np.ndarray:
        """Candidates of one photo with better outlines.

        Args:
            image: The photo, RGB, at any size.
            values: (K, rows, cols) float32 on a grid of the whole photo, positive inside; the best candidates first.

        Returns:
            (K, R, C) float32 on a finer grid. Large and empty candidates, and those beyond ``count``, are only
            interpolated.
        """
        grid = fine_grid(values.shape[1:])
        fine = np.array([resize_map(item, *grid) for item in values], np.float32).reshape(-1, *grid)
        boxes = {number: box for number in range(min(self.count, len(fine))) if (box := crop_box(fine[number] > 0))}
        numbers = list(boxes)
        for first in range(0, len(numbers), PER_PASS):
            some = numbers[first : first + PER_PASS]
            for number, vectors in zip(some, self._look(image, [boxes[number] for number in some]), strict=True):
                drawn = redraw(fine[number], boxes[number], vectors)
                if (drawn > 0).any():
                    fine[number] = drawn
        return fine

    def _look(self, image: Image.Image, boxes: Sequence[Box]) -> list[np.ndarray]:
        """Unit vectors of the patches of each crop, (CROP_PATCHES ** 2, D)."""
        import torch

        side, (width, height) = CROP_PATCHES * self.backbone.patch_size, image.size
        style = {"mean": self.backbone.mean, "std": self.backbone.std}
        places = [(left * width, top * height, right * width, bottom * height) for left, top, right, bottom in boxes]
        crops = torch.stack([crop_to_pixels(image, place, side, **style) for place in places])
        found = self.backbone.forward(crops, FeatureRequest(token_blocks=self.blocks))
        return [patch_vectors(stack_tokens(item, self.blocks), len(self.blocks)) for item in found]


def fine_grid(grid: tuple[int, ...]) -> tuple[int, int]:
    """Rows, cols of the grid for new outlines, of the same aspect."""
    rows, cols = (max(1, round(FINE_SIDE * side / min(grid))) for side in grid)
    return rows, cols


def crop_box(mask: np.ndarray) -> Box | None:
    """The part of the photo to look at for a (R, C) bool mask; None where that shows no more than the photo did."""
    if not mask.any():
        return None
    rows, cols = mask.shape
    spans = [np.flatnonzero(mask.any(axis=1 - axis))[[0, -1]] + (0, 1) for axis in (0, 1)]
    longest = max(MARGIN * max(last - first for first, last in spans), LEAST_SIDE * min(mask.shape))
    sides = [min(longest, side) for side in mask.shape]
    if sides[0] * sides[1] > MOST_AREA * rows * cols:
        return None
    starts = [
        min(max((first + last - side) / 2, 0), whole - side)
        for (first, last), side, whole in zip(spans, sides, mask.shape, strict=True)
    ]
    return starts[1] / cols, starts[0] / rows, (starts[1] + sides[1]) / cols, (starts[0] + sides[0]) / rows


def redraw(values: np.ndarray, box: Box, vectors: np.ndarray) -> np.ndarray:
    """A candidate's map with what the patches of its crop say added, in the crop.

    Args:
        values: (R, C) float32 of the photo.
        box: The crop.
        vectors: (N, D) unit vectors of the crop's patches, a square of them.

    Returns:
        (R, C) float32, of mean absolute value 1 beyond the crop.
    """
    side = round(len(vectors) ** 0.5)
    coarse = _cut(values, box, (side, side))
    inside = (coarse > 0).ravel()
    seen = refine_patches(vectors, inside, ~inside, 1).reshape(side, side)
    drawn = normalise_map(values)
    cells, place = _cells_within(box, values.shape, side)
    part = drawn[cells] / max(float(np.abs(drawn[cells]).mean()), 1e-6)
    drawn[cells] = part.clip(-MOST_SURE, MOST_SURE) + _resize(normalise_map(seen), part.shape, place)
    return drawn


def _cells_within(box: Box, grid: tuple[int, ...], side: int) -> tuple[tuple[slice, slice], Box]:
    """The cells of a grid that lie in a crop, and where they lie on its ``side`` x ``side`` patches."""
    spans, places = [], []
    for first, last, count in zip(box[:2][::-1], box[2:][::-1], grid, strict=True):
        start, stop = math.ceil(first * count - ROUNDED), math.floor(last * count + ROUNDED)
        spans.append(slice(start, stop))
        patches = [side * (cell / count - first) / (last - first) for cell in (start, stop)]
        places.append([min(max(patch, 0.0), float(side)) for patch in patches])
    (top, bottom), (left, right) = places
    return (spans[0], spans[1]), (left, top, right, bottom)


def _cut(values: np.ndarray, box: Box, grid: tuple[int, int]) -> np.ndarray:
    """A part of a (R, C) float map on another grid."""
    rows, cols = values.shape
    place = (box[0] * cols, box[1] * rows, min(box[2] * cols, cols), min(box[3] * rows, rows))
    return _resize(values, grid, place)


def _resize(values: np.ndarray, grid: tuple[int, ...], place: Box) -> np.ndarray:
    """``place``: left, top, right, bottom of the part, in cells of the map."""
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(image.resize((grid[1], grid[0]), Image.Resampling.BICUBIC, box=place))
