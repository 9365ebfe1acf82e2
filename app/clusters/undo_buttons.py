"""Undo and Redo of what a person decided about clusters, or mended: one history of what counts from here on."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from app import selection, widgets
from app.clusters.redraw import change_run
from maskdistill.review import decisions
from maskdistill.review.decisions import Scope, Step
from maskdistill.storage.run_folder import Run

_SCOPES = (Scope.CLUSTERS, Scope.MASKS)
_COVERS = "Your changes of clusters and mended masks, the latest first. What you decided in Audit is undone there."


def draw(run: Run, place: str) -> None:
    """The buttons, each with what it would do; nothing while there is neither.

    Args:
        run: The run.
        place: Where on the page, so that keys stay apart.

    Raises:
        RunError: If the run's database cannot be read.
    """
    reviewer = selection.reviewer()
    with st.container(horizontal=True, gap="small", width="content", horizontal_alignment="right"):
        last = decisions.next_undo(run, reviewer, scope=_SCOPES)
        if last is not None:
            undo = partial(decisions.undo, run, reviewer, scope=_SCOPES, expected=last.id)
            _button(place, "Undo", last, ":material/undo:", undo)
        undone = decisions.next_redo(run, reviewer, scope=_SCOPES)
        if undone is not None:
            redo = partial(decisions.redo, run, reviewer, scope=_SCOPES, expected=undone.id)
            _button(place, "Redo", undone, ":material/redo:", redo)


def _button(place: str, label: str, step: Step, icon: str, action: Callable[[], object]) -> None:
    what = f"{step.text[0].lower()}{step.text[1:].removesuffix('.')}"
    st.button(
        f"{label}: {widgets.escape(what)}",
        icon=icon,
        key=f"clusters:{label}:{place}",
        type="tertiary",
        help=_COVERS,
        on_click=change_run,
        args=(action,),
    )
