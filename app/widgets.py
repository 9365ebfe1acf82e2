"""Small things that pages share."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

from app import session
from maskdistill.datasets import ProgressCallback
from maskdistill.errors import MaskDistillError

_SHOW_EVERY = 25  # photos between two updates of a bar


@contextmanager
def scan_progress(doing: str = "Reading the photos") -> Iterator[ProgressCallback]:
    """A bar for going through photos; it shows only if there is something to wait for."""
    place = st.empty()

    def show(done: int, total: int) -> None:
        if total > _SHOW_EVERY and (done % _SHOW_EVERY == 0 or done == total):
            place.progress(done / total, text=f"{doing}: {done} of {total}")

    try:
        yield show
    finally:
        place.empty()


@contextmanager
def show_errors() -> Iterator[None]:
    """What goes wrong inside is shown in its place; also a decorator, below that of a fragment."""
    try:
        yield
    except MaskDistillError as error:
        st.error(escape(str(error)))


def attempt(action: Callable[[], object]) -> bool:
    """Do it and say whether it worked; what goes wrong becomes a notice. For callbacks: these can draw nothing."""
    try:
        action()
    except MaskDistillError as error:
        session.notify(str(error))
        return False
    return True


def escape(text: str) -> str:
    """Text of a file name or a link, so that Markdown shows it as it is."""
    return re.sub(r"([\\`*_{}\[\]()#+!$~:|<>&])", r"\\\1", text)


def notices() -> None:
    """Sentences kept for the top of the page."""
    texts = session.take_notices()
    if texts:
        st.warning("  \n".join(escape(text) for text in texts), icon=":material/info:")
