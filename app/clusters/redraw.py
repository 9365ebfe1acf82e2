"""Which parts of the page are drawn again after something was done in one of them."""

from enum import StrEnum

import streamlit as st

from app import session
from app.clusters import mask_selection


class Part(StrEnum):
    """Fragments of the page."""

    MAP = "clusters:map"
    CHOSEN = "clusters:chosen"
    BELOW = "clusters:below"


def redraw(*parts: Part) -> None:
    """Last line of a callback: draw these parts alone, or the page if a sentence waits for its top."""
    if session.has_notices():
        st.rerun()
    st.rerun([str(part) for part in parts])


def redraw_selection(before: set[int]) -> None:
    """Last line of a callback that selected something: the table only if other clusters are selected than before."""
    redraw(Part.MAP, Part.CHOSEN, *([] if chosen_clusters() == before else [Part.BELOW]))


def chosen_clusters() -> set[int]:
    """The clusters that the selection consists of, if of nothing else."""
    kind, _, rest = mask_selection.text_of_link().partition(":")
    return (
        {int(part) for part in rest.split(",") if part.isdecimal()} if kind == "cluster" and "~" not in rest else set()
    )
