"""What the filter would keep as one of its thresholds moves: the curve and the histogram beside a slider."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from maskdistill.config import FilterConfig
from maskdistill.errors import ConfigError
from maskdistill.filtering import THRESHOLDS, Threshold
from maskdistill.mask_signals import MaskSignals


class Curve(NamedTuple):
    """What is kept at each value of one setting."""

    values: np.ndarray  # (V,) float64
    masks: np.ndarray  # (V,) int64, kept masks
    photos: np.ndarray  # (V,) int64, photos with a kept mask


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
            back = signals.best_of_clusters(kept, config.min_per_cluster)
            masks[index] += len(back)
            present[photo_of[back]] = True
        photos[index] = np.count_nonzero(present)
        if config.empty_photos == "best":
            masks[index] += photos_at_most - photos[index]
            photos[index] = photos_at_most
    return Curve(values, masks, photos)


def rule_values(signals: MaskSignals, field: str) -> np.ndarray:
    """(N,) values that the setting ``field`` is compared with, NaN where not measured: for a histogram.

    Raises:
        ConfigError: If there is no threshold of that name.
    """
    return getattr(signals, _threshold(field).signal)


def _threshold(field: str) -> Threshold:
    for threshold in THRESHOLDS:
        if threshold.field == field:
            return threshold
    names = ", ".join(threshold.field for threshold in THRESHOLDS)
    raise ConfigError(f"The filter has no threshold '{field}'. There are: {names}.")


def _strengths(signals: MaskSignals, config: FilterConfig, moving: Threshold) -> tuple[np.ndarray, np.ndarray]:
    """(N,) the strictest limit under which each mask stays, by ``_limit``'s scale, and (G,) the same of each photo."""
    values = getattr(signals, moving.signal)
    strength = np.where(np.isnan(values), np.inf, values if moving.drops_below else -values)
    for threshold in THRESHOLDS:
        if threshold is not moving:
            strength[threshold.drops(signals, getattr(config, threshold.field))] = -np.inf
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
