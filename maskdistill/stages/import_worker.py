"""What one process does with one photo whose masks were brought into the run: check, score, write the thumbnails."""

from pathlib import Path
from typing import Any

import numpy as np

from maskdistill.config import RunConfig
from maskdistill.datasets import Photo, read_photo
from maskdistill.datasets.coco_masks import decode_counts
from maskdistill.masks import decode_mask, describe_mask
from maskdistill.proposals.scoring import area_part, border_part, combine
from maskdistill.proposals.thumbnails import write_thumbnail
from maskdistill.stages.photo_failures import PHOTO_ERRORS, describe_failure, is_missed
from maskdistill.stages.tasks import PhotoResult
from maskdistill.storage.imported_masks import MASKS_PER_PHOTO, by_photo, read_brought
from maskdistill.storage.run_folder import thumbnail_in

SHORT_SIDE = 480  # pixels at which photos are read for thumbnails: a small object still has some


class ImportWorker:
    """The masks of a run, given to one photo after the other."""

    def __init__(self, run: Path, config: RunConfig, thumbs: Path, digest: str, refused: dict[str, str]) -> None:
        self._thumbs, self._refused = thumbs, refused
        columns = ("place", "counts", "score", "category")
        self._masks = {
            id: list(zip(*(rows[name].tolist() for name in columns), strict=True))
            for id, rows in by_photo(read_brought(run, digest))
        }

    def __call__(self, number: int, photo: Photo) -> PhotoResult:
        """Masks of one photo; whatever is wrong with it is returned, not raised."""
        try:
            image = read_photo(photo, min_short_side=SHORT_SIDE)
            given = self._masks.get(photo.id, [])
            if given and not _fit(photo, [counts for _, counts, _, _ in given]):
                return PhotoResult(number, problem=f"Its masks are not of {photo.width} x {photo.height} pixels.")
            annotations = [_annotation(number, photo, *values) for values in given]
            for annotation in annotations:
                path = thumbnail_in(self._thumbs, annotation["id"])
                write_thumbnail(path, image, annotation["bbox"], (photo.height, photo.width))
            return PhotoResult(number, annotations, self._refused.get(photo.id))
        except PHOTO_ERRORS as error:
            return PhotoResult(number, error=describe_failure(photo, error), missed=is_missed(photo, error))


def _fit(photo: Photo, counts: list[str]) -> bool:
    """Whether codes are of a photo's size: it may have been replaced since they were brought."""
    return bool((decode_counts(counts)[2] == photo.height * photo.width).all())


def _annotation(number: int, photo: Photo, place: int, counts: str, score: float, category: str) -> dict[str, Any]:
    mask = decode_mask({"size": [photo.height, photo.width], "counts": counts})
    parts = _parts(mask, score)
    return {
        "id": number * MASKS_PER_PHOTO + place,
        "image_id": number,
        "category_id": 1,
        **describe_mask(mask),
        "score": round(combine(parts), 6),
        "parts": {name: round(float(value), 6) for name, value in parts.items()},
        "category": category,
    }


def _parts(mask: np.ndarray, score: float) -> dict[str, float]:
    """The score that came with the mask; without one what can be measured of the mask alone."""
    if score == score:
        return {"given": score}
    return {"area": area_part(float(mask.mean())), "border": border_part(mask)}
