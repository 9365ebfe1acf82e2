"""The way to another page that the app itself takes, in two steps, so that no late message calls the old page back.

A live part asks for itself each second, and what it sent on the old page may arrive while the new one is being drawn:
Streamlit then goes back to the old page for that part alone and shows neither. So the old page first gives way to a
note with nothing live beside it, and only when the browser has said that it shows this note is the new page opened.
"""

from typing import NoReturn

import streamlit as st

from app import session
from app.components._register import register

_draw_signal = register(__file__, '<div class="page-switch"></div>')


def go(page: str) -> NoReturn:
    """Leave for the page of that file name in ``pages/``, without ``.py``."""
    session.remember(session.Key.PAGE_TO_OPEN, page)
    st.rerun()


def is_under_way() -> bool:
    """Whether a page is being left: nothing may refresh itself then."""
    return session.recall(session.Key.PAGE_TO_OPEN) is not None


def follow(here: str) -> None:
    """Open the page, once the browser has said that nothing of the old one is left. Before all else of a page run.

    Args:
        here: The page that is asked for. If it is another than before, the user went elsewhere by a link.
    """
    page = session.recall(session.Key.PAGE_TO_OPEN)
    elsewhere = here != session.recall(session.Key.PAGE_ON_SHOW, here)
    session.remember(session.Key.PAGE_ON_SHOW, here)
    arrived = session.component_value(session.Key.SWITCH_SIGNAL, "shown")
    if page is None or not (arrived or elsewhere):
        return
    session.remember(session.Key.PAGE_TO_OPEN, None)
    if arrived:
        st.switch_page(f"../pages/{page}.py")


def draw() -> None:
    """What stands in place of the page that is being left."""
    st.caption(f"Opening {session.recall(session.Key.PAGE_TO_OPEN).capitalize()} …")
    _draw_signal(key=session.Key.SWITCH_SIGNAL, on_shown_change=lambda: None)
