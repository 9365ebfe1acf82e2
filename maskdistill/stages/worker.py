"""What one process does with one photo: read, look, propose, encode, write the thumbnails."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskdistill.backbones import Backbone, load_backbone
from maskdistill.config import RunConfig
from maskdistill.datasets import Photo, read_photo
from maskdistill.errors import MaskDistillError
from maskdistill.masks import bounding_box, encode_mask
from maskdistill.progress import replace_atomically
from maskdistill.proposals import Proposal, Recipe, look, propose
from maskdistill.stages.tasks import PhotoResult
from maskdistill.store import MASKS_PER_PHOTO, Run

logger = logging.getLogger(__name__)

THUMB_SIDE = 96  # pixels
THUMB_MARGIN = 0.1  # fraction of the box's longer side
DECODE_FACTOR = 2  # a photo is decoded at least so many times larger than the network reads it
# What a damaged or odd photo can raise on its way; such a photo is noted with its reason and the run goes on.
PHOTO_ERRORS = (MaskDistillError, OSError, ValueError, RuntimeError, MemoryError, ArithmeticError)


class PhotoWorker:
    """A loaded backbone and the settings, applied to one photo after the other."""

    def __init__(self, run: Path, config: RunConfig) -> None:
        self._run, self._config = Run(run), config
        self._backbone: Backbone = load_backbone(config.features)
        self._recipe = Recipe.resolve(config.proposals, config.crf, self._backbone)

    def __call__(self, number: int, photo: Photo) -> PhotoResult:
        """Masks of one photo; whatever is wrong with it is returned, not raised."""
        try:
            image = self._read(photo)
            return self._propose(number, photo, image)
        except PHOTO_ERRORS as error:
            reason = str(error) if isinstance(error, MaskDistillError) else f"{type(error).__name__}: {error}"
            logger.warning("Skipped %s: %s", photo.id, reason)
            return PhotoResult(number, error=reason)

    def _read(self, photo: Photo) -> Image.Image:
        if self._config.crf.enabled:
            return read_photo(photo)
        side = self._config.features.shorter_side or self._backbone.spec.shorter_side
        return read_photo(photo, min_short_side=DECODE_FACTOR * side)

    def _propose(self, number: int, photo: Photo, image: Image.Image) -> PhotoResult:
        size = (photo.height, photo.width)
        request = self._recipe.request
        first, second = look(
            self._backbone, image, size, self._config.features, request, view_scale=self._recipe.view_scale
        )
        found = propose(first, second, image, self._recipe)
        annotations = [_annotation(number, rank, item) for rank, item in enumerate(found.proposals)]
        for annotation in annotations:
            write_thumbnail(self._run.thumbnail(annotation["id"]), image, annotation["bbox"], size)
        return PhotoResult(number, annotations, found.problem)


def _annotation(number: int, rank: int, proposal: Proposal) -> dict[str, Any]:
    return {
        "id": number * MASKS_PER_PHOTO + rank,
        "image_id": number,
        "category_id": 1,
        "segmentation": encode_mask(proposal.mask),
        "area": int(np.count_nonzero(proposal.mask)),
        "bbox": list(bounding_box(proposal.mask)),
        "iscrowd": 0,
        "score": round(proposal.score, 6),
        "parts": {name: round(float(value), 6) for name, value in proposal.parts.items()},
    }


def write_thumbnail(path: Path, image: Image.Image, box: list[int], size: tuple[int, int]) -> None:
    """Write the crop of a mask, with a margin, as a JPEG of at most 96 pixels a side.

    Args:
        path: Where to.
        image: The photo, perhaps decoded smaller than ``size``.
        box: x, y, width, height in pixels of the full photo.
        size: height, width of the full photo in pixels.
    """
    scale_x, scale_y = image.width / size[1], image.height / size[0]
    x, y, width, height = box
    margin = THUMB_MARGIN * max(width, height)
    left, top = max(0, (x - margin) * scale_x), max(0, (y - margin) * scale_y)
    right = min(image.width, (x + width + margin) * scale_x)
    bottom = min(image.height, (y + height + margin) * scale_y)
    ratio = THUMB_SIDE / max(right - left, bottom - top, 1)
    sides = (max(1, round((right - left) * ratio)), max(1, round((bottom - top) * ratio)))
    crop = image.resize(sides, Image.Resampling.BILINEAR, box=(left, top, right, bottom), reducing_gap=2.0)
    replace_atomically(path, lambda temporary: crop.save(temporary, format="JPEG", quality=85))
