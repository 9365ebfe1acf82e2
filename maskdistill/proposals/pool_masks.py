"""Masks out of a photo's pool: candidates of both views, scored, chosen beside the cut's mask, sharpened to pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from maskdistill.config import ProposalConfig
from maskdistill.config.proposals import MOST_OBJECTS
from maskdistill.proposals import scoring
from maskdistill.proposals.guided_filter import GuidedFilter
from maskdistill.proposals.pool import (
    ChoiceRule,
    Pool,
    choose,
    common_grid,
    describe_pool,
    onto,
    score_pool,
    shapes_on,
)
from maskdistill.proposals.refinement import resize_map

if TYPE_CHECKING:
    from maskdistill.datasets.transforms import PatchGeometry  # loads torch

LEAST_PIXELS = 16  # of a mask
BESIDE = 0.35  # share of the best candidate's score that one beside a mask which stays must have
ALONE = 0.9  # the same where no foreground is learnt across photos, since much that is none scores well


@dataclass(frozen=True)
class PoolMask:
    """A candidate as a mask of the photo's pixels."""

    mask: np.ndarray  # (H, W) bool
    score: float  # [0, 1]
    parts: Mapping[str, float]  # what the score is made of
    number: int  # in the pool, all views counted through
    values: np.ndarray = field(repr=False)  # (rows, cols) float32 signed map, on the grid of its view


@dataclass(frozen=True)
class PoolChoice:
    """What is taken of a photo, best first."""

    keeps_first: bool  # whether the mask that there was before stays, before all others
    masks: tuple[PoolMask, ...]


def content_of(geometry: "PatchGeometry") -> tuple[float, float]:
    """Share of the rows and of the cols of patches that is no padding."""
    return geometry.resized_height / geometry.padded_height, geometry.resized_width / geometry.padded_width


def score_views(pools: Sequence[Pool], probability: np.ndarray | None) -> list[np.ndarray]:
    """The scores of the candidates of each view.

    Args:
        pools: Of a photo, its own view first.
        probability: (rows, cols) of the first view's patches, to be foreground; None where nothing was learnt.
    """
    return [score_pool(pool, item) for pool, item in zip(pools, spread_over_views(pools, probability), strict=True)]


def choose_masks(
    first: np.ndarray | None,
    pools: Sequence[Pool],
    probability: np.ndarray | None,
    image: Image.Image | None,
    size: tuple[int, int],
    config: ProposalConfig,
) -> PoolChoice:
    """The masks of a photo that its pool carries, beside or in place of the one there is.

    Without a foreground that is learnt across photos the cut's mask is never replaced: what else stands out of one
    photo alone is no better guess.

    Args:
        first: (H, W) bool, the photo's mask by the cut or the foreground; None where there is none.
        pools: As ``score_views``.
        probability: Likewise.
        image: The photo, whose edges the masks follow, at any size; None leaves them interpolated.
        size: height, width of the photo in pixels.
        config: ``pool_keep`` and ``pool_share``, read where there is a ``probability``.
    """
    grid = common_grid(pools[0])
    shapes = np.concatenate([shapes_on(pool, grid) for pool in pools])
    scores = np.concatenate(score_views(pools, probability))
    small = None if first is None else resize_map(first.astype(np.float32), *grid) > 0.5
    if probability is None:
        rule = ChoiceRule(ALONE, ALONE, least_iou=0.0)
    else:
        rule = ChoiceRule(config.pool_share, max(config.pool_share, BESIDE), config.pool_keep)
    found = choose(shapes, scores, small, rule, MOST_OBJECTS)
    masks = sharpen(found.candidates, pools, probability, image, size)
    if not masks and first is not None:
        return PoolChoice(True, ())
    return PoolChoice(found.keeps_first, tuple(masks))


def sharpen(
    numbers: Sequence[int],
    pools: Sequence[Pool],
    probability: np.ndarray | None,
    image: Image.Image | None,
    size: tuple[int, int],
) -> list[PoolMask]:
    """Candidates as masks of pixels, in the order named; those that vanish are left out.

    Args:
        numbers: In the pool, all views counted through.
        pools: As ``choose_masks``, and so the rest.
        probability: Likewise.
        image: Likewise.
        size: Likewise.
    """
    if not len(numbers):
        return []
    guide = GuidedFilter(image, size) if image is not None else None
    known = [describe_pool(pool, item) for pool, item in zip(pools, spread_over_views(pools, probability), strict=True)]
    found = []
    for number in numbers:
        view, place = find_view(pools, number)
        parts = {name: float(values[place]) for name, values in known[view].items()}
        values, content = pools[view].values[place], pools[view].content
        if guide is not None:
            mask = guide.sharpen(onto(values, content, (guide.height, guide.width)))
        else:
            mask = onto(values, content, size) > 0
        if np.count_nonzero(mask) >= LEAST_PIXELS:
            found.append(PoolMask(mask, scoring.combine(parts), parts, int(number), values))
    return found


def find_view(pools: Sequence[Pool], number: int) -> tuple[int, int]:
    """The view of a candidate and its place there, by its number in the pool."""
    for view, pool in enumerate(pools):
        if number < len(pool):
            return view, number
        number -= len(pool)
    raise IndexError(f"There is no candidate {number} beyond the last one.")


def spread_over_views(pools: Sequence[Pool], probability: np.ndarray | None) -> list[np.ndarray | None]:
    """The foreground's map, on the first view's patches, on the patches of each view."""
    if probability is None:
        return [None] * len(pools)
    return [probability, *(onto(probability, pools[0].content, pool.grid).clip(0, 1) for pool in pools[1:])]
