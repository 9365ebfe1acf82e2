"""How doubtful a mask is: a mix of five signals, each brought to [0, 1]. It uses no ground truth.

- ``threshold``: 1 minus the share of masks between this one and the threshold that decides on it. 1 right at a
  threshold, and for a mask that is kept against the thresholds, as best of its photo.
- ``label``: 1 if the first model gives it another class than its cluster, else 0.
- ``margin``: share of masks that are farther from the next cluster.
- ``quality``: share of masks with a better score as proposals.
- ``border``: share of masks that cover less of the photo's border.

What was not measured counts 0.5, neither sure nor doubtful. ``WEIGHTS`` mixes them: the filter's verdict and another
class from the first model are the strongest signs of an error that a person can correct.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from maskdistill.config import FilterConfig
from maskdistill.pseudo_labels.filter import CLUSTER_BEST, PHOTO_BEST, THRESHOLDS
from maskdistill.pseudo_labels.signals import MaskSignals

WEIGHTS = {"threshold": 0.35, "label": 0.25, "margin": 0.15, "quality": 0.15, "border": 0.10}
UNMEASURED = 0.5
_SIGNALS = ("image", "cluster", "score", "iou", "agreement", "distance", "area", "border")


@dataclass(frozen=True, eq=False)
class Doubts:
    """How doubtful N masks are, by the names of ``WEIGHTS``."""

    parts: Mapping[str, np.ndarray]  # (N,) in [0, 1]
    total: np.ndarray  # (N,) in [0, 1], their weighted mean
    threshold: np.ndarray  # (N,) int8 index into THRESHOLDS: the one of ``parts["threshold"]``, -1 none
    value: np.ndarray  # (N,) that threshold's signal, NaN without one
    settings: FilterConfig | None  # with which the filter judged


def measure_doubt(frame: pd.DataFrame, settings: FilterConfig | None) -> Doubts:
    """Measure how doubtful each mask is.

    Args:
        frame: N rows of a ``MaskTable``.
        settings: Thresholds of the filter that went over them; None if none did.

    Returns:
        One value a row.
    """
    column = {name: frame[name].to_numpy() for name in ("label", "cluster", "margin", "quality", "border", "rule")}
    near, threshold, value = _near_threshold(frame, settings)
    parts = {
        "threshold": near,
        "label": _other_label(column["label"], column["cluster"]),
        "margin": _share_above(column["margin"]),
        "quality": _share_above(column["quality"]),
        "border": _share_above(-column["border"]),
    }
    total = np.sum([weight * parts[name] for name, weight in WEIGHTS.items()], axis=0)
    return Doubts(parts, total, threshold, value, settings)


def _other_label(label: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    return np.where((label > 0) & (cluster > 0), (label != cluster).astype(float), UNMEASURED)


def _share_above(values: np.ndarray) -> np.ndarray:
    """(N,) share of the other measured values that are larger."""
    measured = np.isfinite(values)
    return np.where(measured, _num_below(-values) / max(np.count_nonzero(measured) - 1, 1), UNMEASURED)


def _num_below(values: np.ndarray) -> np.ndarray:
    """(N,) how many measured values are smaller than each. Three times as fast as ``np.searchsorted`` of all."""
    order = np.argsort(values)  # NaN last
    ranked = values[order]
    first = np.ones(len(values), bool)  # of equal ones
    first[1:] = ranked[1:] != ranked[:-1]
    below = np.empty(len(values), np.int64)
    below[order] = np.maximum.accumulate(np.where(first, np.arange(len(values)), 0))
    return below


def _near_threshold(frame: pd.DataFrame, settings: FilterConfig | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How near each mask is to changing sides, at which threshold, and the signal there."""
    near, which, value = (np.full(len(frame), fill) for fill in (UNMEASURED, -1, np.nan))
    active = [] if settings is None else [item for item in THRESHOLDS if getattr(settings, item.field) != item.neutral]
    if not active or not len(frame):
        return near, which.astype(np.int8), value
    signals = MaskSignals.from_columns({name: frame[name].to_numpy() for name in _SIGNALS})
    measured = np.stack([getattr(signals, item.signal) for item in active]).astype(float)  # (T, N)
    limits = np.array([getattr(settings, item.field) for item in active])
    dropped = np.stack([item.drops(signals, getattr(settings, item.field)) for item in active])
    gaps = np.stack([_share_between(row, limit) for row, limit in zip(measured, limits, strict=True)])
    drops = dropped.any(axis=0)
    # A kept mask falls as soon as its nearest threshold passes it, a dropped one is back with the last that drops it.
    place = np.where(
        drops, np.where(dropped, gaps, -1.0).argmax(axis=0), np.where(np.isnan(gaps), np.inf, gaps).argmin(axis=0)
    )
    columns = np.arange(len(frame))
    gap = gaps[place, columns]
    known = np.isfinite(gap)
    near[known] = 1 - gap[known]
    near[frame["rule"].isin((CLUSTER_BEST, PHOTO_BEST)).to_numpy() & drops] = 1.0
    numbers = np.array([THRESHOLDS.index(item) for item in active])
    which[known], value[known] = numbers[place][known], measured[place, columns][known]
    return near, which.astype(np.int8), value


def _share_between(values: np.ndarray, limit: float) -> np.ndarray:
    """(N,) share of the measured values between each and a limit, NaN where not measured."""
    measured = np.isfinite(values)
    below_limit = np.count_nonzero(values < limit)
    gaps = np.abs(_num_below(values) - below_limit) / max(np.count_nonzero(measured), 1)
    return np.where(measured, gaps, np.nan)
