"""Doing something that is written down as a decision, and undoing it; every way to do it redraws the page."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from app import selection, session, widgets
from maskdistill.errors import MaskDistillError
from maskdistill.review import decisions
from maskdistill.review.decisions import Scope, Step
from maskdistill.storage.run_folder import Run


def tell(act: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Callback: do it and draw the page anew; what goes wrong is told at its top.

    Returns:
        Nothing: the page is drawn.
    """
    try:
        act(*arguments, **options)
    except MaskDistillError as error:
        session.notify(str(error))
    st.rerun()


def draw(run: Run, place: str) -> None:
    """Undo and Redo; each says what it would do. Nothing while there is neither.

    Args:
        run: The run.
        place: Where on the page, so that keys stay apart.
    """
    reviewer, scope = selection.reviewer(), Scope.CLUSTERS
    with st.container(horizontal=True, gap="small", width="content", horizontal_alignment="right"):
        last = decisions.next_undo(run, reviewer, scope=scope)
        if last is not None:
            _button(place, "Undo", last, ":material/undo:", lambda: decisions.undo(run, reviewer, scope=scope))
        undone = decisions.next_redo(run, reviewer, scope=scope)
        if undone is not None:
            _button(place, "Redo", undone, ":material/redo:", lambda: decisions.redo(run, reviewer, scope=scope))


def _button(place: str, word: str, step: Step, icon: str, act: Callable[[], Any]) -> None:
    told = f"{step.text[0].lower()}{step.text[1:].removesuffix('.')}"
    st.button(
        f"{word}: {widgets.escape(told)}",
        icon=icon,
        key=f"clusters:{word}:{place}",
        type="tertiary",
        on_click=tell,
        args=(act,),
    )
