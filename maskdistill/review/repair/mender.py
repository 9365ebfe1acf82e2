"""Mending a mask by clicks: each says of a point whether it belongs, and what is like it there follows."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

from maskdistill.config import CrfConfig
from maskdistill.errors import ShapeError
from maskdistill.proposals.guided_filter import GuidedFilter
from maskdistill.proposals.pixel_masks import refine_by_crf
from maskdistill.proposals.pool import onto
from maskdistill.proposals.refinement import WORK_SCALE
from maskdistill.review.repair.clicks import Click

TAU = 0.3  # of 1 - cosine, at which likeness has fallen to 1 / e
REACH = 0.3  # of the photo's shorter side, standard deviation at which nearness falls off
NOISE = 0.05  # variance of what a click says
EDGE = 0.02  # share of a changed cell from which a pixel beside it may change too
CLICK = 1.0  # signed value that a click asks for; a mask's inside is 1, its outside -1


class Mender:
    """One photo, whose masks are mended.

    Args:
        tokens: (rows, cols, C) floats, patch tokens of the frozen transformer's last block.
        photo: (H, W, 3) uint8 RGB, upright.
        content: Share of the rows and of the cols that is no padding.

    Raises:
        ShapeError: If one has another shape.
    """

    def __init__(self, tokens: np.ndarray, photo: np.ndarray, content: tuple[float, float] = (1.0, 1.0)) -> None:
        if tokens.ndim != 3 or not tokens.size:
            raise ShapeError("tokens", "(rows, cols, C)", tokens.shape)
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
            raise ShapeError("photo", "(H, W, 3), of type uint8", (*photo.shape, str(photo.dtype)))
        self.size = photo.shape[0], photo.shape[1]
        self._photo = photo
        self._guide = GuidedFilter(Image.fromarray(photo), self.size)
        rows, cols = (max(1, round(side * share)) for side, share in zip(tokens.shape, content, strict=False))
        kept = np.asarray(tokens[:rows, :cols], np.float32)
        self.grid = (rows * WORK_SCALE, cols * WORK_SCALE)
        fine = ndimage.zoom(_unit(kept), (WORK_SCALE, WORK_SCALE, 1), order=1, grid_mode=True, mode="nearest")
        self._vectors = _unit(fine).reshape(-1, tokens.shape[2])
        middles = [(np.arange(side) + 0.5) / side for side in self.grid]
        scale = np.array(self.size) / min(self.size)
        self._places = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1).reshape(-1, 2) * scale

    def mend(self, mask: np.ndarray, clicks: Sequence[Click], *, crf: bool = False) -> np.ndarray:
        """The mask after all clicks.

        Args:
            mask: (H, W) bool, as it was before the first click.
            clicks: All of them, in their order; without any the mask comes back as it is.
            crf: Whether what changed is sharpened by a CRF, which takes a second, not by the guided filter.

        Returns:
            (H, W) bool.

        Raises:
            ShapeError: If the mask is not of the photo's size.
            ConfigError: If a click lies outside the photo, or the CRF is not installed.
        """
        self._check(mask)
        if not clicks:
            return mask.copy()
        before = self._on_grid(mask)
        belief = self._listen(before, clicks)
        sharp = self._by_crf(belief) if crf else self._guide.sharpen(belief)
        turned = onto(((before > 0) != (belief > 0)).astype(np.float32), (1.0, 1.0), self.size) > EDGE
        return self._limit(mask, np.where(turned, sharp, mask), clicks)

    def new_mask(self, click: Click) -> np.ndarray:
        """The object under a click that no mask covers, (H, W) bool; its part around the click."""
        likeness = self._kernel(self._cell(click))
        values = (likeness - 0.5 * likeness.max()).reshape(self.grid)
        return _component_with(self._guide.sharpen(values), click.pixel(self.size))

    def split(self, mask: np.ndarray, first: Click, second: Click) -> tuple[np.ndarray, np.ndarray]:
        """Cut a mask in two: each pixel goes to the click that it is more like and nearer to.

        Returns:
            (H, W) bool each; together they are the mask.
        """
        self._check(mask)
        margin = self._kernel(self._cell(first)) - self._kernel(self._cell(second))
        side = self._guide.sharpen(margin.reshape(self.grid))
        return mask & side, mask & ~side

    def _cell(self, click: Click) -> int:
        row, col = click.pixel(self.size)
        return (row * self.grid[0] // self.size[0]) * self.grid[1] + col * self.grid[1] // self.size[1]

    def _kernel(self, cell: int) -> np.ndarray:
        likeness = self._vectors @ self._vectors[cell]
        away = ((self._places - self._places[cell]) ** 2).sum(axis=1)
        return np.exp((likeness - 1) / TAU - away / (2 * REACH**2)).astype(np.float32)

    def _listen(self, prior: np.ndarray, clicks: Sequence[Click]) -> np.ndarray:
        """The mean of a Gaussian process after the clicks, whose mean before is the mask."""
        cells = [self._cell(click) for click in clicks]
        kernels = np.stack([self._kernel(cell) for cell in cells], axis=1)  # (cells of the grid, clicks)
        wanted = np.array([CLICK if click.adds else -CLICK for click in clicks])
        among = kernels[cells] + NOISE * np.eye(len(cells))
        weights = np.linalg.solve(among, wanted - prior.ravel()[cells])
        return (prior.ravel() + kernels @ weights).reshape(self.grid).astype(np.float32)

    def _limit(self, mask: np.ndarray, found: np.ndarray, clicks: Sequence[Click]) -> np.ndarray:
        """Of what changed, the parts at a click that asks for such a change; all of it for a click everywhere."""
        kept = mask.copy()
        for adds in (True, False):
            changed = found & ~mask if adds else mask & ~found
            asking = [click for click in clicks if click.adds == adds]
            if not any(click.everywhere for click in asking):
                labels, _ = ndimage.label(changed)
                pixels = [click.pixel(self.size) for click in asking]
                changed &= np.isin(labels, [labels[pixel] for pixel in pixels])
            kept[changed] = adds
        for click in clicks:
            kept[click.pixel(self.size)] = click.adds
        return kept

    def _by_crf(self, belief: np.ndarray) -> np.ndarray:
        values = onto(belief, (1.0, 1.0), self.size)
        return refine_by_crf(values, Image.fromarray(self._photo), CrfConfig())[0]

    def _check(self, mask: np.ndarray) -> None:
        if mask.shape != self.size or mask.dtype != np.bool_:
            raise ShapeError("mask", f"{self.size}, of type bool", (*mask.shape, str(mask.dtype)))

    def _on_grid(self, mask: np.ndarray) -> np.ndarray:
        """A mask as a signed map of the grid's cells."""
        image = Image.fromarray(np.ascontiguousarray(mask, np.float32))
        return 2 * np.asarray(image.resize(self.grid[::-1], Image.Resampling.BOX)) - 1


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def _component_with(mask: np.ndarray, pixel: tuple[int, int]) -> np.ndarray:
    labels, _ = ndimage.label(mask)
    return (labels == labels[pixel]) & mask
