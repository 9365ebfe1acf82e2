"""Which step is on show, and how the link tells it."""

from app import selection, session
from app.selection import Option
from maskdistill.handouts.guide_texts import STEPS

NUMBERS = tuple(str(number) for number in range(1, len(STEPS) + 1))
FULL = "full"


def current_step() -> int:
    """Number of the step, from 1; a link to one that is not there leads to the first, with a notice."""
    return int(selection.option(Option.STEP, "1", NUMBERS))


def go_to(step: int) -> None:
    """Show another step; beyond the ends there is none."""
    step = min(max(step, 1), len(STEPS))
    selection.set_option(Option.STEP, "" if step == 1 else str(step))


def is_full_screen() -> bool:
    """Whether the page is laid out for a projector."""
    return selection.option(Option.SCREEN, "", ("", FULL)) == FULL


def whole_number(option: Option, default: int, low: int, high: int) -> int:
    """A whole number of the link, taken to its range; anything else gives the default, with a notice."""
    text = selection.option(option, str(default))
    if not text.isdecimal():
        session.notify(f"The link's '{option}={text[:40]}' means nothing here and was left out.")
        selection.set_option(option, "")
        return min(max(default, low), high)
    return min(max(int(text), low), high)
