"""Component: the stages of a run as a strip of cards; a click or the arrow keys choose one."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import streamlit as st

from app import state
from app.training.stages import Card

_FOLDER = Path(__file__).parent

_component = st.components.v2.component(
    "stage_strip",
    html='<div class="strip" role="listbox" aria-label="Stages of the run"></div>',
    css=(_FOLDER / "strip.css").read_text(encoding="utf-8"),
    js=(_FOLDER / "strip.js").read_text(encoding="utf-8"),
)


def strip(cards: Sequence[Card], selected: str, *, key: str, on_pick: Callable[[str], None]) -> None:
    """Draw the cards; ``on_pick`` gets the name of the stage that is chosen, before the next run."""

    def picked() -> None:
        chosen = state.component_value(key, "pick")
        if chosen is not None:
            on_pick(chosen)

    _component(data={"selected": selected, "items": [asdict(card) for card in cards]}, key=key, on_pick_change=picked)
