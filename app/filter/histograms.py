"""Component: a histogram a signal, with the thresholds on it as handles; what stays is counted as they move."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from app import cache, session
from app.components._register import register
from app.filter.data import Candidates
from app.mask_detail.facts import SIGNALS
from maskdistill.config import FilterConfig, describe_settings
from maskdistill.pseudo_labels.filter import THRESHOLDS, FilterResult, Threshold
from maskdistill.pseudo_labels.threshold_curves import Bins, bins_of, curve, histogram, levels_of

_NUM_BINS = 50
_MOST_DRAWN = 32  # thresholds whose histograms are kept, some 100 kB each
_HTML = """
<div class="board">
  <div class="head" aria-live="polite">
    <div class="count masks"><b></b> <span></span><div class="track"><i></i></div></div>
    <div class="count photos"><b></b> <span></span><div class="track"><i></i></div></div>
  </div>
  <div class="legend" aria-hidden="true">
    <span><i class="kept"></i>passes this rule</span><span><i class="dropped"></i>this rule drops it</span>
    <span><i class="elsewhere"></i>another rule drops it anyway</span>
  </div>
  <div class="cards"></div>
</div>
"""

_component = register(__file__, _HTML, shared=("filter/histogram_scale.js",))


@dataclass(frozen=True)
class _Axis:
    """How one signal, in [0, 1], is laid out."""

    power: int = 1  # of the place along the axis: 2 gives small values room
    percent: bool = False
    ticks: tuple[float, ...] = (0, 0.2, 0.4, 0.6, 0.8, 1)
    steps: tuple[tuple[float, float], ...] = ((1, 0.01),)  # a handle goes up to there by so much

    @cached_property
    def edges(self) -> np.ndarray:
        return np.linspace(0, 1, _NUM_BINS + 1) ** self.power

    @cached_property
    def stops(self) -> np.ndarray:
        """Every value that a handle stops at."""
        stops = [0.0]
        for end, step in self.steps:
            low = round(stops[-1] / step)
            stops += [place * step for place in range(low + 1, round(end / step) + 1)]
        return np.round(stops, 6)


_SMALL = _Axis(power=2, percent=True, ticks=(0, 0.01, 0.05, 0.2, 0.5, 1), steps=((0.1, 0.001), (1, 0.01)))
_AXES = {**dict.fromkeys(("score", "iou", "agreement", "distance_quantile"), _Axis()), "area": _SMALL, "border": _SMALL}


_HELP = {setting.name: f"{setting.help[0].upper()}{setting.help[1:]}." for setting in describe_settings("filter")}
_FIELDS = tuple(threshold.field for threshold in THRESHOLDS if threshold.signal in _AXES)


def histograms(
    candidates: Candidates,
    config: FilterConfig,
    result: FilterResult,
    *,
    active: str,
    key: str,
    on_move: Callable[[dict[str, float]], None],
    on_choose: Callable[[str], None],
) -> None:
    """Draw the component.

    Args:
        candidates: The masks.
        config: The thresholds on show.
        result: What they keep.
        active: Threshold that the page looks at.
        key: Widget key.
        on_move: Gets the new values of the thresholds that were moved, before the next run.
        on_choose: Gets the threshold that is looked at now, before the next run.
    """

    def moved() -> None:
        move = session.component_value(key, "moved")
        if move:
            on_move({name: float(value) for name, value in move["values"].items() if name in _FIELDS})

    def chosen() -> None:
        field = session.component_value(key, "choose")
        if field in _FIELDS:
            on_choose(field)

    photos = result.photos()
    data = {
        "masks": int(np.count_nonzero(result.kept)),
        "numMasks": len(result.kept),
        "photos": photos.kept,
        "numPhotos": photos.total,
        "active": active,
        "turn": (session.component_value(key, "moved") or {}).get("turn", 0),  # of the move that is answered
        "cards": _cards(candidates, config),
    }
    _component(data=data, key=key, on_moved_change=moved, on_choose_change=chosen)


def _cards(candidates: Candidates, config: FilterConfig) -> list[dict[str, Any]]:
    """Of every signal; not to be changed, for they are kept for who opens the page again or goes back."""
    shelf = _drawn(candidates.run_view.run.path, candidates.key)
    return shelf.get(config, lambda: [_card(candidates, config, signal) for signal in _AXES])


@cache.newest(4)
def _drawn(path: Path, key: Hashable) -> cache.Shelf:
    return cache.Shelf(_MOST_DRAWN)


def _card(candidates: Candidates, config: FilterConfig, signal: str) -> dict[str, Any]:
    axis, (title, help) = _AXES[signal], SIGNALS[signal]
    bins = histogram(
        candidates.signals,
        config,
        signal,
        axis.edges,
        _bins((candidates.run_view.run.path, signal), candidates.key, candidates),
    )
    return {
        "signal": signal,
        "title": title,
        "help": help,
        "power": axis.power,
        "percent": axis.percent,
        "ticks": axis.ticks,
        "free": bins.free.tolist(),
        "accepted": bins.accepted.tolist(),
        "elsewhere": bins.elsewhere.tolist(),
        "unmeasured": bins.unmeasured,
        "steps": axis.steps,
        "handles": [_handle(candidates, config, axis, item) for item in THRESHOLDS if item.signal == signal],
    }


@cache.newest(4 * len(_AXES))
def _bins(place: tuple[Path, str], key: Hashable, candidates: Candidates) -> Bins:
    signal = place[1]
    return bins_of(getattr(candidates.signals, signal), _AXES[signal].edges)


@cache.newest(4 * len(THRESHOLDS))
def _levels(place: tuple[Path, str], key: Hashable, candidates: Candidates, stops: np.ndarray) -> np.ndarray:
    return levels_of(candidates.signals, place[1], stops)


def _handle(candidates: Candidates, config: FilterConfig, axis: _Axis, threshold: Threshold) -> dict[str, Any]:
    stops, place = axis.stops, (candidates.run_view.run.path, threshold.field)
    levels = _levels(place, candidates.key, candidates, stops)
    counts = curve(candidates.signals, config, threshold.field, stops, levels)
    return {
        "field": threshold.field,
        "label": "least" if threshold.drops_below else "most",
        "help": _HELP[threshold.field],
        "value": getattr(config, threshold.field),
        "neutral": threshold.neutral,
        "dropsBelow": threshold.drops_below,
        "masks": _short(counts.masks),
        "photos": _short(counts.photos),
    }


def _short(counts: np.ndarray) -> list[int]:
    """One number if all are the same, as the photos are when each keeps its best mask."""
    return counts[:1].tolist() if (counts == counts[0]).all() else counts.tolist()
