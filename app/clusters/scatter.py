"""Component: all masks as points on a map. It sends what was drawn or clicked; it never owns the selection."""

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
_LOOK = "=look"  # in place of a stamp: what is told last counts
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
_map = register(__file__, _HTML, shared=("components/_layers.js", _STORE, "clusters/scatter_points.js"))
_part = register(Path(__file__).with_name("scatter_part.py"), "<span></span>", shared=(_STORE,))
_hover = register(Path(__file__).with_name("scatter_hover.py"), "<span></span>", shared=(_STORE,))


@dataclass(frozen=True)
class Entry:
    """A line of the legend; a click on it selects its masks."""

    code: int
    name: str
    colour: str  # #RRGGBB
    count: int
    pick: str  # text of maskdistill.selecting


@dataclass(frozen=True)
class Ramp:
    """The scale of a continuous colouring."""

    gradient: str  # CSS
    low: str
    high: str


@dataclass(frozen=True, eq=False)
class Colouring:
    """A colour for each point."""

    codes: np.ndarray  # (M,) uint8, into palette
    palette: Sequence[str]  # at most 256 of #RRGGBB
    legend: Sequence[Entry] = ()
    ramp: Ramp | None = None
    note: str = ""  # what else to know of these colours

    @property
    def stamp(self) -> str:
        """Names the codes."""
        return blake2b(self.codes.tobytes(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Known:
    """What shows beside the pointer over a point."""

    point: int  # number on the map
    title: str
    lines: tuple[str, ...] = field(default=())
    src: str = ""  # data URL of the crop


def scatter(
    found: PointMap,
    colouring: Colouring,
    *,
    text: str,
    selected: np.ndarray,
    shapes: Sequence[np.ndarray],
    key: str,
    on_act: Callable[[dict[str, Any]], None],
) -> None:
    """Draw the map. Places, colours and selection travel apart, so that each is sent only when it changes.

    Args:
        found: Where the points are.
        colouring: Their colours.
        text: The selection, as maskdistill.review.selections writes it.
        selected: (M,) bool; where none is, all show alike.
        shapes: (C, 2) corners of what was drawn to select them, on the map's grid.
        key: Widget key.
        on_act: Gets what a hand did, before the next run: kind "lasso" or "box" with ``corners`` on the grid, "click"
            with the number of a ``point``, "legend" with ``pick``, or "clear"; and ``add`` if Shift was held.
    """

    def acted() -> None:
        act = session.component_value(key, "act")
        if act is not None:
            on_act(act)

    names = {entry.code: entry.name for entry in colouring.legend}
    data = {
        "points": found.stamp,
        "codes": colouring.stamp,
        "palette": list(colouring.palette),
        "names": [names.get(code, "") for code in range(len(colouring.palette))],
        "legend": [asdict(entry) for entry in colouring.legend],
        "ramp": colouring.ramp and asdict(colouring.ramp),
        "note": colouring.note,
        "label": f"Map of {len(found.rows):,} masks",
    }
    look = {
        "text": text,
        "bits": base64.b64encode(np.packbits(selected).tobytes()).decode("ascii") if selected.any() else "",
        "shapes": [shape.round().astype(int).tolist() for shape in shapes],
    }
    with st.container(gap=None):
        _part(data=_stamped(found.stamp, found.places.astype("<u2").tobytes()), key=f"{key}:points")
        _part(data=_stamped(colouring.stamp, colouring.codes.tobytes()), key=f"{key}:codes")
        _part(data=_stamped(_LOOK, json.dumps(look).encode()), key=f"{key}:look")
        _map(data=data, key=key, on_act_change=acted)


def hover_notes(
    found: PointMap, version: str, describe: Callable[[Sequence[int]], Sequence[Known]], *, key: str
) -> None:
    """Answer what the map asks about points under the pointer; draw it in a fragment of its own.

    Args:
        found: The map.
        version: What was told before under another one is forgotten.
        describe: Points, by their numbers on the map, in words.
        key: Widget key.
    """
    wish = session.component_value(key, "wish") or {}
    points = [int(point) for point in wish.get("points", ()) if 0 <= int(point) < len(found.rows)]
    items = describe(points) if wish.get("stamp") == found.stamp else ()
    data = {"version": version, "stamp": found.stamp, "items": [asdict(item) for item in items]}
    _hover(data=data, key=key, on_wish_change=lambda: None)


def _stamped(stamp: str, payload: bytes) -> bytes:
    return stamp.encode("ascii").ljust(_STAMP) + payload
