"""Step 1's control: the photos to choose from, and one that is dropped in."""

from pathlib import Path

import streamlit as st

from app import photo_cache, selection, session, uploads
from app.components.image_grid import photo_grid, photo_tile
from app.guide.step_context import StepContext
from app.run_context import free_run_name
from app.selection import Option
from app.session import Key
from maskdistill.datasets.photo_table import number_of
from maskdistill.handouts.photo_on_run import is_trained
from maskdistill.storage.run_folder import runs_folder

STRIP = 24  # thumbnails around the photo on show
_LISTED = 5000  # photos up to which all their names are sent


def draw_strip(context: StepContext) -> None:
    """Photos around the one on show."""
    place = number_of(context.photos, context.photo.id) or 0
    first = min(max(0, place - STRIP // 2), max(0, len(context.photos) - STRIP))
    items = [photo_tile(photo) for photo in context.photos[first : first + STRIP]]
    photo_grid(
        items,
        key="guide:strip",
        layout="strip",
        selected=context.photo.id,
        on_open=lambda id: selection.select(photo=id),
    )


def draw_choice(context: StepContext) -> None:
    """A list if there are many photos, a box for one that is dropped, and the way back to the samples."""
    if STRIP < len(context.photos) <= _LISTED:
        key = session.sync_widget("guide:name", context.photo.id)
        names = [photo.id for photo in context.photos]
        st.selectbox("Photo", names, key=key, on_change=lambda: selection.select(photo=session.widget_value(key)))
    turn = session.recall(Key.DROP_TURN, 0)
    file = st.file_uploader("Drop a photo of your own", max_upload_size=uploads.MAX_FILE_MB, key=f"guide:drop:{turn}")
    if file is not None:
        session.remember(Key.DROP_TURN, turn + 1)  # empties the box: the file is on disk by then
        _take(context, file)
        st.rerun()
    if context.run_context.source.spec != "sample":
        st.button("Back to the sample photos", icon=":material/undo:", on_click=_show_samples, args=(context,))


def _take(context: StepContext, file: uploads.Upload) -> None:
    """Write the file beside those that were dropped before, and look at it; or say why not."""
    folder = Path(session.recall(Key.DROP_FOLDER) or runs_folder().absolute() / free_run_name("dropped") / "photos")
    before = set(folder.glob("*"))
    kept = uploads.keep_uploads([file], folder=folder)
    for name, reason in kept.refused:
        session.notify(f"{name} cannot be used. {reason}")
    if not kept.num_kept:
        return
    session.remember(Key.DROP_FOLDER, str(folder))
    session.remember(Key.DROP_COUNT, (session.recall(Key.DROP_COUNT) or 0) + kept.num_kept)
    photo_cache.rescan(str(folder))
    new = next(path for path in folder.glob("*") if path not in before)
    photos = photo_cache.source(str(folder)).photos
    _look_at(context, str(folder), next(photo.id for photo in photos if photo.path == new))


def _show_samples(context: StepContext) -> None:
    _look_at(context, "sample", "")


def _look_at(context: StepContext, data: str, photo: str) -> None:
    """Other photos; the models of the run that was looked at stay those of steps 5 to 8."""
    run = context.run_context.run
    if run is not None and is_trained(run):
        selection.set_option(Option.MODEL, run.name)
    selection.select(run="", data=data, photo=photo, mask=None, cluster=0, picked="", job=0)
