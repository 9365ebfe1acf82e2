"""Masks at the filter's border, where the mistakes of a threshold live: the just-kept and the just-dropped.

How far a mask is from a threshold is counted in masks, as a share of all measured ones that lie between: so that a
hundredth of a score and a hundredth of an area compare. That is its margin: 0 or more if it passes, negative if not.
"""

from typing import NamedTuple

import numpy as np

from maskdistill.config import FilterConfig
from maskdistill.errors import ConfigError
from maskdistill.pseudo_labels.filter import RULES, THRESHOLDS, FilterResult, Threshold, dropped_by, rules_in_force
from maskdistill.pseudo_labels.signals import MaskSignals
from maskdistill.pseudo_labels.threshold_curves import threshold_of


class Border(NamedTuple):
    """Masks on both sides of the border, nearest first; those that people decided on are left out."""

    kept: np.ndarray  # (A,) indices of masks that every rule passes
    dropped: np.ndarray  # (B,) indices of masks that are dropped, and no longer would be if the border moved
    rule: np.ndarray  # (N,) index into THRESHOLDS of the one that each mask is nearest to passing or to failing


def margins(signals: MaskSignals, threshold: Threshold, value: float) -> np.ndarray:
    """(N,) share of the measured masks between each mask and a threshold: negative if that drops it.

    A mask that was not measured is infinitely far; the neutral value drops nothing.
    """
    values, below = getattr(signals, threshold.signal), signals.share_below(threshold.signal)
    step = 1 / max(1, int(np.count_nonzero(~np.isnan(values))))
    if threshold.drops_below:
        found = below - step * np.count_nonzero(values < value)
    else:
        found = step * (np.count_nonzero(values <= value) - 1) - below
    drops = threshold.drops(signals, value)
    # Rounding, and a value outside the range under a neutral threshold, must not change the side.
    found = np.where(drops, np.minimum(found, -step / 2), np.maximum(found, 0))
    found[np.isnan(values)] = np.inf
    return found


def find_border(result: FilterResult, config: FilterConfig, field: str = "") -> Border:
    """The just-kept and the just-dropped masks.

    Args:
        result: What ``filter_masks`` made of these settings.
        config: The settings.
        field: The threshold whose border it is, one of ``THRESHOLDS``; "" for all rules in force together. Then a
            mask's margin is the smallest of all, that of the rule that would drop it first, or drops it most.

    Raises:
        ConfigError: If there is no threshold of that name.
    """
    signals = result.signals
    moving = (threshold_of(field),) if field else rules_in_force(config)
    undecided = (signals.decision == 0) & ~dropped_by(signals, config, lambda threshold: threshold not in moving)
    if len(moving) == 1:
        return _border_of_one(moving[0], getattr(config, moving[0].field), result, undecided)
    margin, rule = np.full(len(signals.image), np.inf), np.zeros(len(signals.image), np.int8)
    for threshold in moving:
        found = margins(signals, threshold, getattr(config, threshold.field))
        rule[found < margin] = THRESHOLDS.index(threshold)
        margin = np.minimum(margin, found)
    near = undecided & np.isfinite(margin)
    kept, dropped = np.flatnonzero(near & (margin >= 0)), np.flatnonzero(near & (margin < 0) & ~result.kept)
    return Border(_nearest_first(kept, margin), _nearest_first(dropped, margin), rule)


def _border_of_one(threshold: Threshold, value: float, result: FilterResult, undecided: np.ndarray) -> Border:
    """Masks in the order of one signal, which no value changes, lie in that of their margins on both sides of it."""
    signals, signal = result.signals, threshold.signal
    up, down = signals.from_least(signal), signals.from_greatest(signal)
    passing, failing = (up, down) if threshold.drops_below else (down, up)
    num_failing = int(np.count_nonzero(threshold.drops(signals, value)))
    kept, dropped = passing[num_failing:], failing[len(failing) - num_failing :]
    rule = np.full(len(signals.image), THRESHOLDS.index(threshold), np.int8)
    return Border(kept[undecided[kept]], dropped[(undecided & ~result.kept)[dropped]], rule)


def _nearest_first(rows: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """(R,) ascending ``rows`` by how far they are, of equal ones the lower first.

    Distance and row are sorted as one number: three times as fast as a stable argsort. Float32 tells apart the shares
    of sixteen million masks, and takes as equal what differs by rounding only.
    """
    far = np.abs(margin[rows]).astype(np.float32).view(np.uint32)  # of floats from 0 up, the bits sort as they do
    keys = np.sort((far.astype(np.uint64) << np.uint64(32)) | rows.astype(np.uint64))
    return (keys & np.uint64(0xFFFFFFFF)).astype(rows.dtype)


def masks_under(result: FilterResult, config: FilterConfig, rule: str) -> np.ndarray:
    """(M,) indices of the masks that a rule dropped or kept, those nearest to its threshold first, or of best score.

    Raises:
        ConfigError: If there is no such rule.
    """
    if rule not in RULES:
        raise ConfigError(f"The filter has no rule '{rule}'. There are: {', '.join(RULES)}.")
    rows = np.flatnonzero(result.rule == RULES.index(rule))
    threshold = next((item for item in THRESHOLDS if item.rule == rule), None)
    if threshold is None:
        order = np.argsort(-result.signals.score[rows], kind="stable")  # NaN last
    else:
        order = np.argsort(-margins(result.signals, threshold, getattr(config, threshold.field))[rows], kind="stable")
    return rows[order]
