"""The filter, third idea of the method: keep the masks that the first model believes, drop the rest.

Rules apply in a fixed order; a mask is dropped by the first that says so:

1. A person's rejection drops, and nothing brings the mask back. A person's acceptance keeps, whatever follows.
2. The thresholds of ``THRESHOLDS``, in that order. Each looks at a mask's own signal, or at its place in its whole
   cluster, dropped masks and rejected ones included: so moving one slider never shifts the cutoff of another.
3. Each cluster gets its best-scored dropped masks back until it has ``min_per_cluster``.
4. A photo left empty gets its best-scored mask back, unless ``empty_photos`` is ``"none"``.

The published filter (arXiv 2206.06363) is ``min_score=0.9`` with step 4. A signal that is NaN was not measured: no rule
drops the mask for it, and among scores NaN is the worst. Of equal scores the one of the lower index is the better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from maskdistill.config import FilterConfig
from maskdistill.errors import ConfigError, RunError, ShapeError

MARGIN = 1e-9  # so that 55 % of 20 masks are 11: 0.55 * 20 is 11.000000000000002


class Threshold(NamedTuple):
    """One rule that compares a signal with a setting."""

    field: str  # of FilterConfig
    rule: str  # in RULES
    signal: str  # of MaskSignals
    drops_below: bool  # True drops signals below the setting, False those above
    neutral: float  # the setting's value that does nothing


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


class Groups(NamedTuple):
    """Which masks belong together."""

    ids: np.ndarray  # (G,) ascending
    codes: np.ndarray  # (N,) index into ids


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskSignals:
    """What the filter knows of N masks, one 1-D array a signal, NaN where not measured.

    What follows from the arrays is computed once and kept, so they must not change afterwards.

    Raises:
        ShapeError: If the arrays are not 1-D or differ in length.
    """

    image: np.ndarray  # int, index of the photo
    cluster: np.ndarray  # int, 1..K
    score: np.ndarray  # stage 1's mean probability of the mask's class inside it, [0, 1]
    iou: np.ndarray  # of the proposal with what stage 1 predicts there, [0, 1]
    agreement: np.ndarray  # share of the mask in which stage 1 predicts its cluster, [0, 1]
    distance: np.ndarray  # to the cluster's centre, any unit
    area: np.ndarray  # fraction of the photo
    border: np.ndarray  # share of the photo's border that the mask covers
    decision: np.ndarray  # int, 1 accepted by a person, -1 rejected by a person, 0 neither

    def __post_init__(self) -> None:
        for field in fields(self):
            shape = getattr(self, field.name).shape
            if len(shape) != 1:
                raise ShapeError(field.name, "(N,)", shape)
            if shape != self.image.shape:
                raise ShapeError(field.name, f"({len(self.image)},) like 'image'", shape)

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence | np.ndarray]) -> Self:
        """Signals from the columns of a table; other columns may be there too.

        A missing signal counts as not measured, a missing or NaN decision as none. Floats keep their precision.

        Raises:
            RunError: If ``image`` or ``cluster`` is missing or not of whole numbers, or a signal is not of numbers.
            ShapeError: If the columns differ in length.
        """
        missing = [name for name in ("image", "cluster") if name not in columns]
        if missing:
            raise RunError(f"The masks have no column '{missing[0]}'. Cluster them first.")
        arrays = {name: _whole(name, columns[name]) for name in ("image", "cluster")}
        unmeasured = np.full(arrays["image"].shape, np.nan)
        for field in fields(cls):
            if field.name not in arrays:
                arrays[field.name] = _floats(field.name, columns.get(field.name, unmeasured))
        arrays["decision"] = np.sign(np.nan_to_num(arrays["decision"])).astype(np.int8)
        return cls(**arrays)

    @cached_property
    def photos(self) -> Groups:
        """Masks by photo."""
        return Groups(*np.unique(self.image, return_inverse=True))

    @cached_property
    def clusters(self) -> Groups:
        """Masks by cluster."""
        return Groups(*np.unique(self.cluster, return_inverse=True))

    @cached_property
    def distance_quantile(self) -> np.ndarray:
        """(N,) share of the other measured masks of its cluster that lie nearer to the centre, less ``MARGIN``.

        It is at most q where the distance is at most the cluster's q-quantile (the data point below).
        """
        places, counts = _places(self.clusters, self.distance, ties_share=True)
        return places / np.maximum(counts - 1, 1) - MARGIN

    @cached_property
    def standing(self) -> np.ndarray:
        """(N,) share of the measured masks of its cluster with a better score, plus ``MARGIN``; 0 is the best.

        It is at most s for the best share s of the cluster, rounded up to whole masks.
        """
        places, counts = _places(self.clusters, -self.score, ties_share=False)
        return places / np.maximum(counts, 1) + MARGIN

    @cached_property
    def best_first(self) -> np.ndarray:
        """(M,) indices of the masks that no person rejected, cluster by cluster, each from its best score down."""
        order = np.lexsort((-self.score, self.clusters.codes))
        return order[self.decision[order] >= 0]

    @cached_property
    def cluster_bounds(self) -> np.ndarray:
        """(G + 1,) where each cluster begins in ``best_first``, and its end."""
        return np.searchsorted(self.clusters.codes[self.best_first], np.arange(len(self.clusters.ids) + 1))

    @cached_property
    def best_of_photos(self) -> np.ndarray:
        """(G,) index of each photo's best-scored mask that no person rejected; -1 if all were."""
        order = np.lexsort((-self.score, self.photos.codes))
        order = order[self.decision[order] >= 0]
        codes = self.photos.codes[order]
        first = np.flatnonzero(np.diff(codes, prepend=-1))
        best = np.full(len(self.photos.ids), -1)
        best[codes[first]] = order[first]
        return best


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
    """Which masks stay, and why."""

    signals: MaskSignals
    kept: np.ndarray  # (N,) bool
    rule: np.ndarray  # (N,) int8 index into RULES: what dropped the mask, or why it is kept

    def counts(self) -> dict[str, int]:
        """Number of masks under every rule, in the order of ``RULES``."""
        return dict(zip(RULES, np.bincount(self.rule, minlength=len(RULES)).tolist(), strict=True))

    def photos(self) -> PhotoCounts:
        """How many photos keep a mask."""
        total = len(self.signals.photos.ids)
        kept = int(np.count_nonzero(_present(self.signals.photos, self.kept)))
        return PhotoCounts(kept, total, total - kept)

    def clusters(self) -> dict[int, ClusterCounts]:
        """How many masks each cluster keeps, by cluster."""
        ids, codes = self.signals.clusters
        kept = np.bincount(codes[self.kept], minlength=len(ids)).tolist()
        total = np.bincount(codes, minlength=len(ids)).tolist()
        return {id: ClusterCounts(*pair) for id, *pair in zip(ids.tolist(), kept, total, strict=True)}


class Curve(NamedTuple):
    """What is kept at each value of one setting."""

    values: np.ndarray  # (V,) float64
    masks: np.ndarray  # (V,) int64, kept masks
    photos: np.ndarray  # (V,) int64, photos with a kept mask


def filter_masks(signals: MaskSignals, config: FilterConfig) -> FilterResult:
    """Apply every rule in its order; the same input gives the same result."""
    rule = np.zeros(len(signals.image), np.int8)  # index of KEPT
    for threshold in reversed(THRESHOLDS):  # so that the first rule has the last word
        rule[_dropped(signals, threshold, getattr(config, threshold.field))] = RULES.index(threshold.rule)
    rule[(rule != RULES.index(KEPT)) & (signals.decision > 0)] = RULES.index(ACCEPTED)
    rule[signals.decision < 0] = RULES.index(REJECTED)
    kept = (rule == RULES.index(KEPT)) | (rule == RULES.index(ACCEPTED))
    if config.min_per_cluster:
        back = signals.best_first[_best_of_clusters(signals, kept[signals.best_first], config.min_per_cluster)]
        rule[back], kept[back] = RULES.index(CLUSTER_BEST), True
    if config.empty_photos == "best":
        back = signals.best_of_photos[~_present(signals.photos, kept)]
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


def rule_values(signals: MaskSignals, field: str) -> np.ndarray:
    """(N,) values that the setting ``field`` is compared with, NaN where not measured: for a histogram.

    Raises:
        ConfigError: If there is no threshold of that name.
    """
    return getattr(signals, _threshold(field).signal)


def curve(signals: MaskSignals, config: FilterConfig, field: str, values: Sequence[float] | np.ndarray) -> Curve:
    """How many masks and photos the whole filter keeps as one of its thresholds moves.

    Args:
        signals: Of N masks.
        config: The other settings.
        field: Name of the threshold, one of ``THRESHOLDS``.
        values: (V,) values of it.

    Raises:
        ConfigError: If there is no threshold of that name, or a value is out of its range.
    """
    moving = _threshold(field)
    values = np.asarray(values, np.float64)
    for value in (values.min(), values.max()) if values.size else ():  # NaN is both
        replace(config, **{field: float(value)})
    strength, photo_strength = _strengths(signals, config, moving)
    ordered, photo_of = strength[signals.best_first], signals.photos.codes[signals.best_first]
    photos_at_most = np.count_nonzero(signals.best_of_photos >= 0)
    masks, photos = np.zeros((2, len(values)), np.int64)
    for index, value in enumerate(values.tolist()):
        limit = _limit(moving, value, strength.dtype)
        kept, present = ordered >= limit, photo_strength >= limit
        masks[index] = np.count_nonzero(kept)
        if config.min_per_cluster:
            back = _best_of_clusters(signals, kept, config.min_per_cluster)
            masks[index] += len(back)
            present[photo_of[back]] = True
        photos[index] = np.count_nonzero(present)
        if config.empty_photos == "best":
            masks[index] += photos_at_most - photos[index]
            photos[index] = photos_at_most
    return Curve(values, masks, photos)


def _threshold(field: str) -> Threshold:
    for threshold in THRESHOLDS:
        if threshold.field == field:
            return threshold
    names = ", ".join(threshold.field for threshold in THRESHOLDS)
    raise ConfigError(f"The filter has no threshold '{field}'. There are: {names}.")


def _dropped(signals: MaskSignals, threshold: Threshold, value: float) -> np.ndarray:
    """(N,) bool: what this rule alone drops. NaN compares as False, so it passes."""
    if value == threshold.neutral:  # an area of 1.0000001 is no reason
        return np.zeros(len(signals.image), bool)
    measured = getattr(signals, threshold.signal)
    # A Python float takes the type of the array: a float32 score that reads 0.9 passes 0.9.
    return measured < value if threshold.drops_below else measured > value


def _best_of_clusters(signals: MaskSignals, kept: np.ndarray, wanted: int) -> np.ndarray:
    """Places in ``best_first`` of what clusters with less than ``wanted`` get back; ``kept`` is (M,) in that order."""
    dropped = np.flatnonzero(~kept)
    bounds = np.searchsorted(dropped, signals.cluster_bounds)  # (G + 1,) places in dropped
    num_dropped = np.diff(bounds)
    num_kept = np.diff(signals.cluster_bounds) - num_dropped
    num_back = np.clip(wanted - num_kept, 0, num_dropped)
    nth = np.arange(num_back.sum()) - np.repeat(np.cumsum(num_back) - num_back, num_back)  # 0, 1, .. in each cluster
    return dropped[np.repeat(bounds[:-1], num_back) + nth]


def _strengths(signals: MaskSignals, config: FilterConfig, moving: Threshold) -> tuple[np.ndarray, np.ndarray]:
    """(N,) the strictest limit under which each mask stays, by ``_limit``'s scale, and (G,) the same of each photo."""
    values = getattr(signals, moving.signal)
    strength = np.where(np.isnan(values), np.inf, values if moving.drops_below else -values)
    for threshold in THRESHOLDS:
        if threshold is not moving:
            strength[_dropped(signals, threshold, getattr(config, threshold.field))] = -np.inf
    strength[signals.decision > 0] = np.inf
    strength[signals.decision < 0] = -np.inf
    of_photos = np.full(len(signals.photos.ids), -np.inf, strength.dtype)
    np.maximum.at(of_photos, signals.photos.codes, strength)
    return strength, of_photos


def _limit(threshold: Threshold, value: float, dtype: np.dtype) -> float:
    """The value on a scale where higher is stricter; the neutral one is below every number but minus infinity."""
    if value == threshold.neutral:
        return float(np.finfo(dtype).min)
    return value if threshold.drops_below else -value


def _present(groups: Groups, kept: np.ndarray) -> np.ndarray:
    """(G,) bool: groups with a kept mask."""
    present = np.zeros(len(groups.ids), bool)
    present[groups.codes[kept]] = True
    return present


def _places(groups: Groups, values: np.ndarray, *, ties_share: bool) -> tuple[np.ndarray, np.ndarray]:
    """Place of each value in its group, from 0 for the smallest, NaN for NaN; and the number of values of its group.

    Equal values come by index, or share the first of their places.
    """
    order = np.lexsort((values, groups.codes))  # NaN last in its group
    codes, spots = groups.codes[order], np.arange(len(order))
    first = spots
    if ties_share:
        new = (np.diff(codes, prepend=-1) > 0) | (np.diff(values[order], prepend=np.nan) != 0)
        first = np.maximum.accumulate(np.where(new, spots, 0))
    places = np.empty(len(order))
    places[order] = first - np.searchsorted(codes, np.arange(len(groups.ids)))[codes]
    places[np.isnan(values)] = np.nan
    counts = np.bincount(groups.codes[~np.isnan(values)], minlength=len(groups.ids))
    return places, counts[groups.codes]


def _floats(name: str, column: Sequence | np.ndarray) -> np.ndarray:
    values = np.asarray(column)
    try:
        return values if values.dtype.kind == "f" else values.astype(np.float64)  # None becomes NaN
    except (TypeError, ValueError) as error:
        raise RunError(f"The masks' column '{name}' must hold numbers, got {values.dtype}. Make it again.") from error


def _whole(name: str, column: Sequence | np.ndarray) -> np.ndarray:
    values = np.asarray(column)
    if values.dtype.kind in "iu":
        return values
    if values.dtype.kind != "f" or not np.array_equal(values, np.floor(values)):  # NaN equals nothing
        raise RunError(f"The masks' column '{name}' must hold whole numbers, got {values.dtype}. Cluster them again.")
    return values.astype(np.int64)
