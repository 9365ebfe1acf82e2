"""Which parts of the page are drawn again after something was done in one of them."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import streamlit as st

from app import session, widgets
from app.clusters import mask_selection


class Part(StrEnum):
    """Fragments of the page."""

    MAP = "clusters:map"
    SELECTION = "clusters:selection"
    BELOW = "clusters:below"


def redraw(*parts: Part) -> None:
    """Last line of a callback: draw these parts alone, or the page if a sentence waits for its top."""
    if session.has_notices():
        st.rerun()
    st.rerun([str(part) for part in parts])


def change_selection(change: Callable[[], object]) -> None:
    """Callback: change what is selected; the table is drawn again only if other clusters are selected than before."""
    before = selected_clusters()
    widgets.attempt(change)
    redraw(Part.MAP, Part.SELECTION, *([] if selected_clusters() == before else [Part.BELOW]))


def change_run(change: Callable[..., object], *arguments: Any, **options: Any) -> None:
    """Callback: write something down in the run, and draw the whole page."""
    widgets.attempt(lambda: change(*arguments, **options))
    st.rerun()


def selected_clusters() -> set[int]:
    """The clusters that the selection consists of, if of nothing else."""
    kind, _, rest = mask_selection.link_text().partition(":")
    return (
        {int(part) for part in rest.split(",") if part.isdecimal()} if kind == "cluster" and "~" not in rest else set()
    )
