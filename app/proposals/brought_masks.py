"""The masks of a run that were made elsewhere, on the photo on show: the live cut beside them changes none."""

from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

from app import cache, widgets
from app.components.layered_image import Layer, View
from app.proposals.photo_view import mask_layer
from app.proposals.run_foreground import columns_shown
from app.run_context import RunContext
from maskdistill.datasets import Photo
from maskdistill.pictures import colors, drawing
from maskdistill.proposals.live import live_size
from maskdistill.review.mask_table import PART
from maskdistill.storage.imported_masks import FORMATS
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.run_folder import Run

TITLE = "Brought"
MOST_LISTED = 12  # masks that can be switched off one by one; the others are one layer
_STATE = ("stages/proposals.json", "masks.parquet", "proposals.json")


def brought_view(context: RunContext, photo: Photo) -> View | None:
    """The brought masks of a photo; None where the run makes its own.

    Raises:
        RunError: If a file is damaged.
    """
    run = context.run
    if run is None or not run.cut_masks_path.is_file() or run.imported is None:
        return None
    stamp = cache.stamp(run.path / name for name in _STATE)
    return View(_layers(run.path, stamp, photo.id, live_size(photo)), TITLE)


def describe(context: RunContext) -> str:
    """A sentence on where the masks are from; "" where the run makes its own."""
    imported = None if context.run is None else context.run.imported
    if imported is None:
        return ""
    name = FORMATS.get(imported["format"], imported["format"])
    return (
        f"The masks of this run were brought from {widgets.escape(imported['from'])} ({name}) and stay as they are: "
        f"*{TITLE}*, above the photo, shows them. *Masks* and the steps below are what the program itself would cut, "
        "live and for comparison."
    )


@st.cache_resource(max_entries=32, show_spinner=False)
def _layers(path: Path, stamp: str, photo_id: str, size: tuple[int, int]) -> tuple[Layer, ...]:
    run = Run(path)
    table = run.cut_masks(columns_shown(run.cut_masks_path))
    table = table[table["image_id"] == photo_id].sort_values("score", ascending=False, kind="stable")
    codes = MaskCodes.open(run, "proposals")

    def shrink(mask_id: int) -> np.ndarray:
        picture = Image.fromarray(codes.decode(mask_id)).resize(size[::-1], Image.Resampling.NEAREST)
        return np.asarray(picture)

    listed, others = table.iloc[:MOST_LISTED], table.iloc[MOST_LISTED:]
    layers = []
    for rank, row in enumerate(listed.to_dict("records")):
        parts = {
            str(name).removeprefix(PART): float(value)
            for name, value in row.items()
            if str(name).startswith(PART) and value == value
        }
        layers.append(mask_layer(rank, shrink(row["mask_id"]), float(row["score"]), parts))
    if len(others):
        labels = np.zeros(size, np.uint8)
        for rank, mask_id in reversed(list(enumerate(others["mask_id"].tolist()))):
            labels[shrink(mask_id)] = rank % 250 + 1
        layers.append(
            Layer(
                drawing.png_url(drawing.label_layer(Image.fromarray(labels))),
                smooth=False,
                name=f"{len(others):,} more, of lower scores",
                color=colors.NONE,
            )
        )
    return tuple(layers)
