"""The stages as the cards of the page show them. No Streamlit in here."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal

from app.stage_names import LABELS, TRAINED
from maskdistill.stages.stage_list import BY_NAME
from maskdistill.stages.status import StageState

Mark = Literal["done", "stale", "running", "stopped", "failed", "next", "todo"]

WORDS: dict[Mark, str] = {"done": "done", "stale": "stale", "running": "running", "next": "next", "todo": "to do"}
_ENDINGS: dict[str, Mark] = {"failed": "failed", "lost": "failed", "stopped": "stopped"}  # of a last try


@dataclass(frozen=True)
class Card:
    """A stage in the strip."""

    name: str
    label: str
    mark: Mark  # decides icon and colour
    word: str  # the state, for those who do not see colours
    text: str  # a sentence, for the tooltip and below the strip


def sections_of(name: str) -> tuple[str, ...]:
    """The sections of the settings that a stage's form shows."""
    return ("proposals", "features", "crf") if name == "proposals" else BY_NAME[name].sections


def default_stage(states: Sequence[StageState]) -> str:
    """The stage that one most likely wants to see: the one at work, else the first model that is not up to date."""
    for item in states:
        if item.state == "running":
            return item.name
    return next((item.name for item in states if item.name in TRAINED and item.state != "done"), TRAINED[-1])


def cards(states: Sequence[StageState], at_work: str = "", off: Container[str] = ()) -> list[Card]:
    """The stages in the order of the method.

    Args:
        states: Of all stages.
        at_work: Stage that a job is at; empty if none is.
        off: Stages that nothing is asked of.
    """
    following = next((item.name for item in states if item.state == "missing" and item.name not in off), "")
    return [
        Card(item.name, LABELS[item.name], "todo", "off", "Off: nothing is asked of it.")
        if item.name in off
        else _card(item, item.name == at_work, item.name == following and not at_work)
        for item in states
    ]


def _card(item: StageState, at_work: bool, follows: bool) -> Card:
    label, (ending, _, said) = LABELS[item.name], item.why.partition(": ")
    summary = BY_NAME[item.name].summary
    if at_work or item.state == "running":
        return Card(item.name, label, "running", WORDS["running"], f"Makes now: {summary}.")
    if item.state == "done":
        return Card(
            item.name, label, "done", WORDS["done"], f"Up to date{f': {item.summary}' if item.summary else ''}."
        )
    if item.state == "stale":
        return Card(item.name, label, "stale", WORDS["stale"], f"Stale, because {_for_people(item.why)}.")
    if ending in _ENDINGS:
        text = said if said.lower().startswith(ending) else f"{ending.capitalize()}: {said}"
        return Card(item.name, label, _ENDINGS[ending], ending, text)
    mark: Mark = "next" if follows else "todo"
    return Card(item.name, label, mark, WORDS[mark], f"Not made yet: {summary}.")


def _for_people(why: str) -> str:
    """The reason with the label of the stage that it begins with, if it is one of those."""
    first, space, rest = why.partition(" ")
    return f"{LABELS.get(first, first)}{space}{rest}"
