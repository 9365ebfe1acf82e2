"""Component: the strip of steps with its keys (arrows, Page Up and Down, F), and the way to the full screen."""

from collections.abc import Callable

from app import session
from app.components._register import register
from maskdistill.handouts.guide_texts import STEPS

_HTML = """
<nav aria-label="Steps of the method">
  <button class="turn back" type="button" aria-label="Step before" title="Step before (←)">‹</button>
  <ol></ol>
  <button class="turn next" type="button" aria-label="Next step" title="Next step (→)">›</button>
  <button class="screen" type="button"><span></span> <kbd>F</kbd></button>
</nav>
"""

_component = register(__file__, _HTML, shared=("components/_layers.js",))


def stepper(
    step: int, full: bool, *, key: str, on_go: Callable[[int], None], on_screen: Callable[[bool], None]
) -> None:
    """Draw the strip.

    Args:
        step: The one on show, from 1.
        full: Whether the page is laid out for a projector.
        key: Widget key.
        on_go: Gets the number of the step that is wanted, before the next run.
        on_screen: Gets whether the layout for a projector is wanted, likewise.
    """

    def went() -> None:
        wanted = session.component_value(key, "go")
        if wanted is not None:
            on_go(int(wanted))

    def switched() -> None:
        wanted = session.component_value(key, "screen")
        if wanted is not None:
            on_screen(bool(wanted))

    data = {"step": step, "full": full, "names": [words.name for words in STEPS]}
    _component(data=data, key=key, on_go_change=went, on_screen_change=switched)
