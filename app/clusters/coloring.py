"""What the points of the map can be colored by. The colors of a mode stay the same whatever is selected."""

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import numpy as np

from app import cache
from app.clusters import mask_selection
from app.clusters.alternatives import alternative_title, alternatives_of, alternatives_stamp
from app.clusters.alternatives_stats import alternative_stats, colors_of
from app.clusters.scatter import Coloring, ColorScale, LegendEntry
from app.run_view import DecisionView, RunView
from maskdistill.pictures import colors
from maskdistill.review.point_map import PointMap
from maskdistill.review.selections import field_text

_STEPS = 255  # of the scale of scores; the last code says that there is none
_ENDS = (2, 98)  # percentiles of the scores at the ends of the scale, so that a few odd ones do not flatten it
_FIELDS = ("cluster", "kept", "decision", "truth")  # of every run
_KEPT = (colors.NOT_JUDGED, colors.KEPT, colors.DROPPED)
_DECISIONS = (colors.UNDECIDED, colors.ACCEPTED, colors.REJECTED, colors.RELABELLED)


def modes(run_view: RunView) -> dict[str, str]:
    """What there is to color by, with its name for people."""
    frame = run_view.frame
    names = {"cluster": "Cluster", "score": "Score by stage 1" if frame["candidate"].any() else "Proposal score"}
    if run_view.run.kept_path.is_file():
        names["kept"] = "Kept or dropped"
    names["decision"] = "Decision"
    if (frame["truth"] >= 0).any():
        names["truth"] = "Ground truth"
    return names | {name: f"Alternative: {alternative_title(item)}" for name, item in alternatives_of(run_view).items()}


def coloring(mode: str, run_view: RunView, decisions_now: DecisionView, points: PointMap) -> Coloring:
    """A color for each point of a map.

    Args:
        mode: One of ``modes``; an alternative that another session has deleted since gives the clusters.
        run_view: The run.
        decisions_now: What people decided.
        points: The map.
    """
    state = (run_view.stamp, decisions_now.version, alternatives_stamp(run_view))
    return _coloring((run_view.run.path, mode, points.title), state, run_view, decisions_now, points)


@cache.newest(12)
def _coloring(
    place: tuple[Path, str, str], state: Hashable, run_view: RunView, decisions_now: DecisionView, points: PointMap
) -> Coloring:
    mode = place[1]
    if mode == "score":
        return _by_score(run_view, points)
    alternative = alternatives_of(run_view).get(mode)
    fields = mask_selection.selection_data(run_view, decisions_now).fields
    if alternative is not None and mode in fields:
        own_colors = colors_of(alternative_stats(run_view, decisions_now, alternative))
        note = "A cluster with nearly the same masks as a present one has its colour."
        return _by_class(mode, fields[mode][points.rows], "cluster {}".format, own_colors.__getitem__, note=note)
    mode = mode if mode in _FIELDS else "cluster"
    values = fields[mode][points.rows]
    if mode == "cluster":
        return _by_class(
            mode, values, lambda number: _cluster_name(decisions_now, number), _cluster_color(decisions_now)
        )
    if mode == "kept":
        return _by_class(mode, values, mask_selection.KEPT_LABELS.__getitem__, _KEPT.__getitem__, first=(1, 2, 0))
    if mode == "decision":
        return _by_class(mode, values, mask_selection.DECISION_LABELS.__getitem__, _DECISIONS.__getitem__)
    names = run_view.table.truth_names
    return _by_class(
        mode,
        values,
        lambda number: names[number] if number >= 0 else "unknown",
        colors.cluster_color,
        note="Ground truth is for reporting only: no stage sees it.",
    )


def _cluster_name(decisions_now: DecisionView, number: int) -> str:
    if number == 0:
        return "left out"
    excluded = decisions_now.classes is not None and number in decisions_now.classes.excluded
    return f"{decisions_now.name_of(number)} (excluded)" if excluded else decisions_now.name_of(number)


def _cluster_color(decisions_now: DecisionView) -> Callable[[int], str]:
    excluded = decisions_now.classes.excluded if decisions_now.classes is not None else frozenset()
    return lambda number: colors.NONE if number in excluded else colors.cluster_color(number)


def _by_class(
    field: str,
    values: np.ndarray,
    name: Callable[[int], str],
    color: Callable[[int], str],
    first: Sequence[int] = (),
    note: str = "",
) -> Coloring:
    numbers, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    entries = [
        LegendEntry(code, name(number), color(number), count, field_text(field, [number]))
        for code, (number, count) in enumerate(zip(numbers.tolist(), counts.tolist(), strict=True))
        if number >= 0
    ]
    last = len(numbers)  # what has no cluster, class or decision stands at the end of the legend
    order = {number: place for place, number in enumerate(first)}
    places = {code: order.get(number, number or last) for code, number in enumerate(numbers.tolist())}
    legend = tuple(sorted(entries, key=lambda entry: places[entry.code]))
    return Coloring(codes.astype(np.uint8), [color(number) for number in numbers.tolist()], legend, note=note)


def _by_score(run_view: RunView, points: PointMap) -> Coloring:
    frame = run_view.frame
    name = "score" if frame["candidate"].any() else "quality"
    values = frame[name].to_numpy()[points.rows]
    known = np.isfinite(values)
    low, high = np.percentile(values[known], _ENDS) if known.any() else (0.0, 1.0)
    steps = np.clip((values - low) / max(high - low, 1e-9), 0, 1) * (_STEPS - 1)
    codes = np.where(known, np.nan_to_num(steps).round(), _STEPS).astype(np.uint8)
    palette = [*colors.score_colors(np.linspace(0, 1, _STEPS)), colors.NONE]
    scale = ColorScale(colors.css_gradient("sequential"), f"{low:.2f}", f"{high:.2f}")
    note = "" if known.all() else f"Grey: {np.count_nonzero(~known):,} masks that the first model has not judged."
    return Coloring(codes, palette, scale=scale, note=note)
