"""The photos of a list as a strip of thumbnails, a page at a time, and steps from one to the next."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import selection, session
from app.components.image_grid import photo_grid, photo_tile
from maskdistill.datasets import Photo
from maskdistill.datasets.photo_table import number_of

PAGE = 24  # thumbnails


def current(photos: Sequence[Photo], numbers: np.ndarray) -> int:
    """Number of the photo on show; the first one if it is not listed.

    Args:
        photos: Of the run, by number.
        numbers: Those that are listed, one at least, in their order.
    """
    wanted = selection.current().photo
    number = number_of(photos, wanted)
    if number is None and wanted:
        session.notify(f"There is no photo '{wanted}' in this run, so the first one is shown.")
    if number is None or number not in numbers:
        number = int(numbers[0])
        selection.select(photo=photos[number].id)
    return number


def draw_steps(photos: Sequence[Photo], numbers: np.ndarray, number: int) -> None:
    """Buttons to the photo before and after, and the place of this one."""
    place = _place(numbers, number)
    _step_button("Previous", "chevron_left", "p", photos, numbers, place - 1)
    _step_button("Next", "chevron_right", "n", photos, numbers, place + 1)
    st.markdown(f"{place + 1:,} of {len(numbers):,}", width="content")


def draw(
    photos: Sequence[Photo],
    numbers: np.ndarray,
    number: int,
    badge: Callable[[int], str],
    *,
    shown_for: str,
    pages_in: DeltaGenerator,
) -> None:
    """Draw the strip.

    Args:
        photos: Of the run, by number.
        numbers: Those that are listed, in their order.
        number: The one on show.
        badge: Text on the thumbnail of a photo.
        shown_for: Name of the list; with another list the strip turns to the page of the photo on show.
        pages_in: Where its page numbers are drawn.
    """
    pages = -(-len(numbers) // PAGE)
    page = 1
    if pages > 1:
        page = _place(numbers, number) // PAGE + 1
        key = f"results page:{shown_for}:{len(numbers)}:{number}"  # another photo turns to its own page
        with pages_in:
            page = st.pagination(pages, default=page, key=key, max_visible_pages=5)
    items = [photo_tile(photos[item], badge(item)) for item in numbers[(page - 1) * PAGE : page * PAGE].tolist()]
    chosen = photos[number].id
    photo_grid(
        items, key="results strip", layout="strip", selected=chosen, on_open=lambda id: selection.select(photo=id)
    )


def _place(numbers: np.ndarray, number: int) -> int:
    return int(np.flatnonzero(numbers == number)[0])


def _step_button(
    label: str, icon: str, shortcut: str, photos: Sequence[Photo], numbers: np.ndarray, place: int
) -> None:
    inside = 0 <= place < len(numbers)
    target = photos[int(numbers[place])].id if inside else ""
    st.button(
        label,
        icon=f":material/{icon}:",
        key=f"results:{label}",
        shortcut=shortcut,
        disabled=not inside,
        on_click=partial(selection.select, photo=target),
    )
