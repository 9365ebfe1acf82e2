"""Pictures of single masks: the thumbnail that the run keeps, and a larger crop made on demand."""

from functools import lru_cache
from pathlib import Path

import streamlit as st

from app.run_view import RunView
from maskdistill.datasets import read_photo
from maskdistill.errors import DatasetError
from maskdistill.pictures import drawing
from maskdistill.proposals.thumbnails import THUMB_SIDE, crop_around
from maskdistill.roots import open_inside
from maskdistill.storage.run_folder import thumbnail_in


def crop_url(run_view: RunView, mask_id: int) -> str:
    """The 96-pixel crop of a mask as a data URL of 2 or 3 kB; empty if its photo is gone.

    Raises:
        RunError: If there is no such mask.
    """
    try:
        return _thumb_url(run_view.thumbs, mask_id, run_view.stamp)
    except FileNotFoundError:  # of a run of an earlier version, or deleted
        return large_crop_url(run_view, mask_id, THUMB_SIDE)


@lru_cache(maxsize=1024)
def _thumb_url(folder: Path, mask_id: int, _stamp: str) -> str:
    """Of a run in this state: its first model may see another object under the same id when it is trained anew."""
    with open_inside(thumbnail_in(folder, mask_id)) as file:
        return drawing.jpeg_bytes_url(file.read())


def large_crop_url(run_view: RunView, mask_id: int, side: int = 384) -> str:
    """The crop of a mask from its photo, its longer side of ``side`` pixels; empty if the photo is gone.

    Raises:
        RunError: If there is no such mask.
    """
    return _large_crop_url(run_view.run.path, run_view.stamp, mask_id, side, run_view)


@st.cache_data(max_entries=128, show_spinner=False)
def _large_crop_url(path: Path, stamp: str, mask_id: int, side: int, _run_view: RunView) -> str:
    row = _run_view.table.rows_of([mask_id])[0]
    photo = _run_view.photos[_run_view.frame["image"].to_numpy()[row]]
    box = [int(_run_view.frame[name].to_numpy()[row]) for name in "xywh"]
    scale = min(1.0, side / max(box[2], box[3], 1))  # at which the crop has enough pixels
    try:
        image = read_photo(photo, min_short_side=max(1, round(scale * min(photo.height, photo.width))))
    except DatasetError:
        return ""
    return drawing.jpeg_url(crop_around(image, box, (photo.height, photo.width), side))
