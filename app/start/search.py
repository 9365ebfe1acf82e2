"""Opening the photos: how far the search is, and a button that stops it, as for a whole disk given by mistake."""

import time

import streamlit as st

from app import photo_cache, session
from maskdistill.datasets import PhotoSource

PATIENCE = 0.7  # seconds before anything is shown
INTERVAL = 0.2  # seconds between two updates; at each of them a click on Stop is heard


def open_photos(spec: str) -> PhotoSource:
    """The photos of a source. Ends the page's script, with a way to go on, if their search was stopped.

    Raises:
        DatasetError: If there is nothing to use.
    """
    if session.recall(session.Key.SEARCH_STOPPED) == spec:
        st.info("The search for photos was stopped. Give a folder further down, or search on.")
        st.button("Search on", icon=":material/refresh:", on_click=forget_stop)
        st.stop()
    place = st.empty()
    try:
        return photo_cache.source(spec, _Progress(place, spec))
    finally:
        place.empty()


def forget_stop() -> None:
    """Search again where a search was stopped."""
    session.remember(session.Key.SEARCH_STOPPED, None)


class _Progress:
    """Draws once the search takes a while; whatever Streamlit raises at a click ends the search."""

    def __init__(self, place: st.delta_generator.DeltaGenerator, spec: str) -> None:
        self._place, self._spec = place, spec
        self._next = time.monotonic() + PATIENCE
        self._bar: st.delta_generator.DeltaGenerator | None = None

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + INTERVAL
        if self._bar is None:
            with self._place.container():
                self._bar = st.empty()
                st.button("Stop", key="stop search", icon=":material/stop:", on_click=self._stop)
        text = f"Reading the photos: {done:,} of {total:,}" if total else f"Looking for photos: {done:,} files seen"
        self._bar.progress(done / total if total else 0.0, text=text)

    def _stop(self) -> None:
        session.remember(session.Key.SEARCH_STOPPED, self._spec)
