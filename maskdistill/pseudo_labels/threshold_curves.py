"""What the filter would keep as one of its thresholds moves: curves and histograms beside a slider."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from heapq import heappop, heappushpop
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np

from maskdistill.config import FilterConfig
from maskdistill.errors import ConfigError, ShapeError
from maskdistill.pseudo_labels.filter import THRESHOLDS, Threshold, dropped_by
from maskdistill.pseudo_labels.signals import MaskSignals

GOOD_FIT = 0.5  # IoU with ground truth from which a mask counts as a fit, as detection has it


class Curve(NamedTuple):
    """What is kept at each value of one setting."""

    values: np.ndarray  # (V,) float64
    masks: np.ndarray  # (V,) int64, kept masks
    photos: np.ndarray  # (V,) int64, photos with a kept mask


class QualityCurve(NamedTuple):
    """How well the kept masks fit ground truth at each value of one setting. Reporting only: nothing is set by it."""

    values: np.ndarray  # (V,) float64
    masks: np.ndarray  # (V,) int64, kept masks
    mean_iou: np.ndarray  # (V,) of the kept ones with ground truth, NaN without one
    fits: np.ndarray  # (V,) share of these with an IoU of at least GOOD_FIT, NaN without one


class Histogram(NamedTuple):
    """Masks by the value of one signal. A mask without a value is in no bin."""

    edges: np.ndarray  # (B + 1,) ascending
    free: np.ndarray  # (B,) int64, masks that the thresholds of this signal decide on
    accepted: np.ndarray  # (B,) int64, masks that a person accepted: no threshold matters
    elsewhere: np.ndarray  # (B,) int64, masks that another rule or a person drops anyway
    unmeasured: int  # masks without a value: no threshold of this signal drops them


class Bins(NamedTuple):
    """Masks by the bin of one signal, whatever the thresholds."""

    places: np.ndarray  # (N,) bin of each mask, 1 to B, 0 without a value
    counts: np.ndarray  # (B + 1,) masks of each, those without a value first


def curve(
    signals: MaskSignals,
    config: FilterConfig,
    field: str,
    values: Sequence[float] | np.ndarray,
    levels: np.ndarray | None = None,
) -> Curve:
    """How many masks and photos the whole filter keeps as one of its thresholds moves.

    Args:
        signals: Of N masks.
        config: The other settings.
        field: Name of the threshold, one of ``THRESHOLDS``.
        values: (V,) values of it.
        levels: What ``levels_of`` returns for the threshold and these values, where that is at hand.

    Raises:
        ConfigError: If there is no threshold of that name, or a value is out of its range.
    """
    sweep = _Sweep.of(signals, config, field, values, levels)
    return Curve(np.asarray(values, np.float64), sweep.kept(), sweep.photos())


def quality_curve(
    signals: MaskSignals,
    config: FilterConfig,
    field: str,
    values: Sequence[float] | np.ndarray,
    truth_iou: np.ndarray,
) -> QualityCurve:
    """How well the masks fit that the whole filter keeps as one of its thresholds moves.

    Args:
        signals: Of N masks.
        config: The other settings.
        field: Name of the threshold, one of ``THRESHOLDS``.
        values: (V,) values of it.
        truth_iou: (N,) IoU with ground truth, NaN where there is none.

    Raises:
        ConfigError: If there is no threshold of that name, or a value is out of its range.
        ShapeError: If there is not one IoU a mask.
    """
    if truth_iou.shape != signals.image.shape:
        raise ShapeError("truth_iou", f"({len(signals.image)},)", truth_iou.shape)
    known = ~np.isnan(truth_iou)
    weights = known, np.where(known, truth_iou, 0), known & (truth_iou >= GOOD_FIT)
    sweep = _Sweep.of(signals, config, field, values)
    judged, total, fitting = (sweep.kept(weight.astype(np.float64)) for weight in weights)
    judged = np.where(np.rint(judged) > 0, judged, np.nan)
    return QualityCurve(np.asarray(values, np.float64), sweep.kept(), total / judged, fitting / judged)


def levels_of(signals: MaskSignals, field: str, values: Sequence[float] | np.ndarray) -> np.ndarray:
    """(N,) how many of (V,) values of a threshold, loosest first, let each mask pass: V for one without a value.

    In as few bits as hold V: of them are read all, for each threshold, as any of them moves.

    Raises:
        ConfigError: If there is no threshold of that name.
    """
    moving = threshold_of(field)
    measured = getattr(signals, moving.signal)
    strength = np.where(np.isnan(measured), np.inf, measured if moving.drops_below else -measured)
    limits = np.sort(_limits(moving, values).astype(strength.dtype))
    levels = np.searchsorted(limits, strength, side="right")
    return levels.astype(np.min_scalar_type(len(limits)))


def _limits(moving: Threshold, values: Sequence[float] | np.ndarray) -> np.ndarray:
    """(V,) the values on a scale where higher is stricter; the neutral one is below every number."""
    values = np.asarray(values, np.float64)
    return np.where(values == moving.neutral, -np.inf, values if moving.drops_below else -values)


def bins_of(values: np.ndarray, edges: np.ndarray) -> Bins:
    """(N,) values in the bins between (B + 1,) ascending ``edges``; those outside fall into the end ones."""
    places = np.clip(np.searchsorted(edges, values, side="right"), 1, len(edges) - 1)
    places = np.where(np.isnan(values), 0, places).astype(np.min_scalar_type(len(edges)))
    return Bins(places, np.bincount(places, minlength=len(edges)))


def histogram(
    signals: MaskSignals, config: FilterConfig, signal: str, edges: np.ndarray, bins: Bins | None = None
) -> Histogram:
    """Masks by the value of one signal, apart by whether its own thresholds decide on them.

    Args:
        signals: Of N masks.
        config: The settings; those of this signal's own thresholds do not matter.
        signal: One of those that ``THRESHOLDS`` name.
        edges: (B + 1,) ascending; values outside fall into the first or last bin.
        bins: What ``bins_of`` returns for the signal, where that is at hand.
    """
    bins = bins_of(getattr(signals, signal), edges) if bins is None else bins
    dropped = dropped_by(signals, config, lambda threshold: threshold.signal != signal)
    counted = bins.places * ((signals.decision == 0) & ~dropped), bins.places[signals.decision > 0]
    free, accepted = (np.bincount(places, minlength=len(edges))[1:] for places in counted)
    return Histogram(edges, free, accepted, bins.counts[1:] - free - accepted, int(bins.counts[0]))


def threshold_of(field: str) -> Threshold:
    """The threshold of a setting's name.

    Raises:
        ConfigError: If there is none.
    """
    for threshold in THRESHOLDS:
        if threshold.field == field:
            return threshold
    names = ", ".join(threshold.field for threshold in THRESHOLDS)
    raise ConfigError(f"The filter has no threshold '{field}'. There are: {names}.")


@dataclass(frozen=True, eq=False)
class _Sweep:
    """One threshold at many values. By the thresholds a mask stays while the limit is at most its strength.

    A mask is brought back for its cluster as soon as few enough of the masks with a worse score stay, and as a
    stricter limit never lets more of them stay, it is there from a certain limit on. So a mask is away between two
    limits at most, and so is a photo: all counts come from limits. These are counted by how many of the values are at
    most as strict, which is all that matters of them, so that nothing is sorted.
    """

    signals: MaskSignals
    config: FilterConfig
    strength: np.ndarray  # (N,) whole numbers, how many of the values let a mask stay: 0 for none, V for all
    places: np.ndarray  # (V,) of each value among them, loosest first

    @classmethod
    def of(
        cls,
        signals: MaskSignals,
        config: FilterConfig,
        field: str,
        values: Sequence[float] | np.ndarray,
        levels: np.ndarray | None = None,
    ) -> Self:
        moving = threshold_of(field)
        values = np.asarray(values, np.float64)
        for value in (values.min(), values.max()) if values.size else ():  # NaN is both
            limit: dict[str, Any] = {field: float(value)}
            replace(config, **limit)
        levels = levels_of(signals, field, values) if levels is None else levels
        dropped = dropped_by(signals, config, lambda threshold: threshold is not moving)
        strength = levels * (~dropped & (signals.decision == 0))  # a tenth of the time that masked assignments take
        strength[signals.decision > 0] = len(values)
        places = np.empty(len(values), np.int64)
        places[np.argsort(_limits(moving, values), kind="stable")] = np.arange(len(values))
        return cls(signals, config, strength, places)

    def kept(self, weights: np.ndarray | None = None) -> np.ndarray:
        """(V,) number of masks that the whole filter keeps, or the sum of their (N,) weights."""
        back, since = self.returns
        since = np.maximum(self.strength[back], since)
        total = self._from(self.strength, weights) + self._below(since, None if weights is None else weights[back])
        if self.config.empty_photos == "best":
            best = self.signals.best_of_photos
            some = best >= 0
            gone, again = (limits[some] for limits in self.of_photos)
            of_best = None if weights is None else weights[best[some]]
            total += self._below(gone, of_best) - self._below(again, of_best)
        return total

    def photos(self) -> np.ndarray:
        """(V,) number of photos with a kept mask."""
        if self.config.empty_photos == "best":
            return np.full(len(self.places), np.count_nonzero(self.signals.best_of_photos >= 0))
        gone, again = self.of_photos
        return len(gone) - self._below(gone) + self._below(again)

    @cached_property
    def of_photos(self) -> tuple[np.ndarray, np.ndarray]:
        """(G,) limit above which each photo has no mask, and limit above which it has one again, V if never."""
        gone = self.signals.greatest_of_photos(self.strength)
        again = np.full_like(gone, len(self.places))
        back, since = self.returns
        np.minimum.at(again, self.signals.photos.codes[back], since)
        return gone, np.maximum(gone, again)

    @cached_property
    def returns(self) -> tuple[np.ndarray, np.ndarray]:
        """(R,) masks that may come back for their cluster, and (R,) the limit above which each is there."""
        back, since = [np.zeros(0, int)], [np.zeros(0, self.strength.dtype)]
        bounds = self.signals.cluster_bounds.tolist() if self.config.min_per_cluster else []
        for first, last in pairwise(bounds):
            members = self.signals.best_first[first:last]
            back.append(members[: self.config.min_per_cluster])
            since.append(_return_limits(self.strength[members], self.config.min_per_cluster))
        return np.concatenate(back), np.concatenate(since)

    def _below(self, strength: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """(V,) number, or sum of the weights, of what has a strength below each limit."""
        counts = np.bincount(strength, weights, minlength=len(self.places) + 1)
        return np.cumsum(counts)[self.places]

    def _from(self, strength: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        total = len(strength) if weights is None else weights.sum()
        return total - self._below(strength, weights)


def _return_limits(strength: np.ndarray, wanted: int) -> np.ndarray:
    """(min(wanted, n),) limit above which each of the best ``wanted`` masks of a cluster stays or comes back.

    The mask of place i comes back once fewer than wanted - i of those behind it stay: above the strength that is the
    (wanted - i)-th highest among them. From one place to the one before, one more mask counts and one more may stay.

    Args:
        strength: (n,) whole numbers, of the cluster's masks, from the best score down.
        wanted: At least 1.
    """
    if len(strength) <= wanted:
        return np.zeros(len(strength), strength.dtype)
    weaker = np.sort(-strength[wanted:].astype(np.int64)).tolist()  # ascending, so it is a heap
    limit = -heappop(weaker)
    limits = [limit]
    for before in strength[wanted - 1 : 0 : -1].tolist():
        if before < limit:
            limit = -heappushpop(weaker, -before)
        limits.append(limit)
    return np.array(limits[::-1], strength.dtype)
