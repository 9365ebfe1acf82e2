"""What one process does with one photo of the stage ``foreground``: judge its patches, correct its masks."""

import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskdistill.config import RunConfig
from maskdistill.datasets import Photo, read_photo
from maskdistill.errors import DatasetError
from maskdistill.features.patch_tokens import StoredTokens
from maskdistill.files import replace_atomically
from maskdistill.masks import decode_mask, describe_mask
from maskdistill.proposals.foreground import ForegroundHeads, patch_vectors
from maskdistill.proposals.foreground_masks import CorrectedMask, CutMask, Seen, correct_masks
from maskdistill.proposals.pool import Pool
from maskdistill.proposals.thumbnails import write_thumbnail
from maskdistill.stages.foreground import as_cut, keep_cut
from maskdistill.stages.photo_failures import PHOTO_ERRORS, describe_failure
from maskdistill.stages.tasks import PhotoResult
from maskdistill.storage.photo_arrays import ArrayStore, PoolStore
from maskdistill.storage.read_files import DamagedFileError, reading
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, Run, thumbnail_in

SHORT_SIDE = 480  # pixels at which photos are read for thumbnails: a small object still has some


class ForegroundWorker:
    """The heads and the settings, applied to one photo after the other."""

    def __init__(
        self, run: Path, config: RunConfig, tokens: Path, pool: Path | None, old_thumbs: Path, thumbs: Path
    ) -> None:
        folder = Run(run).foreground
        self._heads, self._maps = ForegroundHeads.load(folder.heads_path), ArrayStore(folder.maps_path)
        self._config, self._tokens = config, StoredTokens(tokens, config.features)
        self._pool = None if pool is None else PoolStore(pool)
        self._old_thumbs, self._thumbs = old_thumbs, thumbs

    def __call__(self, number: int, photo: Photo, known: list[dict[str, Any]], fold: int | None) -> PhotoResult:
        """Judge one photo by the head of its fold and correct its masks; what cannot be judged keeps them as they are.

        Args:
            number: Of the photo in the run.
            photo: The photo.
            known: Annotations of its masks, best first.
            fold: The head that never saw it; None where none did.
        """
        try:
            tokens, geometry = self._tokens.read(number, photo)
            vectors = patch_vectors(tokens, len(self._tokens.blocks))
            probability = self._heads.probability(vectors, fold).astype(np.float16).reshape(*tokens.shape[:2], 1)
            if not np.isfinite(probability).all():
                raise DamagedFileError(self._tokens.store.path(number), "it holds numbers that are not finite")
            self._maps.write(number, probability)
            pools = self._read_pools(number)
            image = self._image(photo) if self._config.crf.enabled or pools else None
            shown = probability[..., 0].astype(np.float32)
            seen = Seen(shown, vectors, geometry, image, pools)
            cut = as_cut(known)
            found = correct_masks([_read(item) for item in cut], seen, self._config)
        except PHOTO_ERRORS as error:
            return keep_cut(number, known, describe_failure(photo, error))
        annotations = _annotations(number, found, cut, known if pools else None)
        self._write_thumbnails(photo, annotations)
        return PhotoResult(number, annotations)

    def _image(self, photo: Photo) -> Image.Image:
        return read_photo(photo) if self._config.crf.enabled else read_photo(photo, min_short_side=SHORT_SIDE)

    def _read_pools(self, number: int) -> tuple[Pool, ...]:
        """The photo's candidates; none where the run has no pool."""
        if self._pool is None or not self._pool.path(number).is_file():
            return ()
        views = self._pool.read(number)
        with reading(self._pool.path(number)):
            return tuple(map(Pool.from_arrays, views))

    def _write_thumbnails(self, photo: Photo, annotations: list[dict[str, Any]]) -> None:
        for item in annotations:
            old, new = thumbnail_in(self._old_thumbs, item["cut_id"]), thumbnail_in(self._thumbs, item["id"])
            if not item["recut"] and old.is_file():
                replace_atomically(new, partial(shutil.copyfile, old))
        with suppress(DatasetError):  # it was removed since; the page that shows the mask reports that
            drawn = [item for item in annotations if not thumbnail_in(self._thumbs, item["id"]).is_file()]
            if not drawn:
                return
            image = read_photo(photo, min_short_side=SHORT_SIDE)
            for item in drawn:
                path = thumbnail_in(self._thumbs, item["id"])
                write_thumbnail(path, image, item["bbox"], (photo.height, photo.width))


def _read(item: dict[str, Any]) -> CutMask:
    return CutMask(decode_mask(item["segmentation"]), item["score"], item["parts"])


def _annotations(
    number: int, found: list[CorrectedMask], cut: list[dict[str, Any]], known: list[dict[str, Any]] | None
) -> list[dict[str, Any]]:
    """As COCO, numbered by their new places; ``cut_id`` is what each was among the proposals, -1 for nothing.

    Args:
        number: Of the photo.
        found: Its masks.
        cut: What they were made from.
        known: All masks that it had, where some were chosen from a pool.
    """
    ids = {item["pool"]: item["id"] for item in known or () if item.get("pool", -1) >= 0}
    annotations = [
        {
            "id": number * MASKS_PER_PHOTO + rank,
            "image_id": number,
            "category_id": 1,
            **describe_mask(item.mask),
            "score": round(item.score, 6),
            "parts": {name: round(float(value), 6) for name, value in item.parts.items()},
            "recut": item.recut,
            "cut_id": ids.get(item.number, -1) if item.source is None else cut[item.source]["id"],
        }
        for rank, item in enumerate(found)
    ]
    if known is None:
        return annotations
    numbers = (-1 if item.number is None else item.number for item in found)
    return [{**item, "pool": number} for item, number in zip(annotations, numbers, strict=True)]
