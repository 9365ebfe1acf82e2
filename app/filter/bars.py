"""Component: counts as bars in a list, one of which may be chosen; a second click lets it go."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from app import session
from app.components._register import register

_component = register(__file__, '<div class="bars" role="listbox"></div>')
Fill = Literal["kept", "dropped", "colour"]


@dataclass(frozen=True)
class ClusterBar:
    """One line of the list."""

    id: str
    label: str
    count: int
    total: int  # length of the whole bar
    words: str  # the count, for people
    help: str = ""  # a sentence below the label
    fill: Fill = "kept"
    colour: str = ""  # #RRGGBB of the fill "colour"
    warning: str = ""  # why it deserves a sign


def bars(
    items: Sequence[ClusterBar],
    chosen: str,
    *,
    key: str,
    label: str,
    on_pick: Callable[[str], None],
    narrow: bool = False,
) -> None:
    """Draw the component.

    Args:
        items: The lines, in order.
        chosen: Id of the chosen one, "" for none.
        key: Widget key.
        label: What the list holds, for screen readers.
        on_pick: Gets the id that is chosen now, "" for none, before the next run.
        narrow: Lines side by side as far as there is room.
    """

    def picked() -> None:
        pick = session.component_value(key, "pick")
        if pick is not None:
            on_pick("" if pick == chosen else pick)

    lines = [{name: value for name, value in vars(item).items() if value != ""} for item in items]
    data = {"items": lines, "chosen": chosen, "label": label, "narrow": narrow}
    _component(data=data, key=key, on_pick_change=picked)
