"""Component: pictures to choose from, as a grid, as a strip or in groups; arrow keys, Enter and a click open one."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import streamlit as st

from app import photo_cache, session
from app.components._register import register
from app.images import sent_images
from maskdistill.datasets import Photo
from maskdistill.errors import DatasetError

_component = register(__file__, '<div class="images"></div>', shared=("images/sent_images.js",))


@dataclass(frozen=True)
class Tile:
    """One picture and what is written on it."""

    id: int | str | None  # of a mask or a photo; None cannot be opened
    src: str  # data URL; empty if there is no picture
    caption: str = ""  # below the picture, one line
    badge: str = ""  # in its corner: a number or a sign
    color: str = ""  # #RRGGBB of its bar
    title: str = ""  # on hover, and for screen readers
    warn: bool = False  # the badge in a warning color
    muted: bool = False  # grey, the caption struck through


@dataclass(frozen=True)
class TileGroup:
    """Pictures with a heading."""

    tiles: Sequence[Tile]
    title: str = ""
    color: str = ""  # #RRGGBB
    detail: str = ""  # after the title
    share: tuple[float, str] | None = None  # length of a bar, [0, 1], and the text beside it
    note: str = ""  # smaller, below or after the rest
    id: int = 0  # what its button sends
    column: int = 0  # of a table; the first column begins a row
    pale: bool = False  # heading and pictures half transparent


def image_grid(
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
    """Draw crops of masks, some 24 to 96 of them.

    Args:
        tiles: What to show, in order.
        key: Widget key.
        marked: Ids that are marked; those of other pages may be among them, and stay.
        on_open: Gets the id of the mask that was clicked, before the next run.
        on_mark: Gets all ids that are marked now, before the next run; without it nothing can be marked.
        size: Least side of a crop, CSS pixels.
        empty: What is written where there are no tiles.
        label: What the grid holds, for screen readers.
    """

    def remarked() -> None:
        marks = session.component_value(key, "marks")
        if marks is not None and on_mark is not None:
            shown = {tile.id for tile in tiles}
            on_mark([*(id for id in marked if id not in shown), *map(int, marks["ids"])])

    data = {
        "layout": "grid",
        "label": label,
        "size": size,
        "empty": empty,
        "canMark": on_mark is not None,
        "turn": (session.component_value(key, "marks") or {}).get("turn", 0),  # of the marks that are known here
    }
    _draw([TileGroup(tiles)], data, key=key, selected=marked, on_open=on_open, on_marks_change=remarked)


def photo_grid(
    tiles: Sequence[Tile],
    *,
    key: str,
    layout: Literal["strip", "photos"],
    selected: str = "",
    on_open: Callable[[str], None] | None = None,
) -> None:
    """Draw thumbnails of photos, as a strip whose arrow keys open the next photo, or as a grid.

    Args:
        tiles: Made by ``photo_tile``.
        key: Widget key.
        layout: ``photos`` is a grid.
        selected: Id of the photo on show.
        on_open: Gets the id of the photo that is chosen, before the next run.
    """
    data = {"layout": layout, "label": "Photos", "empty": "No photos here.", "arrowsOpen": layout == "strip"}
    _draw([TileGroup(tiles)], data, key=key, selected=[selected], on_open=on_open)


def photo_tile(photo: Photo, badge: str = "", *, warn: bool = False) -> Tile:
    """The thumbnail of a photo, or what is wrong with its file."""
    title = f"{photo.id}, {photo.width} × {photo.height}"
    try:
        src = photo_cache.thumb_url(photo)
    except DatasetError as error:
        src, title = "", str(error)
    return Tile(photo.id, src, photo.id.rpartition("/")[2], badge, title=title, warn=warn)


def grouped_images(
    groups: Sequence[TileGroup],
    *,
    key: str,
    layout: Literal["rows", "table", "board", "line"],
    on_open: Callable[[int], None],
    columns: Sequence[str] = (),
    button: str = "",
    on_button: Callable[[int], None] | None = None,
) -> None:
    """Draw crops of masks in groups.

    Args:
        groups: In order.
        key: Widget key.
        layout: ``rows`` has a row of every group beside its heading, ``table`` has columns, ``board`` is one large
            picture beside the others, ``line`` one row with the headings between the groups.
        on_open: Gets the id of the mask that was clicked, before the next run.
        columns: Headings of a table.
        button: Label of the button in the headings; empty for none.
        on_button: Gets the id of the group whose button was clicked.
    """

    def pressed() -> None:
        chosen = session.component_value(key, "group")
        if chosen is not None and on_button is not None:
            on_button(chosen)

    data = {"layout": layout, "label": "Masks", "columns": list(columns), "button": button}
    _draw(groups, data, key=key, on_open=on_open, on_group_change=pressed)


def _draw(
    groups: Sequence[TileGroup],
    data: dict[str, Any],
    *,
    key: str,
    on_open: Callable[[Any], None] | None,
    selected: Collection[int | str] = (),
    **callbacks: Callable[[], None],
) -> None:
    def opened() -> None:
        chosen = session.component_value(key, "open")
        if chosen is not None and on_open is not None:
            on_open(chosen)

    tiles = [tile for group in groups for tile in group.tiles]
    names, new = sent_images.sent().pack(tile.src for tile in tiles)
    items = iter([_given(vars(tile) | {"src": name}) for tile, name in zip(tiles, names, strict=True)])
    chosen = set(selected)
    data |= {
        "groups": [_given(vars(group) | {"tiles": [next(items) for _ in group.tiles]}) for group in groups],
        "pictures": new,
        "selected": [tile.id for tile in tiles if tile.id in chosen],
        "canOpen": on_open is not None,
    }
    _component(
        data=data,
        key=key,
        on_open_change=opened,
        on_missing_change=lambda: sent_images.send_again(key),
        **callbacks,
    )


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty, which need not be sent."""
    return {name: value for name, value in fields.items() if value is not None and value is not False and value != ""}


def paged(ids: Sequence[int] | np.ndarray, *, key: str, per_page: int = 48) -> list[int]:
    """The ids of the page on show; the pages are offered if there is more than one."""
    num_pages = max(1, -(-len(ids) // per_page))
    page = 1
    if num_pages > 1:
        page = st.pagination(num_pages, key=key, max_visible_pages=5)
    return [int(id) for id in ids[(page - 1) * per_page : page * per_page]]
