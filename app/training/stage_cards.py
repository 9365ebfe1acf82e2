"""Component: the stages of a run as a strip of cards; a click or the arrow keys choose one."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

from app import session
from app.components._register import register
from app.training.stages import Card

_component = register(__file__, '<div class="strip" role="listbox" aria-label="Stages of the run"></div>')


def stage_cards(cards: Sequence[Card], selected: str, *, key: str, on_pick: Callable[[str], None]) -> None:
    """Draw the cards; ``on_pick`` gets the name of the stage that is chosen, before the next run."""

    def picked() -> None:
        chosen = session.component_value(key, "pick")
        if chosen is not None:
            on_pick(chosen)

    _component(data={"selected": selected, "items": [asdict(card) for card in cards]}, key=key, on_pick_change=picked)
