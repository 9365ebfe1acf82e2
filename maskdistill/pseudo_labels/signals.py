"""What the filter knows of masks: their signals, the photos and clusters that they share, and who is best in these."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from maskdistill.errors import RunError, ShapeError

if TYPE_CHECKING:
    import pandas as pd

_MANY_GROUPS = 2**14  # twice as many fit into 16 bits
MARGIN = 1e-9  # so that 55 % of 20 masks are 11: 0.55 * 20 is 11.000000000000002


class Groups(NamedTuple):
    """Which masks belong together."""

    ids: np.ndarray  # (G,) ascending
    codes: np.ndarray  # (N,) int16 or int32 index into ids

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        """Masks that share a value of (N,)."""
        ids, codes = np.unique(values, return_inverse=True)
        return cls(ids, codes.astype(np.int16 if len(ids) < _MANY_GROUPS else np.int32))


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
    def from_columns(cls, columns: "Mapping[str, Sequence[Any] | np.ndarray] | pd.DataFrame") -> Self:
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
        return Groups.of(self.image)

    def greatest_of_photos(self, values: np.ndarray) -> np.ndarray:
        """(G,) greatest of the (N,) values of each photo's masks, in the order of ``photos``."""
        order, first = self._by_photo
        if not len(first):
            return values[:0]
        greatest = np.logical_or if values.dtype == bool else np.maximum
        return greatest.reduceat(values if order is None else values[order], first)

    @cached_property
    def _by_photo(self) -> tuple[np.ndarray | None, np.ndarray]:
        """(N,) indices of the masks photo by photo, None where they come so, and (G,) where each photo begins."""
        codes, order = self.photos.codes, None
        if (codes[1:] < codes[:-1]).any():
            order = np.argsort(codes, kind="stable")
            codes = codes[order]
        return order, np.searchsorted(codes, np.arange(len(self.photos.ids), dtype=codes.dtype))

    @cached_property
    def clusters(self) -> Groups:
        """Masks by cluster."""
        return Groups.of(self.cluster)

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

    def share_below(self, signal: str) -> np.ndarray:
        """(N,) share of the measured masks with a smaller value of a signal, in [0, 1), NaN for NaN."""
        return self._kept("below", signal, _share_below)

    def from_least(self, signal: str) -> np.ndarray:
        """(M,) int32 indices of the measured masks, from the least value of a signal up; equal ones as they come."""
        return self._kept("from least", signal, _ascending)

    def from_greatest(self, signal: str) -> np.ndarray:
        """(M,) int32 indices of the measured masks, from the greatest value down; equal ones as they come."""
        return self._kept("from greatest", signal, lambda values: _ascending(-values))

    def _kept(self, what: str, signal: str, make: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        if (what, signal) not in self._made:
            self._made[what, signal] = make(getattr(self, signal))
        return self._made[what, signal]

    @cached_property
    def last_drops(self) -> dict[str, tuple[float, np.ndarray]]:
        """By threshold: its last value, and (N,) what it drops; kept here by ``Threshold.drops``."""
        return {}

    @cached_property
    def _made(self) -> dict[tuple[str, str], np.ndarray]:
        """What was asked for of single signals."""
        return {}

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

    def best_of_clusters(self, kept: np.ndarray, wanted: int) -> np.ndarray:
        """What clusters that keep fewer than ``wanted`` masks get back, as places in ``best_first``.

        Args:
            kept: (M,) bool, in the order of ``best_first``.
            wanted: Masks of each cluster, as far as it has so many.
        """
        dropped = np.flatnonzero(~kept)
        bounds = np.searchsorted(dropped, self.cluster_bounds)  # (G + 1,) places in dropped
        num_dropped = np.diff(bounds)
        num_kept = np.diff(self.cluster_bounds) - num_dropped
        num_back = np.clip(wanted - num_kept, 0, num_dropped)
        # 0, 1, .. in each cluster
        nth = np.arange(num_back.sum()) - np.repeat(np.cumsum(num_back) - num_back, num_back)
        return dropped[np.repeat(bounds[:-1], num_back) + nth]


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


def _ascending(values: np.ndarray) -> np.ndarray:
    measured = len(values) - int(np.count_nonzero(np.isnan(values)))
    return np.argsort(values, kind="stable")[:measured].astype(np.int32)  # NaN last


def _share_below(values: np.ndarray) -> np.ndarray:
    order = np.argsort(values)  # NaN last
    new = np.diff(values[order], prepend=np.nan) != 0
    below = np.empty(len(values))
    below[order] = np.maximum.accumulate(np.where(new, np.arange(len(values)), 0))
    below[np.isnan(values)] = np.nan
    return below / max(1, int(np.count_nonzero(~np.isnan(values))))


def _floats(name: str, column: "Sequence[Any] | np.ndarray | pd.Series[Any]") -> np.ndarray:
    values = np.asarray(column)
    try:
        return values if values.dtype.kind == "f" else values.astype(np.float64)  # None becomes NaN
    except (TypeError, ValueError) as error:
        raise RunError(f"The masks' column '{name}' must hold numbers, got {values.dtype}. Make it again.") from error


def _whole(name: str, column: "Sequence[Any] | np.ndarray | pd.Series[Any]") -> np.ndarray:
    values = np.asarray(column)
    if values.dtype.kind in "iu":
        return values
    if values.dtype.kind != "f" or not np.array_equal(values, np.floor(values)):  # NaN equals nothing
        raise RunError(f"The masks' column '{name}' must hold whole numbers, got {values.dtype}. Cluster them again.")
    return values.astype(np.int64)
