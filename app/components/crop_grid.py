"""Component: crops of masks in a grid; a click opens one, the corner box, Ctrl, Shift or Space marks."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import streamlit as st

from app import session
from app.components._register import register
from app.images import colors, sent_images

_component = register(__file__, '<div class="grid"></div>', shared=("images/sent_images.js",))
Tone = Literal["plain", "good", "bad", "warn", "colour"]
_BARS: dict[str, str] = {"good": colors.GOOD, "bad": colors.BAD, "warn": colors.WARN}


@dataclass(frozen=True)
class Tile:
    """One crop and what is written on it."""

    mask_id: int
    src: str  # data URL; empty if there is no picture
    caption: str = ""  # below the crop, one line
    badge: str = ""  # in its corner: a number
    tone: Tone = "plain"  # a bar with a sign; "colour" is a bar of ``colour``
    colour: str = ""  # #RRGGBB
    title: str = ""  # on hover, and for screen readers


def crop_grid(
    tiles: Sequence[Tile],
    *,
    key: str,
    marked: Collection[int] = (),
    on_open: Callable[[int], None] | None = None,
    on_mark: Callable[[list[int]], None] | None = None,
    size: int = 96,
    empty: str = "No masks here.",
    label: str = "Masks",
) -> None:
    """Draw crops, some 24 to 96 of them.

    Args:
        tiles: What to show, in order.
        key: Widget key.
        marked: Ids that are marked; those of other pages may be among them, and stay.
        on_open: Gets the id of the mask that was clicked, before the next run.
        on_mark: Gets all ids that are marked now, before the next run; without it nothing can be marked.
        size: Least side of a crop, CSS pixels.
        empty: What is said where there are no tiles.
        label: What the grid holds, for screen readers.
    """

    def opened() -> None:
        chosen = session.component_value(key, "open")
        if chosen is not None and on_open is not None:
            on_open(int(chosen))

    def remarked() -> None:
        marks = session.component_value(key, "marks")
        if marks is not None and on_mark is not None:
            shown = {tile.mask_id for tile in tiles}
            on_mark([*(id for id in marked if id not in shown), *map(int, marks["ids"])])

    names, new = sent_images.sent().pack(tile.src for tile in tiles)
    chosen = set(marked)
    data = {
        "tiles": [_item(tile, name) for tile, name in zip(tiles, names, strict=True)],
        "pictures": new,
        "marked": [tile.mask_id for tile in tiles if tile.mask_id in chosen],
        "turn": (session.component_value(key, "marks") or {}).get("turn", 0),  # of the marks that are known here
        "canMark": on_mark is not None,
        "size": size,
        "empty": empty,
        "label": label,
    }
    _component(
        data=data,
        key=key,
        on_open_change=opened,
        on_marks_change=remarked,
        on_missing_change=lambda: sent_images.send_again(key),
    )


def _item(tile: Tile, picture: str) -> dict[str, Any]:
    bar = tile.colour if tile.tone == "colour" else _BARS.get(tile.tone, "")
    item = {
        "id": tile.mask_id,
        "picture": picture,
        "caption": tile.caption,
        "badge": tile.badge,
        "title": tile.title,
        "bar": bar,
        "sign": colors.SIGNS.get(tile.tone, ""),
        "ink": colors.text_on(bar) if bar else "",
    }
    return {name: value for name, value in item.items() if value != ""}


def paged(ids: Sequence[int], *, key: str, per_page: int = 48) -> list[int]:
    """The ids of the page on show; the pages are offered if there is more than one."""
    num_pages = max(1, -(-len(ids) // per_page))
    page = 1
    if num_pages > 1:
        page = st.pagination(num_pages, key=key, max_visible_pages=5)
    return [int(id) for id in ids[(page - 1) * per_page : page * per_page]]
