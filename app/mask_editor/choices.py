"""Other shapes of a mask, to be taken by a digit: small pictures of what the run has at that place."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from app import photo_cache
from app.mask_editor.shapes import resized
from app.run_context import run_config
from app.run_view import RunView, repairs_of
from maskdistill.masks import bounding_box, decode_mask, mask_iou
from maskdistill.pictures import drawing
from maskdistill.review.repair import Mender, alternatives, other_cuts
from maskdistill.review.repair.other_shapes import MOST, SAME, Origin

_SIDE = 208  # pixels of a small picture's longer side
_MARGIN = 0.25  # around both shapes, in their longer side
_BEFORE = "before it was mended"
_NAMES: dict[Origin, str] = {
    "mask": "a mask of the run",
    "cut": "as cut",
    "pool": "repeated cuts",
    "second_view": "second look",
    "other_tau": "cut with another τ",
    "stage1": "stage 1",
    "prediction": "final model",
    "instance": "single object",
}


@dataclass(frozen=True, eq=False)
class OtherShape:
    """Another shape of a mask."""

    name: str
    mask: np.ndarray  # (h, w) bool, on the editor's copy of the photo
    src: str  # a small picture of it as a data URL


def find_choices(run_view: RunView, number: int, mask_id: int, mask: np.ndarray, mender: Mender) -> list[OtherShape]:
    """Other shapes of a mask, at most nine: the one before it was mended, then those most like it.

    Args:
        run_view: The run.
        number: Of the photo.
        mask_id: The mask.
        mask: (H, W) bool at the photo's size, as it is now.
        mender: Of the editor's copy of the photo.

    Raises:
        RunError: If a file of the run is damaged.
    """
    image = photo_cache.pixels(run_view.photos[number])
    cuts = other_cuts(mender.tokens, mask, run_config(run_view.info).proposals)
    shapes = alternatives(run_view.run, number, mask, image, more=(("other_tau", cut) for cut in cuts))
    found = [(_NAMES[item.origin], item.mask) for item in shapes]
    form = repairs_of(run_view).by_shown.get(mask_id)
    if form is not None and form.own is not None:
        own = decode_mask(form.own)
        found = [(_BEFORE, own), *(item for item in found if mask_iou(own, item[1]) < SAME)]
    start = resized(mask, mender.size)
    small = [(name, resized(shape, mender.size)) for name, shape in found[:MOST]]
    return [OtherShape(name, shape, _picture(image, shape, start)) for name, shape in small if shape.any()]


def _picture(image: Image.Image, mask: np.ndarray, start: np.ndarray) -> str:
    x, y, width, height = bounding_box(mask | start)
    margin = round(_MARGIN * max(width, height))
    left, top = max(0, x - margin), max(0, y - margin)
    right, bottom = min(image.width, x + width + margin), min(image.height, y + height + margin)
    part = drawing.overlay(image.crop((left, top, right, bottom)), [mask[top:bottom, left:right]], 0.45)
    part.thumbnail((_SIDE, _SIDE))
    return drawing.jpeg_url(part, 80)
