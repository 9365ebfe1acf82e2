"""With ground truth: how well the kept masks fit it, as one threshold moves. For reporting only."""

from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st

from app.filter.border_gallery import NAMES
from app.filter.data import ALL, FIELDS, Candidates
from maskdistill.config import FilterConfig
from maskdistill.pictures import colors
from maskdistill.pseudo_labels.filter import THRESHOLDS, FilterResult
from maskdistill.pseudo_labels.threshold_curves import GOOD_FIT, quality_curve, threshold_of

_VALUES = np.arange(101) / 100
_MEASURES = {"mean": ("mean IoU", colors.NOTE), "fits": (f"share with IoU ≥ {GOOD_FIT:g}", colors.GOOD)}
_HEIGHT = 230  # CSS pixels


def draw(candidates: Candidates, config: FilterConfig, result: FilterResult, field: str) -> None:
    """The curve of the threshold on show, with its present place; nothing without ground truth.

    Args:
        candidates: The masks.
        config: The thresholds on show.
        result: What they keep.
        field: The threshold that moves, or ``ALL``, which takes the first in force.
    """
    if candidates.truth_iou is None:
        return
    if field == ALL:
        field = next((item.field for item in THRESHOLDS if getattr(config, item.field) != item.neutral), FIELDS[0])
    changed: dict[str, Any] = {field: threshold_of(field).neutral}
    points = _curve(candidates.key, replace(config, **changed), field, candidates)
    now = _now(candidates, result)
    st.markdown(f"**Quality against number of kept masks** :small[as {NAMES[field].lower()} moves]")
    chart, text = st.columns([3, 2], gap="medium", vertical_alignment="center")
    with chart:
        st.vega_lite_chart(
            _spec(points, now),
            height=_HEIGHT,
            key="filter:quality",
            alt="Mean IoU with ground truth of the kept masks, against their number",
        )
    with text:
        st.markdown(
            ":material/visibility: **For reporting only.**  \n"
            ":small[The filter never reads ground truth. Thresholds that are set by this curve train with labels. "
            f"Now: {_summary(now)}.]"
        )


@st.cache_data(max_entries=64, show_spinner=False)
def _curve(key: tuple[Any, ...], config: FilterConfig, field: str, _candidates: Candidates) -> list[dict[str, float]]:
    """A point for each number of masks, with the loosest threshold that keeps so many."""
    values = _VALUES[1:] if field == "keep_share" else _VALUES
    assert _candidates.truth_iou is not None  # else nothing is drawn
    curve = quality_curve(_candidates.signals, config, field, values, _candidates.truth_iou)
    known = np.flatnonzero(~np.isnan(curve.mean_iou))
    columns = (column[known].round(4).tolist() for column in curve)
    points = {
        masks: {"threshold": value, "masks": masks, "mean": mean, "fits": fits}
        for value, masks, mean, fits in zip(*columns, strict=True)
    }
    return list(points.values())


def _now(candidates: Candidates, result: FilterResult) -> list[dict[str, float]]:
    """The same of the thresholds on show; empty if no kept mask has ground truth."""
    assert candidates.truth_iou is not None  # else nothing is drawn
    iou = candidates.truth_iou[result.kept & ~np.isnan(candidates.truth_iou)]
    if not len(iou):
        return []
    fits = float(np.mean(iou >= GOOD_FIT))
    return [{"masks": int(result.kept.sum()), "mean": round(float(iou.mean()), 4), "fits": round(fits, 4)}]


def _summary(now: list[dict[str, float]]) -> str:
    parts = [f"{label} {now[0][name]:.3f}" for name, (label, _) in _MEASURES.items()] if now else []
    return ", ".join(parts) or "no kept mask has ground truth"


def _spec(points: list[dict[str, float]], now: list[dict[str, float]]) -> dict[str, Any]:
    labels = " : ".join(f"datum.label == '{name}' ? '{label}'" for name, (label, _) in _MEASURES.items())
    scale = {"domain": list(_MEASURES), "range": [color for _, color in _MEASURES.values()]}
    legend = {"title": None, "orient": "top", "labelLimit": 300, "labelExpr": f"{labels} : ''"}
    x = {"field": "masks", "type": "quantitative", "title": "masks kept", "axis": {"format": ",d", "tickCount": 6}}
    x |= {"scale": {"zero": False}}
    y = {"field": "share", "type": "quantitative", "title": None, "scale": {"zero": False, "nice": True}}
    color = {"field": "measure", "type": "nominal", "scale": scale, "legend": legend}
    fold = [{"fold": list(_MEASURES), "as": ["measure", "share"]}]
    tooltip = [
        {"field": "share", "title": "Value", "format": ".3f"},
        {"field": "masks", "title": "Masks kept", "format": ",d"},
        {"field": "threshold", "title": "Threshold", "format": ".3~g"},
    ]
    line = {
        "data": {"values": points},
        "transform": fold,
        "mark": {"type": "line", "strokeWidth": 2, "point": {"size": 14}},
        "encoding": {"x": x, "y": y, "color": color, "tooltip": tooltip},
    }
    here = {
        "data": {"values": now},
        "transform": fold,
        "mark": {"type": "point", "filled": True, "size": 150, "stroke": "white", "strokeWidth": 2, "opacity": 1},
        "encoding": {"x": x, "y": y, "color": color, "tooltip": tooltip[:2]},
    }
    rule = {
        "data": {"values": now},
        "mark": {"type": "rule", "strokeDash": [4, 3], "opacity": 0.6, "color": colors.NONE},
        "encoding": {"x": x},
    }
    return {"padding": {"left": 2, "top": 4, "right": 8, "bottom": 2}, "layer": [rule, line, here]}
