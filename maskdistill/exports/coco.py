"""COCO instance files: exact run-length codes, the same masks as polygons, and both once more for each split."""

import json
import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskdistill import __version__
from maskdistill.errors import DatasetError
from maskdistill.exports.folder import exporting
from maskdistill.exports.names import clean_class_names, split_names
from maskdistill.exports.photos import (
    PICTURE_SUFFIXES,
    PhotoMode,
    count_progress,
    link_names,
    link_photos,
    place_photo,
    plan_photos,
    unreadable_notes,
)
from maskdistill.exports.polygons import mask_polygons
from maskdistill.exports.records import ExportImage, ExportMask, ExportSummary, check_images, group_masks
from maskdistill.files import write_atomically
from maskdistill.masks import bounding_box, decode_mask

ALL = "annotations/instances.json"
Entries = list[dict[str, Any]]


def export_coco(
    out: Path,
    images: Sequence[ExportImage],
    masks: Sequence[ExportMask],
    class_names: Sequence[str],
    *,
    unused: Collection[int] = (),
    photos: PhotoMode | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ExportSummary:
    """Write every mask with its class.

    ``annotations/instances.json`` holds all photos, masks as RLE, exact. ``polygons/instances.json`` holds the same as
    polygons, for tools that take no RLE: one for each component, its holes cut in along a line, so that pycocotools
    paints the very mask. Where photos are in splits there is also ``splits/instances_<split>.json`` and
    ``polygons/instances_<split>.json``. Each lies in a folder of its own, because readers of a whole ``annotations``
    folder would else count each photo twice.

    An annotation's ``id`` is the mask's plus 1, because pycocotools takes 0 for "no match"; ``mask_id`` is the mask's
    own, ``score`` may be null, ``attributes`` holds ``kept`` and the other signals.

    Args:
        out: New, empty, or the folder of an earlier export.
        images: Photos.
        masks: Masks; empty ones are left out.
        class_names: Names of the classes 1 to K, which become the categories 1 to K.
        unused: Numbers that stand for no class and become no category.
        photos: None leaves the photos where they are and as they are: ``file_name`` is relative to the data folder,
            and to ``images``, which holds links to them. Else they come into ``images`` under portable names, upright;
            views, which are no files, always do.
        on_progress: Called with the number of photos done and in total.

    Raises:
        ConfigError: If the folder cannot be used, or ids, numbers or classes do not fit.
        ShapeError: If a mask was made for another size than its photo's.
        DatasetError: If photos are asked for and none can be read.
    """
    check_images(images)
    groups = group_masks(images, masks, len(class_names))
    names, notes = clean_class_names(class_names)
    mode = photos or ("copy" if any(image.view for image in images) else None)
    placed, more = plan_photos(images, PICTURE_SUFFIXES) if mode else (None, ())
    pictures = {item.image.number: item for item in placed or ()}
    file_names = link_names(images) if placed is None else {number: item.name for number, item in pictures.items()}
    files = _json_files(images)
    planned = [*files, *(f"images/{name}" for name in file_names.values() if name.isprintable())]
    with exporting(out, "coco", planned):
        if placed is None:
            more = link_photos(images, file_names, out / "images")
        entries, rle, polygons, problems = [], [], [], []
        for image in count_progress(images if placed is None else [item.image for item in placed], on_progress):
            try:
                if mode is not None:
                    place_photo(pictures[image.number], out / "images" / pictures[image.number].name, mode)
            except DatasetError as error:
                problems.append(str(error))
                continue
            entries.append(_entry(image, file_names[image.number]))
            for mask in groups[image.number]:
                pixels = decode_mask(mask.code)
                if pixels.any():
                    annotation = _annotation(mask, pixels)
                    rle.append({**annotation, "segmentation": mask.code})
                    outlines = [np.round(outline, 2).ravel().tolist() for outline in mask_polygons(pixels)]
                    polygons.append({**annotation, "segmentation": outlines})
        categories = [
            {"id": number, "name": name, "supercategory": "object"}
            for number, name in enumerate(names, start=1)
            if number not in unused
        ]
        for file, split in files.items():
            _write(out / file, _select(entries, polygons if file.startswith("polygons") else rle, split), categories)
    notes = (*notes, *more, *unreadable_notes(problems))
    return ExportSummary("coco", out, len(entries), len(rle), tuple(files), notes)


def _json_files(images: Sequence[ExportImage]) -> dict[str, str | None]:
    """The json files, each with the split it holds; None is all."""
    splits = split_names(images, "")
    names = sorted({splits[image.number] for image in images if image.split})
    files: dict[str, str | None] = {ALL: None, "polygons/instances.json": None}
    for folder in ("splits", "polygons"):
        files.update({f"{folder}/instances_{name}.json": name for name in names})
    return files


def _entry(image: ExportImage, file_name: str) -> dict[str, Any]:
    return {
        "id": image.number,
        "file_name": file_name,
        "height": image.height,
        "width": image.width,
        "photo_id": image.id,
        "split": split_names([image], "")[image.number] or None,
    }


def _annotation(mask: ExportMask, pixels: np.ndarray) -> dict[str, Any]:
    return {
        "id": mask.id + 1,
        "image_id": mask.image,
        "category_id": mask.label,
        "bbox": list(bounding_box(pixels)),
        "area": int(np.count_nonzero(pixels)),
        "iscrowd": 0,
        "mask_id": mask.id,
        "score": _plain(mask.score),
        "attributes": {"kept": bool(mask.kept), **{name: _plain(value) for name, value in mask.extra.items()}},
    }


def _plain(value: Any) -> Any:
    """The value as JSON knows it: numbers of NumPy as Python's, null for what is no number."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _select(entries: Entries, annotations: Entries, split: str | None) -> tuple[Entries, Entries]:
    if split is None:
        return entries, annotations
    chosen = [entry for entry in entries if entry["split"] == split]
    numbers = {entry["id"] for entry in chosen}
    return chosen, [annotation for annotation in annotations if annotation["image_id"] in numbers]


def _write(path: Path, content: tuple[Entries, Entries], categories: Entries) -> None:
    images, annotations = content
    coco = {
        "info": {"description": f"Unsupervised object masks, by maskdistill {__version__}", "version": __version__},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    write_atomically(path, json.dumps(coco, separators=(",", ":"), allow_nan=False))
