"""Component: clusters in rows, each with the class it stands for, how well, and crops of what is in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app import session
from app.components._register import register
from app.images import sent_images

_component = register(__file__, '<div class="rows" role="list"></div>', shared=("images/sent_images.js",))


@dataclass(frozen=True)
class Row:
    """One cluster."""

    cluster: int
    name: str
    colour: str  # #RRGGBB
    matched: str  # class that it stands for, or why none; empty without ground truth
    iou: float | None  # of that class, [0, 1]
    note: str  # size in words
    crops: tuple[tuple[int, str], ...]  # mask id and data URL


def matched(
    rows: Sequence[Row], *, key: str, on_open: Callable[[int], None], on_photos: Callable[[int], None] | None = None
) -> None:
    """Draw the component.

    Args:
        rows: Clusters.
        key: Widget key.
        on_open: Gets the id of the mask whose crop was clicked, before the next run.
        on_photos: Gets the cluster whose photos are asked for; None offers none.
    """

    def opened() -> None:
        if (chosen := session.component_value(key, "open")) is not None:
            on_open(int(chosen))

    def asked() -> None:
        if (chosen := session.component_value(key, "photos")) is not None and on_photos is not None:
            on_photos(int(chosen))

    names, new = sent_images.sent().pack(src for row in rows for _, src in row.crops)
    left = iter(names)
    data = {
        "pictures": new,
        "rows": [
            {
                "cluster": row.cluster,
                "name": row.name,
                "colour": row.colour,
                "matched": row.matched,
                "iou": row.iou,
                "note": row.note,
                "crops": [[mask_id, next(left)] for mask_id, _ in row.crops],
            }
            for row in rows
        ],
        "canAsk": on_photos is not None,
    }
    _component(
        data=data,
        key=key,
        on_open_change=opened,
        on_photos_change=asked,
        on_missing_change=lambda: sent_images.send_again(key),
    )
