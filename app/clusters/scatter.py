"""Component: all masks as points on a map. It sends what was drawn or clicked; the selection is the server's.

Hidden components stand beside it. ``scatter_part`` brings places, colors and selection one by one: with any change of a
component's data, Streamlit sends all of them again and the script too, for the map 35 kB of script and, at 50,000
points, 250 kB. ``scatter_hover`` asks about the point under the pointer in a fragment of its own: a question of the map
itself would draw the map again.
"""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app import session
from app.components._register import register
from maskdistill.review.point_map import PointMap

_STAMP = 24  # bytes before a part's own
_SELECTION = "=selection"  # in place of a stamp: what comes last replaces what was there
_HTML = """
<div class="map">
  <div class="stage">
    <canvas class="points" aria-hidden="true"></canvas>
    <canvas class="over" tabindex="0" role="application"></canvas>
    <div class="tools">
      <span class="group" role="group" aria-label="What dragging does">
        <button type="button" data-tool="lasso" aria-pressed="true" title="Draw around masks (L)">Lasso</button>
        <button type="button" data-tool="box" aria-pressed="false" title="Drag a box over masks (B)">Box</button>
        <button type="button" data-tool="pan" aria-pressed="false" title="Drag the map (V, or hold Space)">Pan</button>
      </span>
      <span class="group" role="group" aria-label="Zoom">
        <button type="button" class="out" aria-label="Zoom out" title="Zoom out (-)">−</button>
        <button type="button" class="in" aria-label="Zoom in" title="Zoom in (+)">+</button>
        <button type="button" class="fit" title="Show all masks (0)">Fit</button>
      </span>
    </div>
    <div class="hint">Click: one mask. Shift: add.
      <span class="more">Wheel: zoom. Space: pan. Esc: select nothing.</span></div>
    <div class="tip" hidden><img alt=""><div><div class="title"></div><div class="lines"></div></div></div>
  </div>
  <div class="below"><div class="legend" role="group" aria-label="Legend"></div><span class="note"></span></div>
</div>
"""

_STORE = "clusters/scatter_store.js"
_map = register(
    __file__,
    _HTML,
    shared=("components/_layers.js", _STORE, "clusters/scatter_geometry.js", "clusters/scatter_points.js"),
)
_part = register(Path(__file__).with_name("scatter_part.py"), "<span></span>", shared=(_STORE,))
_hover = register(Path(__file__).with_name("scatter_hover.py"), "<span></span>", shared=(_STORE,))


@dataclass(frozen=True)
class LegendEntry:
    """An entry of the legend; a click on it selects its masks."""

    code: int
    name: str
    color: str  # #RRGGBB
    count: int
    selection: str  # text of maskdistill.review.selections


@dataclass(frozen=True)
class ColorScale:
    """The scale of continuous values."""

    gradient: str  # CSS
    low: str
    high: str


@dataclass(frozen=True, eq=False)
class Coloring:
    """A color for each point."""

    codes: np.ndarray  # (M,) uint8, into palette
    palette: Sequence[str]  # at most 256 of #RRGGBB
    legend: Sequence[LegendEntry] = ()
    scale: ColorScale | None = None
    note: str = ""  # what else to know of these colors

    @property
    def stamp(self) -> str:
        """Names the codes."""
        return blake2b(self.codes.tobytes(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class PointNote:
    """What shows beside the pointer over a point."""

    point: int  # number on the map
    title: str
    lines: tuple[str, ...] = field(default=())
    src: str = ""  # data URL of the crop


def scatter(
    points: PointMap,
    coloring: Coloring,
    *,
    text: str,
    selected: np.ndarray,
    shapes: Sequence[np.ndarray],
    key: str,
    on_action: Callable[[dict[str, Any]], None],
) -> None:
    """Draw the map.

    Args:
        points: Where the points are.
        coloring: Their colors.
        text: The selection, as maskdistill.review.selections writes it.
        selected: (M,) bool; where none is, all show alike.
        shapes: (C, 2) corners of what was drawn to select them, on the map's grid.
        key: Widget key.
        on_action: Gets what was done, before the next run: ``kind`` "lasso" or "box" with ``corners`` on the grid,
            "click" with the number of a ``point``, "legend" with ``selection``, or "clear"; and ``add`` for Shift.
    """

    def acted() -> None:
        action = session.component_value(key, "action")
        if action is not None:
            on_action(action)

    data = {
        "points": points.stamp,
        "codes": coloring.stamp,
        "palette": list(coloring.palette),
        "legend": [asdict(entry) for entry in coloring.legend],
        "scale": coloring.scale and asdict(coloring.scale),
        "note": coloring.note,
        "label": f"Map of {len(points.rows):,} masks",
    }
    shown_selection = {
        "text": text,
        "bits": base64.b64encode(np.packbits(selected).tobytes()).decode("ascii") if selected.any() else "",
        "shapes": [shape.round().astype(int).tolist() for shape in shapes],
    }
    with st.container(gap=None):
        _part(data=_stamped(points.stamp, points.places.astype("<u2").tobytes()), key=f"{key}:points")
        _part(data=_stamped(coloring.stamp, coloring.codes.tobytes()), key=f"{key}:codes")
        _part(data=_stamped(_SELECTION, json.dumps(shown_selection).encode()), key=f"{key}:selection")
        _map(data=data, key=key, on_action_change=acted)


def hover_notes(
    points: PointMap, version: str, describe: Callable[[Sequence[int]], Sequence[PointNote]], *, key: str
) -> None:
    """Answer what the map asks about points under the pointer; draw it in a fragment of its own.

    Args:
        points: The map.
        version: Notes of an earlier one are forgotten.
        describe: Gives the notes of points by their numbers on the map.
        key: Widget key.
    """
    wanted = session.component_value(key, "wanted") or {}
    numbers = [int(number) for number in wanted.get("points", ()) if 0 <= int(number) < len(points.rows)]
    items = describe(numbers) if wanted.get("stamp") == points.stamp else ()
    data = {"version": version, "stamp": points.stamp, "items": [asdict(item) for item in items]}
    _hover(data=data, key=key, on_wanted_change=lambda: None)


def _stamped(stamp: str, payload: bytes) -> bytes:
    return stamp.encode("ascii").ljust(_STAMP) + payload
