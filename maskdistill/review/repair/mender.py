"""Mending a mask by clicks: each says of a point whether it belongs, and what is like it there follows.

The mask is the mean of a Gaussian process before any click: surer where the photo's patch tokens agree with it. Each
click is an observation. Two points are related by their tokens, colours and distance, and the distance counts by the
size of the error, which the click itself tells: a person points at the middle of what is wrong, so the wrong part is
about as wide as the way from there to the mask's border.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import ndimage

from maskdistill.config import CrfConfig
from maskdistill.errors import ShapeError
from maskdistill.proposals.components import component_at
from maskdistill.proposals.pixel_masks import refine_by_crf
from maskdistill.review.repair.clicks import Click
from maskdistill.review.repair.likeness import PhotoLikeness

REACH_IN_WAYS = 3.0  # standard deviation at which nearness falls off, in ways from the click to the border
LEAST_WAY = 0.01  # to the border, share of the photo's shorter side
KNOWN_WAY = 0.03  # likewise, of a click that says what the mask already says
NOISE = 0.05  # variance of what a click says; a mask's inside is 1, its outside -1
SURE, AGREES, LEAST_SURE = 0.3, 0.4, 0.1  # a mask's weight: in any case, by its tokens' margin, and at least
EDGE = 0.02  # share of a changed cell from which the CRF may change a pixel beside it
NEW_LIKE = 0.5  # likeness to the click from which a cell counts as the object's, before tokens are compared
_LAST = 16  # masks with some clicks that are remembered, so that a further click costs one step
_STARTS = 2  # masks before any click that are remembered


@dataclass(frozen=True)
class _Start:
    """A mask before any click, which nobody changes."""

    mask: np.ndarray  # (H, W) bool
    signed: np.ndarray  # (h, w) float32, of the cells, from -1 outside to 1 inside
    drawn: np.ndarray  # (H, W) bool, what these cells make of it


@dataclass(frozen=True)
class _Step:
    """A mask after some clicks."""

    bits: bytes  # the mask, packed: many are remembered
    kernels: tuple[np.ndarray, ...] = ()  # of each click, (h, w) float32


class Mender:
    """One photo, whose masks are mended. It may serve several threads at once.

    Args:
        tokens: (rows, cols, C) floats, patch tokens of the frozen transformer's last block.
        photo: (H, W, 3) uint8 RGB, upright.
        content: Share of the rows and of the cols that is no padding.

    Raises:
        ShapeError: If one has another shape.
    """

    def __init__(self, tokens: np.ndarray, photo: np.ndarray, content: tuple[float, float] = (1.0, 1.0)) -> None:
        self._seen = PhotoLikeness(tokens, photo, content)
        self._photo = photo
        self.size = self._seen.size  # height, width in pixels
        self._after = lru_cache(_LAST)(self._take_step)
        self._start_of = lru_cache(_STARTS)(self._start)

    @property
    def tokens(self) -> np.ndarray:
        """(rows, cols, C) float32 unit vectors of the patches that are no padding; not to be changed."""
        return self._seen.tokens

    def mend(self, mask: np.ndarray, clicks: Sequence[Click], *, crf: bool = False) -> np.ndarray:
        """The mask after all clicks.

        Args:
            mask: (H, W) bool, as it was before the first click.
            clicks: All of them, in their order; without the last one its step is undone.
            crf: Whether what changes is sharpened by a CRF, which takes up to a second.

        Returns:
            (H, W) bool.

        Raises:
            ShapeError: If the mask is not of the photo's size.
            ConfigError: If a click lies outside the photo, or the CRF is not installed.
        """
        self._check(mask)
        packed, made = np.packbits(mask).tobytes(), tuple(clicks)
        for count in range(len(made) + 1):  # each step looks up the one before it
            step = self._after(packed, made[:count])
        found = self._unpack(step.bits)
        return self._by_crf(mask, found, clicks) if crf and clicks else found

    def new_mask(self, click: Click) -> np.ndarray:
        """The object under a click that no mask covers: (H, W) bool, connected.

        What is like the click is compared with the rest, as a cut is refined.

        Raises:
            ConfigError: If the click lies outside the photo.
        """
        cell = self._seen.cell(click.x, click.y)
        likeness = np.exp(self._seen.log_likeness(cell))
        start = self._seen.to_pixels(likeness - NEW_LIKE) > 0
        found = self._seen.to_pixels(self._seen.margin(start)) > 0
        pixel = click.pixel(self.size)
        for guess in (found, start):
            if guess[pixel]:
                return component_at(guess, pixel)
        start[pixel] = True
        return component_at(start, pixel)

    def split(self, mask: np.ndarray, first: Click, second: Click) -> tuple[np.ndarray, np.ndarray]:
        """Cut a mask in two: each pixel goes to the click that it is more like and nearer to.

        Args:
            mask: (H, W) bool.
            first: A point of the one part; whether it ``adds`` does not matter.
            second: A point of the other.

        Returns:
            (H, W) bool each; together they are the mask.

        Raises:
            ShapeError: If the mask is not of the photo's size.
            ConfigError: If a click lies outside the photo.
        """
        self._check(mask)
        seen, cells = self._seen, [self._seen.cell(click.x, click.y) for click in (first, second)]
        away = max(1.0, math.dist(*cells))  # so that likeness and nearness count about the same
        values = [seen.log_likeness(cell) - seen.squared_distance(cell) / (2 * away**2) for cell in cells]
        side = seen.to_pixels(values[0] - values[1]) > 0
        return mask & side, mask & ~side

    def _take_step(self, packed: bytes, clicks: tuple[Click, ...]) -> _Step:
        if not clicks:
            return _Step(packed)
        start, before = self._start_of(packed), self._after(packed, clicks[:-1])
        found = self._unpack(before.bits)
        kernels = (*before.kernels, self._kernel(found, clicks[-1]))
        for _ in range(2):  # the second time the tokens are compared with what the clicks made of the mask
            belief = self._listen(self._prior(start.signed, found), kernels, clicks)
            fine = self._seen.to_pixels(belief) > 0
            turned = fine ^ start.drawn  # elsewhere the mask stays, to the pixel
            found = self._limit(start.mask, (fine & turned) | (start.mask & ~turned), clicks)
        return _Step(np.packbits(found).tobytes(), kernels)

    def _start(self, packed: bytes) -> _Start:
        mask = self._unpack(packed)
        signed = self._seen.to_grid(mask)
        return _Start(mask, signed, self._seen.to_pixels(signed) > 0)

    def _unpack(self, bits: bytes) -> np.ndarray:
        pixels = np.unpackbits(np.frombuffer(bits, np.uint8), count=self.size[0] * self.size[1])
        return pixels.reshape(self.size).view(bool)

    def _kernel(self, mask: np.ndarray, click: Click) -> np.ndarray:
        """How much each cell follows a click, (h, w) float32 in [0, 1]."""
        cell = self._seen.cell(click.x, click.y)
        likeness = self._seen.log_likeness(cell)
        if click.everywhere:
            return np.exp(likeness)
        shorter = min(self._seen.grid)
        if mask[click.pixel(self.size)] == click.adds:
            way = KNOWN_WAY * shorter
        else:
            way = max(_way_to_border(self._seen.to_grid(mask) > 0, cell), LEAST_WAY * shorter)
        return np.exp(likeness - self._seen.squared_distance(cell) / (2 * (REACH_IN_WAYS * way) ** 2))

    def _prior(self, signed: np.ndarray, current: np.ndarray) -> np.ndarray:
        """The mask before the clicks as a signed map, weaker where the tokens see it otherwise."""
        agreement = np.sign(signed) * self._seen.margin(current)
        return signed * np.clip(SURE + AGREES * agreement, LEAST_SURE, 1)

    def _listen(self, prior: np.ndarray, kernels: Sequence[np.ndarray], clicks: Sequence[Click]) -> np.ndarray:
        """The mean of the Gaussian process after the clicks."""
        places = tuple(np.array([self._seen.cell(click.x, click.y) for click in clicks]).T)
        among = np.array([kernel[places] for kernel in kernels]).T + NOISE * np.eye(len(clicks))
        wanted = np.array([1.0 if click.adds else -1.0 for click in clicks])
        weights = np.linalg.solve(among, wanted - prior[places])
        return prior + np.tensordot(weights.astype(np.float32), np.array(kernels), axes=1)

    def _limit(self, mask: np.ndarray, found: np.ndarray, clicks: Sequence[Click]) -> np.ndarray:
        """Of what changed, the parts at a click that asks for such a change; all of it for a click everywhere."""
        kept = mask.copy()
        for adds in (True, False):
            asking = [click for click in clicks if click.adds == adds]
            if not asking:
                continue
            changed = found & ~mask if adds else mask & ~found
            if not any(click.everywhere for click in asking):
                changed = _parts_at(changed, [click.pixel(self.size) for click in asking])
            kept[changed] = adds
        for click in clicks:
            kept[click.pixel(self.size)] = click.adds
        return kept

    def _by_crf(self, mask: np.ndarray, found: np.ndarray, clicks: Sequence[Click]) -> np.ndarray:
        """What changed, sharpened by the photo's colours; the rest of the mask as it was."""
        signed = self._seen.to_pixels(self._seen.to_grid(found))
        sharp, _ = refine_by_crf(signed, Image.fromarray(self._photo), CrfConfig())
        turned = self._seen.to_pixels(self._seen.to_grid(found != mask)) > 2 * EDGE - 1
        return self._limit(mask, np.where(turned, sharp, mask), clicks)

    def _check(self, mask: np.ndarray) -> None:
        if mask.shape != self.size or mask.dtype != np.bool_:
            raise ShapeError("mask", f"{self.size}, of type bool", (*mask.shape, str(mask.dtype)))


def _parts_at(changed: np.ndarray, pixels: Sequence[tuple[int, int]]) -> np.ndarray:
    """The connected parts of a mask at some pixels, and these themselves."""
    found, changed = np.zeros_like(changed), changed.copy()
    rows, cols = np.array(pixels).T
    changed[rows, cols] = True
    spans = (np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0)))
    box = tuple(slice(span[0], span[-1] + 1) for span in spans)  # the rest of the photo need not be labelled
    labels, number = ndimage.label(changed[box])
    chosen = np.zeros(number + 1, dtype=bool)
    chosen[labels[rows - box[0].start, cols - box[1].start]] = True
    found[box] = chosen[labels]
    return found


def _way_to_border(inside: np.ndarray, cell: tuple[int, int]) -> float:
    """Cells from one to the nearest on the other side of a mask's border; the photo's width and more without one."""
    other = np.argwhere(inside != inside[cell])
    if not len(other):
        return float(sum(inside.shape))
    return float(np.sqrt(((other - cell) ** 2).sum(axis=1).min()))
