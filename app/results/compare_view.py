"""Component: label maps of one photo, any two of them on either side of a slider, all of them small beside it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app import session
from app.components._register import register
from app.images import sent_images

Table = Mapping[int, Mapping[str, str]]  # label -> name, colour, key, as ``LabelNames`` gives it

PHOTO = "photo"  # the side of the slider that shows the photo without a label map
_HTML = """
<div class="compare">
  <div class="bar">
    <label>Left <select class="first" aria-label="Label map on the left"></select></label>
    <button class="swap" title="Swap left and right">⇄</button>
    <label>Right <select class="second" aria-label="Label map on the right"></select></label>
    <label>Opacity <input class="opacity" type="range" min="0" max="100" aria-label="Opacity of the label maps"></label>
    <label title="Only pixels on which the two disagree"><input class="differing" type="checkbox"> Differences</label>
    <button class="hide" title="The bare photo, for as long as it is held">
      <span class="long">Hold to hide</span><span class="short">Hide</span> <kbd>H</kbd></button>
  </div>
  <div class="body">
    <div class="main">
      <div class="stage"><div class="frame">
        <img class="photo" alt=""><canvas class="left"></canvas><canvas class="right"></canvas>
        <span class="tag of-left"></span><span class="tag of-right"></span>
        <div class="divider" role="slider" tabindex="0" aria-label="Border between left and right" aria-valuemin="0"
          aria-valuemax="100"><i></i></div>
        <div class="tip" role="status"></div>
      </div></div>
      <div class="legend"></div>
    </div>
    <div class="tiles"></div>
  </div>
</div>
"""

_component = register(__file__, _HTML, shared=("styles/toolbar.css", "components/_layers.js", "images/sent_images.js"))


@dataclass(frozen=True)
class Side:
    """One label map that may stand on either side."""

    kind: str
    name: str
    src: str  # grey PNG of labels, as ``cached.label_url`` makes it; empty for the bare photo
    table: str = "clusters"  # which of the tables tells what its labels mean
    note: str = ""  # a figure beside the name


def compare_view(
    photo_url: str,
    aspect: float,
    title: str,
    sides: Sequence[Side],
    tables: Mapping[str, Table],
    pair: tuple[str, str],
    *,
    key: str,
    max_height: int,
    on_pair: Callable[[str, str], None] | None = None,
) -> None:
    """Draw the component. The slider, the choice of the two sides, opacity and hover ask nothing of the server.

    Args:
        photo_url: The photo as a data URL.
        aspect: Its width over its height.
        title: Its name, for screen readers.
        sides: What can be compared.
        tables: What labels are called, by the names that the sides give them.
        pair: Kinds on the left and on the right; one that this photo lacks falls back to the photo.
        key: Widget key.
        max_height: CSS pixels of the large picture.
        on_pair: Gets the kinds that were chosen, before the next run.
    """

    def chosen() -> None:
        value = session.component_value(key, "pair")
        if value is not None and on_pair is not None:
            on_pair(*value)

    names, new = sent_images.sent().pack([photo_url, *(side.src for side in sides)])
    data = {
        "pictures": new,
        "photo": names[0],
        "aspect": aspect,
        "title": title,
        "sides": [_item(side, name) for side, name in zip(sides, names[1:], strict=True)],
        "tables": {name: _plain(table) for name, table in tables.items()},
        "pair": list(pair),
        "maxHeight": max_height,
    }
    _component(data=data, key=key, on_pair_change=chosen, on_missing_change=lambda: sent_images.send_again(key))


def _item(side: Side, picture: str) -> dict[str, str]:
    return {"kind": side.kind, "name": side.name, "picture": picture, "table": side.table, "note": side.note}


def _plain(table: Table) -> dict[str, list[Any]]:
    return {str(label): [entry["name"], entry["colour"], entry["key"]] for label, entry in table.items()}
