"""Component: counts as bars in a list, one of which may be chosen; a second click on it chooses none.

``st.dataframe`` with a progress column says less in the same room: one color for kept, dropped and every cluster, a
row's explanation cut off at the column's end, no second column of rows, and it scrolls from eleven clusters on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from app import session
from app.components._register import register

_component = register(__file__, '<div class="bars" role="listbox"></div>')
Fill = Literal["kept", "dropped", "color"]


@dataclass(frozen=True)
class Bar:
    """One bar of the list."""

    id: str
    label: str
    count: int
    total: int  # length of the whole bar
    count_text: str  # the count, for people
    help: str = ""  # a sentence below the bar
    fill: Fill = "kept"
    color: str = ""  # #RRGGBB of the fill "color"
    warning: str = ""  # shown as a sign beside the count, and when the pointer rests on the bar


def bars(
    items: Sequence[Bar],
    chosen: str,
    *,
    key: str,
    label: str,
    on_choose: Callable[[str], None],
    narrow: bool = False,
) -> None:
    """Draw the component.

    Args:
        items: The bars, in order.
        chosen: Id of the chosen one, "" for none.
        key: Widget key.
        label: What the list holds, for screen readers.
        on_choose: Gets the id that is chosen now, "" for none, before the next run.
        narrow: Bars side by side as far as there is room.
    """

    def clicked() -> None:
        bar = session.component_value(key, "clicked")
        if bar is not None:
            on_choose("" if bar == chosen else bar)

    lines = [{name: value for name, value in vars(item).items() if value != ""} for item in items]
    data = {"items": lines, "chosen": chosen, "label": label, "narrow": narrow}
    _component(data=data, key=key, on_clicked_change=clicked)
