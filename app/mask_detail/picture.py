"""The photo with one mask on it, whole or enlarged to the mask."""

from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from app import photo_cache, widgets
from app.components.layered_image import Layer, LayeredImage, View, layered_image
from app.run_view import RunView, decision_view, repairs_of, shape_of
from maskdistill.errors import DatasetError
from maskdistill.masks import bounding_box, decode_mask
from maskdistill.pictures import drawing
from maskdistill.pictures.colors import cluster_color
from maskdistill.proposals.live import live_size


def draw_picture(run_view: RunView, mask_id: int, *, key: str, max_height: int) -> None:
    """Draw the photo; where it is gone, say so.

    Args:
        run_view: The run.
        mask_id: The mask.
        key: Widget key.
        max_height: CSS pixels.

    Raises:
        RunError: If there is no such mask.
    """
    row = int(run_view.table.rows_of([mask_id])[0])
    photo = run_view.photos[int(run_view.frame["image"].to_numpy()[row])]
    try:
        photo_url = photo_cache.photo_url(photo)
    except DatasetError as error:
        st.warning(f"The mask cannot be shown. {widgets.escape(str(error))}", icon=":material/broken_image:")
        return
    color = cluster_color(int(decision_view(run_view).cluster[row]))
    form = repairs_of(run_view).by_shown.get(mask_id)
    stamp = (run_view.stamp, form.step if form else 0)
    src = _layer_url(run_view.run.path, stamp, mask_id, live_size(photo), color, run_view)
    layers = (Layer(src, smooth=False, outline=True),)
    x, y, width, height = (int(run_view.frame[name].to_numpy()[row]) for name in "xywh")
    if form is not None and form.code is not None:
        x, y, width, height = bounding_box(decode_mask(form.code))
    image = LayeredImage(
        src=photo_url,
        size=(photo.width, photo.height),
        alt=f"Photo {photo.id} with mask {mask_id}",
        height=f"{max_height}px",
        fills=True,  # so that nothing below moves between photo and crop
        views=(View(layers, "Photo"), View(layers, "Crop", box=(x, y, width, height))),
        opacity=45,
        keep_settings="mask",
    )
    layered_image(image, key=key)


@st.cache_data(max_entries=2000, show_spinner=False)
def _layer_url(path: Path, stamp: Any, mask_id: int, size: tuple[int, int], color: str, _run_view: RunView) -> str:
    """The mask as a PNG layer, some 1 kB; ``size`` is height, width in pixels."""
    mask = decode_mask(shape_of(_run_view, mask_id))
    if mask.shape != size:
        mask = np.asarray(Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST))
    return drawing.png_url(drawing.mask_layer(mask, color))
