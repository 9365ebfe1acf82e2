"""First part of the Start page: where the photos come from."""

from pathlib import Path
from typing import Any

import streamlit as st

from app import photo_cache, session, uploads
from app.run_context import free_run_name
from app.start import search
from maskdistill.storage.run_folder import runs_folder

KINDS = {"sample": "Sample", "path": "Folder", "dropped": "Files"}


def draw() -> str:
    """Ask for the source of photos; returns its spec, empty while there is none."""
    kind = st.segmented_control(
        "Photos",
        list(KINDS),
        default="sample",
        required=True,
        format_func=lambda name: KINDS[name],
        key=session.Key.SOURCE_KIND,
        persist_state="session",
        width="stretch",
    )
    if kind == "path":
        return _ask_path()
    if kind == "dropped":
        return _ask_drop()
    return _ask_sample()


def refused() -> tuple[tuple[str, str], ...]:
    """Dropped files that cannot be used, and why, if pictures are dropped now."""
    return (
        (session.recall(session.Key.DROP_REFUSED) or ())
        if session.widget_value(session.Key.SOURCE_KIND) == "dropped"
        else ()
    )


def _ask_sample() -> str:
    views = st.toggle(
        "A dozen views of each",
        key=session.Key.SAMPLE_VIEWS,
        persist_state="session",
        help="Random crops of each sample photo, mirrored and of other brightness.",
    )
    return "sample-views" if views else "sample"


def _ask_path() -> str:
    path = st.text_input(
        "Path on this machine",
        key=session.Key.SOURCE_PATH,
        persist_state="session",
        placeholder="/data/photos, a VOC2012 folder, or a COCO folder",
        help="A folder is searched in depth for jpg, png, webp, bmp and tiff. VOC and COCO folders are recognised.",
    ).strip()
    if not path:
        st.caption(
            "A folder of pictures, a list (.txt, .csv, .parquet), a VOC folder (JPEGImages), a COCO folder or json."
        )
    elif st.button("Read again", icon=":material/refresh:", help="Read the folder again, after files have changed."):
        photo_cache.rescan(path)
        search.forget_stop()
    return path


def _ask_drop() -> str:
    """A new key empties the box: dropped files leave the server's memory once they are written."""
    turn = session.recall(session.Key.DROP_TURN, 0)
    files = st.file_uploader(
        "Pictures",
        accept_multiple_files=True,
        max_upload_size=uploads.MAX_FILE_MB,
        key=f"drop {turn}",
        label_visibility="collapsed",
    )
    st.caption(
        f"At most {uploads.MAX_FILES} pictures, {uploads.MAX_FILE_MB} MB and {uploads.MAX_PIXELS // 10**6} megapixels "
        f"each, {uploads.MAX_TOTAL_MB} MB in all."
    )
    if files:
        _keep(files, turn)
        st.rerun()
    folder = session.recall(session.Key.DROP_FOLDER, "")
    if folder and st.button("Start over with other pictures", icon=":material/delete:"):
        for name in (session.Key.DROP_FOLDER, session.Key.DROP_REFUSED, session.Key.DROP_COUNT):
            session.remember(name, None)
        st.rerun()
    return folder if folder and session.recall(session.Key.DROP_COUNT, 0) else ""


def _keep(files: list[Any], turn: int) -> None:
    folder = session.recall(session.Key.DROP_FOLDER) or str(
        (runs_folder() / free_run_name("dropped") / "photos").absolute()
    )
    kept = uploads.keep_uploads(files, folder=Path(folder))
    photo_cache.rescan(folder)
    session.remember(session.Key.DROP_FOLDER, folder)
    session.remember(session.Key.DROP_COUNT, kept.num_kept + (session.recall(session.Key.DROP_COUNT) or 0))
    session.remember(session.Key.DROP_REFUSED, (*(session.recall(session.Key.DROP_REFUSED) or ()), *kept.refused))
    session.remember(session.Key.DROP_TURN, turn + 1)
