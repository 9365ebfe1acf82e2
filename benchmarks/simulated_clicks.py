"""An auditor who knows the truth: always clicks in the middle of the largest error, and how soon a mask is good.

The field's standard (Xu et al., CVPR 2016; Sofiiuk et al., ICIP 2022): the next click is the point that lies deepest in
what the mask lacks or has too much, up to 20 of them. A mask that is there before the first click may need none.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from maskdistill.masks import mask_iou
from maskdistill.review.repair import Click

MOST_CLICKS = 20
SHOWN = (0, 1, 2, 3, 5)  # clicks after which the mean IoU is told
GOALS = (0.85, 0.90)  # IoU

Answer = Callable[[np.ndarray, Sequence[Click]], np.ndarray]  # mask before any click, all clicks -> mask


@dataclass(frozen=True, eq=False)
class Case:
    """A mask and the object that an auditor wants of it."""

    mask: np.ndarray  # (H, W) bool
    target: np.ndarray  # (H, W) bool
    counts: np.ndarray  # (H, W) bool, pixels whose truth is known

    def iou(self, mask: np.ndarray) -> float:
        """Of a mask with the object; pixels whose truth is unknown count for nothing."""
        return mask_iou(mask & self.counts, self.target & self.counts)


@dataclass
class Played:
    """What became of one mask."""

    ious: list[float] = field(default_factory=list)  # before the first click and after each
    seconds: list[float] = field(default_factory=list)  # of processor time, of each click

    def after(self, clicks: int) -> float:
        """IoU after so many clicks; the last one known where the auditor stopped before."""
        return self.ious[min(clicks, len(self.ious) - 1)]

    def needed(self, goal: float) -> int | None:
        """Clicks until the IoU reaches a goal for the first time; None if it never did."""
        return next((clicks for clicks, iou in enumerate(self.ious) if iou >= goal), None)


def next_click(mask: np.ndarray, case: Case, before: Sequence[Click] = ()) -> Click | None:
    """The middle of the largest error, where no click was yet; None if there is no error.

    Args:
        mask: (H, W) bool, as it is now.
        case: What it should be.
        before: Clicks that were made.
    """
    best, click = 0.0, None
    for adds, error in ((True, case.target & ~mask), (False, mask & ~case.target)):
        depth = ndimage.distance_transform_edt(np.pad(error & case.counts, 1))[1:-1, 1:-1]
        for made in before:
            depth[made.pixel(mask.shape)] = 0
        row, col = np.unravel_index(int(depth.argmax()), depth.shape)
        if depth[row, col] > best:
            best, click = float(depth[row, col]), Click(float(col) + 0.5, float(row) + 0.5, adds)
    return click


def play(case: Case, answer: Answer, most: int = MOST_CLICKS, goal: float = max(GOALS)) -> Played:
    """Click until the goal is reached and ``SHOWN`` is seen, there is no error left, or there were enough clicks."""
    mask, clicks, played = case.mask, list[Click](), Played([case.iou(case.mask)])
    while len(clicks) < most and (played.needed(goal) is None or len(clicks) < max(SHOWN)):
        click = next_click(mask, case, clicks)
        if click is None:
            break
        clicks.append(click)
        began = time.process_time()
        mask = answer(case.mask, clicks)
        played.seconds.append(time.process_time() - began)
        played.ious.append(case.iou(mask))
    return played


def summarise(games: Sequence[Played], most: int = MOST_CLICKS) -> dict[str, Any]:
    """Mean IoU after some clicks; clicks needed for each goal, ``most`` where it was never reached, and how often."""
    found: dict[str, Any] = {"num_masks": len(games)}
    found["iou"] = {str(clicks): float(np.mean([game.after(clicks) for game in games])) for clicks in SHOWN}
    for goal in GOALS:
        needed = [game.needed(goal) for game in games]
        found[f"clicks_{goal:.2f}"] = float(np.mean([most if count is None else count for count in needed]))
        found[f"missed_{goal:.2f}"] = float(np.mean([count is None for count in needed]))
    seconds = [value for game in games for value in game.seconds]
    found["ms_per_click"] = 1000 * float(np.median(seconds)) if seconds else None
    return found
