"""Component: clusterings side by side, a row for each cluster of the first, with typical masks in every cell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app import session
from app.components._register import register
from app.images import sent_images

_component = register(__file__, '<div class="frame"><table></table></div>', shared=("images/sent_images.js",))


@dataclass(frozen=True)
class Cell:
    """A cluster of one of the clusterings."""

    title: str
    note: str  # how many masks, how many of them the same
    colour: str  # #RRGGBB; "" for none
    mask_ids: tuple[int, ...]
    strong: bool = True  # False where little of it is the row's


def side_by_side(
    heads: Sequence[str],
    rows: Sequence[Sequence[Sequence[Cell]]],
    *,
    crop: Callable[[int], str],
    key: str,
    on_open: Callable[[int], None],
) -> None:
    """Draw the clusterings.

    Args:
        heads: What each column is.
        rows: Of each row and column the clusters in it, the one with the most in common first.
        crop: Data URL of a mask's crop, by its id.
        key: Widget key.
        on_open: Gets the id of the mask that was clicked, before the next run.
    """

    def opened() -> None:
        chosen = session.component_value(key, "open")
        if chosen is not None:
            on_open(int(chosen))

    ids = [mask_id for row in rows for column in row for cell in column for mask_id in cell.mask_ids]
    names, new = sent_images.sent().pack(map(crop, ids))
    left = iter(zip(ids, names, strict=True))
    data = {
        "heads": list(heads),
        "rows": [
            [[_item(cell, [next(left) for _ in cell.mask_ids]) for cell in column] for column in row] for row in rows
        ],
        "pictures": new,
    }
    _component(data=data, key=key, on_open_change=opened, on_missing_change=lambda: sent_images.send_again(key))


def _item(cell: Cell, crops: list[tuple[int, str]]) -> dict[str, object]:
    return {"title": cell.title, "note": cell.note, "colour": cell.colour, "strong": cell.strong, "crops": crops}
