"""The way from a photo to the editor of the run's masks on it."""

from functools import partial

import numpy as np
import streamlit as st

from app import session
from app.mask_editor import dialog
from app.run_context import RunContext
from app.run_view import RunView, read_run_view
from maskdistill.datasets import Photo
from maskdistill.datasets.photo_table import number_of
from maskdistill.errors import MaskDistillError


def draw_button(context: RunContext, photo: Photo) -> None:
    """A button that opens the editor on the photo's best mask, or on a new one where it has none."""
    run_view = _run_view(context)
    if run_view is None:
        return
    number = number_of(run_view.photos, photo.id)
    if number is None:
        return
    mine = run_view.frame.iloc[np.flatnonzero(run_view.frame["image"].to_numpy() == number)]
    mine = mine[mine["origin"] == "proposal"]
    best = None if mine.empty else int(mine["mask_id"].to_numpy()[mine["quality"].to_numpy().argmax()])
    st.button(
        "Mend the run's masks" if best is not None else "Draw a mask for the run",
        icon=":material/draw:",
        width="stretch",
        shortcut="e",
        help="By clicks: what is like the patch under the pointer follows. It counts in all that the run makes of it.",
        on_click=partial(dialog.open_editor, best, fragment=dialog.FRAGMENT),
    )


def show(context: RunContext) -> None:
    """The editor, where it is open."""
    if (run_view := _run_view(context)) is not None:
        dialog.show_editor(run_view)


def _run_view(context: RunContext) -> RunView | None:
    if context.run is None or not context.run.masks_path.is_file():
        return None
    try:
        return read_run_view(context.run)
    except MaskDistillError as error:
        session.notify(f"The run's masks cannot be mended. {error}")
        return None
