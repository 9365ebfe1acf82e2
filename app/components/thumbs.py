"""Component: thumbnails of photos to choose from, as a strip or a grid."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from app import photo_cache, session
from app.components._register import register
from maskdistill.datasets import Photo
from maskdistill.errors import DatasetError

_component = register(__file__, '<div class="thumbs" role="listbox" aria-label="Photos"></div>')


@dataclass(frozen=True)
class Thumb:
    """A photo and what is written on its thumbnail."""

    photo: Photo
    badge: str = ""
    warn: bool = False  # the badge in a warning colour


def thumbs(
    items: list[Thumb],
    *,
    key: str,
    layout: Literal["strip", "grid"],
    selected: str = "",
    on_pick: Callable[[str], None] | None = None,
) -> None:
    """Draw thumbnails; ``on_pick`` gets the id of the photo that is chosen, before the next run."""

    def picked() -> None:
        chosen = session.component_value(key, "pick")
        if chosen is not None and on_pick is not None:
            on_pick(chosen)

    data = {"layout": layout, "selected": selected, "items": [_item(item) for item in items]}
    _component(data=data, key=key, on_pick_change=picked)


def _item(item: Thumb) -> dict[str, object]:
    photo = item.photo
    title = f"{photo.id}, {photo.width} × {photo.height}"
    try:
        src = photo_cache.thumb_url(photo)
    except DatasetError as error:
        src, title = "", str(error)
    name = photo.id.rpartition("/")[2]
    return {"id": photo.id, "src": src, "name": name, "title": title, "badge": item.badge, "warn": item.warn}
