"""Component: a photo with one mask on it, whole or as a crop; switching, tinting and hiding need no server."""

from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from app import photo_cache, widgets
from app.components._register import register
from app.images import drawing, sent_images
from app.images.colors import cluster_color
from app.run_view import RunView, decision_view
from maskdistill.datasets import Photo
from maskdistill.errors import DatasetError

_HTML = """
<div class="view">
  <div class="bar">
    <span class="choice" role="group" aria-label="How much of the photo">
      <button class="to-whole" aria-pressed="true">Photo</button
      ><button class="to-crop" aria-pressed="false">Crop</button>
    </span><kbd title="Switches between photo and crop">Z</kbd>
    <label>Opacity <input class="opacity" type="range" min="0" max="100"></label>
    <label><input class="outline" type="checkbox"> Outline</label>
    <button class="hide" title="The bare photo, for as long as it is held">
      <span class="long">Hold to hide</span><span class="short">Hide</span> <kbd>H</kbd></button>
  </div>
  <div class="stage" role="img"><img class="photo" alt=""><canvas></canvas></div>
</div>
"""
_OTHERS = "#FFFFFF"  # rims of the photo's other masks

_component = register(__file__, _HTML, shared=("styles/toolbar.css", "components/_layers.js", "images/sent_images.js"))


def mask_view(run_view: RunView, mask_id: int, *, key: str, max_height: int, others: bool = False) -> None:
    """Draw the component; where the photo is gone, say so.

    Args:
        run_view: The run.
        mask_id: The mask.
        key: Widget key.
        max_height: CSS pixels.
        others: Whether the photo's other proposals are outlined too.

    Raises:
        RunError: If there is no such mask.
    """
    row = int(run_view.table.rows_of([mask_id])[0])
    number = int(run_view.frame["image"].iat[row])
    photo = run_view.photos[number]
    try:
        photo_url = photo_cache.photo_url(photo)
    except DatasetError as error:
        st.warning(f"The mask cannot be shown. {widgets.escape(str(error))}", icon=":material/broken_image:")
        return
    beside = [id for id in run_view.codes.of_photo(number) if id != mask_id] if others else []
    layers = [_layer(run_view, mask_id, photo, cluster_color(int(decision_view(run_view).cluster[row])))]
    layers += [_layer(run_view, id, photo, _OTHERS) for id in beside]
    names, new = sent_images.sent().pack([photo_url, *layers])
    box = [int(run_view.frame[name].iat[row]) for name in "xywh"]
    data = {
        "pictures": new,
        "photo": names[0],
        "layers": names[1:],
        "label": f"Photo {photo.id} with mask {mask_id}",
        "size": [photo.width, photo.height],
        "box": box,
        "maxHeight": max_height,
    }
    _component(data=data, key=key, on_missing_change=lambda: sent_images.send_again(key))


def _layer(run_view: RunView, mask_id: int, photo: Photo, colour: str) -> str:
    return _layer_url(run_view.run.path, run_view.stamp, mask_id, photo_cache.live_size(photo), colour, run_view)


@st.cache_data(max_entries=2000, show_spinner=False)
def _layer_url(path: Path, stamp: Any, mask_id: int, size: tuple[int, int], colour: str, _run_view: RunView) -> str:
    """The mask as a PNG layer, some 1 kB; ``size`` is height, width in pixels."""
    mask = _run_view.codes_of(mask_id).decode(mask_id)
    if mask.shape != size:
        mask = np.asarray(Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST))
    return drawing.png_url(drawing.mask_layer(mask, colour))
