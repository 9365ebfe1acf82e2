"""Other shapes of a mask, to be taken by a digit: small pictures of what the run has at that place."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from app import photo_cache
from app.mask_editor.shapes import resized
from app.run_view import RunView, repairs_of
from maskdistill.masks import bounding_box, decode_mask, mask_iou
from maskdistill.pictures import drawing

MOST = 9  # as many as there are digits
_SAME = 0.97  # IoU from which two shapes are one
_LEAST = 0.15  # IoU with the mask below which a shape is of another object
_SIDE = 208  # pixels of a small picture's longer side
_MARGIN = 0.25  # around both shapes, in their longer side


@dataclass(frozen=True, eq=False)
class OtherShape:
    """Another shape of a mask."""

    name: str
    mask: np.ndarray  # (h, w) bool, on the editor's copy of the photo
    src: str  # a small picture of it as a data URL


def find_choices(run_view: RunView, number: int, mask_id: int, start: np.ndarray) -> list[OtherShape]:
    """Other shapes of a mask, at most nine.

    Args:
        run_view: The run.
        number: Of the photo.
        mask_id: The mask.
        start: (h, w) bool, as it is now: what equals it is left out.
    """
    found: list[tuple[str, np.ndarray]] = []
    for name, mask in _shapes(run_view, mask_id, start.shape):
        known = [start, *(other for _, other in found)]
        if mask.any() and mask_iou(mask, start) >= _LEAST and all(mask_iou(mask, other) < _SAME for other in known):
            found.append((name, mask))
    image = photo_cache.pixels(run_view.photos[number])
    return [OtherShape(name, mask, _picture(image, mask, start)) for name, mask in found[:MOST]]


def _shapes(run_view: RunView, mask_id: int, size: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray]]:
    height, width = size
    form = repairs_of(run_view).by_shown.get(mask_id)
    if form is not None and form.own is not None:
        yield "as the run made it", resized(decode_mask(form.own), (height, width))
    if mask_id in run_view.codes:
        yield "as proposed", resized(run_view.codes.decode(mask_id), (height, width))
    if run_view.drawn is not None and mask_id in run_view.drawn:
        yield "as stage 1 draws it", resized(run_view.drawn.decode(mask_id), (height, width))


def _picture(image: Image.Image, mask: np.ndarray, start: np.ndarray) -> str:
    x, y, width, height = bounding_box(mask | start)
    margin = round(_MARGIN * max(width, height))
    box = (
        max(0, x - margin),
        max(0, y - margin),
        min(image.width, x + width + margin),
        min(image.height, y + height + margin),
    )
    part = drawing.overlay(image.crop(box), [mask[box[1] : box[3], box[0] : box[2]]], 0.45)
    part.thumbnail((_SIDE, _SIDE))
    return drawing.jpeg_url(part, 80)
