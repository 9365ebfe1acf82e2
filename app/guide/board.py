"""Component: crops of masks side by side, large enough for the back row; a click opens one."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from app import session
from app.components._register import register
from app.images import sent_images

_HTML = '<div class="board"><figure class="mine"></figure><div class="tiles"></div></div>'
_component = register(__file__, _HTML, shared=("images/sent_images.js",))


@dataclass(frozen=True)
class Tile:
    """One crop."""

    src: str  # data URL; empty if there is no picture
    text: str  # below it, a word or a number
    colour: str  # #RRGGBB, of its bar
    title: str  # on hover, and for screen readers
    mask_id: int | None = None  # None for a mask that no run holds
    out: bool = False  # greyed and struck through


def board(
    tiles: Sequence[Tile],
    *,
    key: str,
    mine: Tile | None = None,
    split: str = "",
    split_at: int = 0,
    on_open: Callable[[int], None],
) -> None:
    """Draw the component.

    Args:
        tiles: Crops, in order.
        key: Widget key.
        mine: The crop that the others are compared with, drawn large.
        split: What is written on a line between two tiles, which are then one row; empty for no line and three rows.
        split_at: Number of tiles before the line.
        on_open: Gets the id of the mask that was clicked, before the next run.
    """

    def opened() -> None:
        chosen = session.component_value(key, "open")
        if chosen is not None:
            on_open(int(chosen))

    shown = [*([mine] if mine else []), *tiles]
    names, new = sent_images.sent().pack(tile.src for tile in shown)
    named = [asdict(tile) | {"src": name} for tile, name in zip(shown, names, strict=True)]
    data = {
        "pictures": new,
        "mine": named.pop(0) if mine else None,
        "tiles": named,
        "split": split,
        "splitAt": split_at,
    }
    _component(data=data, key=key, on_open_change=opened, on_missing_change=lambda: sent_images.send_again(key))
