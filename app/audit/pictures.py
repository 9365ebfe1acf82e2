"""The large picture of a mask: the crop around it or the whole photo, and the mask as a layer of the same size."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import streamlit as st
from PIL import Image

from app import photo_cache
from app.run_view import RunView
from maskdistill.datasets import Photo, read_photo
from maskdistill.errors import DatasetError, RunError
from maskdistill.masks import bounding_box, decode_mask
from maskdistill.pictures import drawing
from maskdistill.review.decisions import Form

Zoom = Literal["crop", "whole"]
SIDE = 640  # pixels, longest side of what is sent: some 50 kB
_MARGIN = 0.3  # of the box's longer side, to show what the mask leaves out
_LEAST = 0.3  # of the photo's longer side: a few pixels enlarged show nothing
_QUALITY = 82
_COARSE = 0.5  # of SIDE: a crop of fewer pixels is read from the file again
_PROPOSED, _PREDICTED = "the mask as proposed", "the mask as stage 1 predicts it"
_ANY = "#FFFFFF"  # the browser gives the layer its color


def picture(run_view: RunView, row: int, zoom: Zoom, *, drawn: bool, form: Form | None = None) -> dict[str, Any]:
    """What the browser draws.

    Args:
        run_view: The run.
        row: Of the table.
        zoom: Crop or whole photo.
        drawn: Whether the mask is shown as the first model draws it, where it does.
        form: As people mended it, if they did.

    Returns:
        ``photo_src`` and ``mask``, data URLs of pictures of one aspect; ``other``, the mask in its other version or "";
        ``mask_is`` and ``other_is``, what they are; ``width`` and ``height`` in pixels of the photo that they show.
        Without the photo's file ``photo_src`` is "" and ``problem`` says why.
    """
    mask_id = int(run_view.frame["mask_id"].to_numpy()[row])
    stamp = f"{run_view.stamp} {form.step if form else 0}"
    return _picture(run_view.run.path, stamp, mask_id, zoom, drawn, run_view, row, form)


@st.cache_data(max_entries=64, show_spinner=False)
def _picture(
    path: Path, stamp: str, mask_id: int, zoom: Zoom, drawn: bool, _run_view: RunView, _row: int, _form: Form | None
) -> dict[str, Any]:
    photo = _run_view.photos[int(_run_view.frame["image"].to_numpy()[_row])]
    mended = decode_mask(_form.code) if _form is not None and _form.code is not None else None
    whole = (0, 0, photo.width, photo.height)
    window = _window(_run_view, mask_id, photo, mended) if zoom == "crop" else whole
    proposed, predicted = _versions(_run_view, mask_id)
    masks, names = [proposed, predicted], [_PROPOSED, _PREDICTED]
    if proposed is None or (drawn and predicted is not None):
        masks, names = masks[::-1], names[::-1]
    if _form is not None and mended is not None:
        masks, names = [mended, masks[0]], [f"the mask as {_form.reviewer} mended it", names[0]]
    size = _size(window)
    layers = dict(zip(("mask", "other"), masks, strict=True))
    sent: dict[str, Any] = {
        name: "" if mask is None else _layer_url(mask, window, size) for name, mask in layers.items()
    }
    try:
        sent |= {"photo_src": drawing.jpeg_url(_cut(photo, window, size), _QUALITY), "problem": ""}
    except DatasetError as error:
        sent |= {"photo_src": "", "problem": str(error)}
    sent |= dict(zip(("mask_is", "other_is"), names, strict=True))
    return {**sent, "width": window[2] - window[0], "height": window[3] - window[1]}


def _versions(run_view: RunView, mask_id: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(H, W) bool as proposed and as the first model draws it, None where it does not."""
    proposed = run_view.codes.decode(mask_id) if mask_id in run_view.codes else None
    drawn = run_view.drawn
    predicted = drawn.decode(mask_id) if drawn is not None and mask_id in drawn else None
    if proposed is None and predicted is None:
        raise RunError(f"The run has no mask {mask_id}. It may have been made anew: open the page again.")
    return proposed, predicted


def _window(run_view: RunView, mask_id: int, photo: Photo, mended: np.ndarray | None) -> tuple[int, int, int, int]:
    """left, top, right, bottom in pixels of the photo: around all versions of the mask."""
    places = [
        codes.box(mask_id) for codes in (run_view.codes, run_view.drawn) if codes is not None and mask_id in codes
    ]
    places += [] if mended is None else [bounding_box(mended)]
    boxes = np.array([[x, y, x + width, y + height] for x, y, width, height in places])
    (left, top), (right, bottom) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    least = _LEAST * max(photo.width, photo.height)
    margin = round(max(_MARGIN * max(right - left, bottom - top), (least - max(right - left, bottom - top)) / 2))
    right, bottom = min(photo.width, right + margin), min(photo.height, bottom + margin)
    return max(0, int(left) - margin), max(0, int(top) - margin), int(right), int(bottom)


def _size(window: tuple[int, int, int, int]) -> tuple[int, int]:
    """width, height in pixels of what is sent: not more than the photo has."""
    width, height = window[2] - window[0], window[3] - window[1]
    scale = min(1.0, SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _cut(photo: Photo, window: tuple[int, int, int, int], size: tuple[int, int]) -> Image.Image:
    image = photo_cache.pixels(photo)
    wanted = max(size) / max(window[2] - window[0], window[3] - window[1])  # of the photo's own resolution
    if image.width / photo.width < _COARSE * wanted:
        image = read_photo(photo, min_short_side=round(wanted * min(photo.height, photo.width)))
    scale = image.width / photo.width
    left, top, right, bottom = (scale * side for side in window)
    return image.resize(size, Image.Resampling.BILINEAR, box=(left, top, right, bottom), reducing_gap=2.0)


def _layer_url(mask: np.ndarray, window: tuple[int, int, int, int], size: tuple[int, int]) -> str:
    left, top, right, bottom = window
    layer = drawing.mask_layer(mask[top:bottom, left:right], _ANY)
    return drawing.png_url(layer.resize(size, Image.Resampling.NEAREST))
