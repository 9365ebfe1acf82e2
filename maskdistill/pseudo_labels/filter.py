"""The filter, third idea of the method: keep the masks that the first model is confident about, drop the rest.

Rules apply in a fixed order; a mask is dropped by the first that applies:

1. A person's rejection drops, and nothing brings the mask back. A person's acceptance keeps, whatever follows.
2. The thresholds of ``THRESHOLDS``, in that order. Each compares a mask's own signal, or at its place in its whole
   cluster, dropped masks and rejected ones included: so moving one slider never shifts the cutoff of another.
3. Each cluster gets its best-scored dropped masks back until it has ``min_per_cluster``.
4. A photo left empty gets its best-scored mask back, unless ``empty_photos`` is ``"none"``.

The published filter (arXiv 2206.06363) is ``min_score=0.9`` with step 4. A signal that is NaN was not measured: no rule
drops the mask for it, and among scores NaN is the worst. Of equal scores the one of the lower index is the better.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from maskdistill.config import FilterConfig
from maskdistill.pseudo_labels.signals import MaskSignals


class Threshold(NamedTuple):
    """One rule that compares a signal with a setting."""

    field: str  # of FilterConfig
    rule: str  # in RULES
    signal: str  # of MaskSignals
    drops_below: bool  # True drops signals below the setting, False those above
    neutral: float  # the setting's value that does nothing

    def drops(self, signals: MaskSignals, value: float) -> np.ndarray:
        """(N,) bool, not to be changed: what this rule alone drops under a value of its setting.

        NaN compares as False, so it passes. The answer for the last value is kept: whatever is counted as one
        threshold moves asks for it of all others.
        """
        last = signals.last_drops.get(self.field)
        if last is None or last[0] != value:
            last = signals.last_drops[self.field] = value, self._drops(signals, value)
        return last[1]

    def _drops(self, signals: MaskSignals, value: float) -> np.ndarray:
        if value == self.neutral:  # an area of 1.0000001 is no reason
            return np.zeros(len(signals.image), bool)
        measured = getattr(signals, self.signal)
        # A Python float takes the type of the array: a float32 score that reads 0.9 passes 0.9.
        return measured < value if self.drops_below else measured > value


THRESHOLDS = (
    Threshold("min_score", "low score", "score", True, 0),
    Threshold("min_iou", "low IoU", "iou", True, 0),
    Threshold("min_agreement", "low agreement", "agreement", True, 0),
    Threshold("max_distance", "far from its cluster", "distance_quantile", False, 1),
    Threshold("min_area", "too small", "area", True, 0),
    Threshold("max_area", "too large", "area", False, 1),
    Threshold("max_border", "on the border", "border", False, 1),
    Threshold("keep_share", "below its cluster's best share", "standing", False, 1),
)
KEPT, REJECTED = "kept", "rejected by a person"
ACCEPTED, CLUSTER_BEST, PHOTO_BEST = "accepted by a person", "best of its cluster", "best of its photo"
KEEPING = (KEPT, ACCEPTED, CLUSTER_BEST, PHOTO_BEST)
RULES = (KEPT, REJECTED, *(threshold.rule for threshold in THRESHOLDS), ACCEPTED, CLUSTER_BEST, PHOTO_BEST)
RULE_HELP = {
    KEPT: "passes every rule",
    REJECTED: "a person rejected it; nothing brings it back",
    "low score": "inside it, stage 1 gives its class less probability than asked for",
    "low IoU": "what stage 1 predicts there overlaps it less than asked for",
    "low agreement": "stage 1 predicts its cluster in a smaller share of it than asked for",
    "far from its cluster": "its embedding lies farther from the cluster's centre than the chosen quantile",
    "too small": "it covers less of the photo than asked for",
    "too large": "it covers more of the photo than allowed",
    "on the border": "it covers more of the photo's border than allowed",
    "below its cluster's best share": "too many masks of its cluster have a better score",
    ACCEPTED: "a rule would drop it, but a person accepted it",
    CLUSTER_BEST: "a rule would drop it, but its cluster would have too few masks",
    PHOTO_BEST: "a rule would drop it, but its photo would have no mask",
}


class PhotoCounts(NamedTuple):
    """Of the photos that have a mask at all."""

    kept: int  # photos with a kept mask
    total: int
    empty: int  # photos without


class ClusterCounts(NamedTuple):
    """Masks of one cluster."""

    kept: int
    total: int


@dataclass(frozen=True, eq=False)
class FilterResult:
    """Which masks stay, and why. What follows from the arrays is counted once, so they must not change afterwards."""

    signals: MaskSignals
    kept: np.ndarray  # (N,) bool
    rule: np.ndarray  # (N,) int8 index into RULES: what dropped the mask, or why it is kept

    def counts(self) -> dict[str, int]:
        """Number of masks under every rule, in the order of ``RULES``."""
        return dict(zip(RULES, np.bincount(self.rule, minlength=len(RULES)).tolist(), strict=True))

    def photos(self) -> PhotoCounts:
        """How many photos keep a mask."""
        return self._photos

    def clusters(self) -> dict[int, ClusterCounts]:
        """How many masks each cluster keeps, by cluster."""
        return dict(self._clusters)

    @cached_property
    def _photos(self) -> PhotoCounts:
        total = len(self.signals.photos.ids)
        kept = int(np.count_nonzero(self.signals.greatest_of_photos(self.kept)))
        return PhotoCounts(kept, total, total - kept)

    @cached_property
    def _clusters(self) -> dict[int, ClusterCounts]:
        ids, codes = self.signals.clusters
        dropped, kept = np.bincount(2 * codes + self.kept, minlength=2 * len(ids)).reshape(-1, 2).T
        counts = zip(ids.tolist(), kept.tolist(), (dropped + kept).tolist(), strict=True)
        return {id: ClusterCounts(*pair) for id, *pair in counts}


def rules_in_force(config: FilterConfig) -> tuple[Threshold, ...]:
    """The thresholds that are not at their neutral end."""
    return tuple(item for item in THRESHOLDS if getattr(config, item.field) != item.neutral)


def dropped_by(signals: MaskSignals, config: FilterConfig, which: Callable[[Threshold], bool]) -> np.ndarray:
    """(N,) bool: masks that one of these thresholds drops, whatever people decided."""
    dropped = np.zeros(len(signals.image), bool)
    for threshold in filter(which, rules_in_force(config)):
        dropped |= threshold.drops(signals, getattr(config, threshold.field))
    return dropped


def filter_masks(signals: MaskSignals, config: FilterConfig) -> FilterResult:
    """Apply every rule in its order; the same input gives the same result."""
    rule = np.zeros(len(signals.image), np.int8)  # index of KEPT
    for threshold in reversed(rules_in_force(config)):  # so that the first rule counts
        drops = threshold.drops(signals, getattr(config, threshold.field))
        np.putmask(rule, drops, RULES.index(threshold.rule))  # takes half as long as to assign
    np.putmask(rule, (rule != RULES.index(KEPT)) & (signals.decision > 0), RULES.index(ACCEPTED))
    np.putmask(rule, signals.decision < 0, RULES.index(REJECTED))
    kept = (rule == RULES.index(KEPT)) | (rule == RULES.index(ACCEPTED))
    if config.min_per_cluster:
        back = signals.best_first[signals.best_of_clusters(kept[signals.best_first], config.min_per_cluster)]
        rule[back], kept[back] = RULES.index(CLUSTER_BEST), True
    if config.empty_photos == "best":
        back = signals.best_of_photos[~signals.greatest_of_photos(kept)]
        back = back[back >= 0]
        rule[back], kept[back] = RULES.index(PHOTO_BEST), True
    return FilterResult(signals, kept, rule)


def describe(result: FilterResult) -> list[str]:
    """A sentence for every rule that touched a mask, in the order of ``RULES``."""
    counts = result.counts()
    return [
        f"{rule[0].upper()}{rule[1:]}, {count:,} mask{'' if count == 1 else 's'}: {RULE_HELP[rule]}."
        for rule, count in counts.items()
        if count
    ]
