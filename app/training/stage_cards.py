"""Component: the stages of a run as a strip of cards; a click or the arrow keys choose one.

Streamlit's ``st.segmented_control`` and ``st.pills`` were tried: thirteen stages with their states take two rows there,
and a stage cannot say in a tooltip of its own why it is stale.
"""

from collections.abc import Callable, Container, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from app import session
from app.components._register import register
from app.stage_names import LABELS, TRAINED
from maskdistill.stages.stage_list import BY_NAME
from maskdistill.stages.status import StageState

Mark = Literal["done", "stale", "running", "stopped", "failed", "next", "todo"]
_ENDINGS: dict[str, Mark] = {"failed": "failed", "lost": "failed", "stopped": "stopped"}  # of the last attempt

_component = register(__file__, '<div class="strip" role="listbox" aria-label="Stages of the run"></div>')


@dataclass(frozen=True)
class Card:
    """A stage in the strip."""

    name: str
    label: str
    mark: Mark  # decides icon and color
    state: str  # in a word, for those who do not see colors
    text: str  # a sentence, for the tooltip and below the strip


def stage_cards(cards: Sequence[Card], selected: str, *, key: str, on_pick: Callable[[str], None]) -> None:
    """Draw the cards; ``on_pick`` gets the name of the stage that is chosen, before the next run."""

    def picked() -> None:
        chosen = session.component_value(key, "pick")
        if chosen is not None:
            on_pick(chosen)

    _component(data={"selected": selected, "items": [asdict(card) for card in cards]}, key=key, on_pick_change=picked)


def default_stage(states: Sequence[StageState]) -> str:
    """The stage to show first: the one at work, else the first model that is not up to date."""
    for item in states:
        if item.state == "running":
            return item.name
    return next((item.name for item in states if item.name in TRAINED and item.state != "done"), TRAINED[-1])


def cards_of(states: Sequence[StageState], at_work: str = "", off: Container[str] = ()) -> list[Card]:
    """The stages in the order of the method.

    Args:
        states: Of all stages.
        at_work: Stage that a job makes now; empty if none does.
        off: Optional stages that make nothing with these settings.
    """
    following = next((item.name for item in states if item.state == "missing" and item.name not in off), "")
    return [
        Card(item.name, LABELS[item.name], "todo", "off", "Off: with these settings it makes nothing.")
        if item.name in off
        else _card(item, item.name == at_work, item.name == following and not at_work)
        for item in states
    ]


def _card(item: StageState, at_work: bool, is_next: bool) -> Card:
    label, summary = LABELS[item.name], BY_NAME[item.name].summary
    ending, _, message = item.why.partition(": ")
    if at_work or item.state == "running":
        return Card(item.name, label, "running", "running", f"Makes now: {summary}.")
    if item.state == "done":
        details = f": {item.summary}" if item.summary else ""
        return Card(item.name, label, "done", "done", f"Up to date{details}.")
    if item.state == "stale":
        return Card(item.name, label, "stale", "stale", f"Stale, because {_with_label(item.why)}.")
    if ending in _ENDINGS:
        text = message if message.lower().startswith(ending) else f"{ending.capitalize()}: {message}"
        return Card(item.name, label, _ENDINGS[ending], ending, text)
    text = f"Not made yet: {summary}."
    return Card(item.name, label, "next", "next", text) if is_next else Card(item.name, label, "todo", "to do", text)


def _with_label(why: str) -> str:
    """The reason with the label of the stage that it begins with, if it is one of those."""
    first, space, rest = why.partition(" ")
    return f"{LABELS.get(first, first)}{space}{rest}"
