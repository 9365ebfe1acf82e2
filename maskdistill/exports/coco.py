"""COCO instance files: exact run-length codes, the same masks as polygons, and both once more for each split."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage, spatial
from skimage import measure

from maskdistill import __version__
from maskdistill.errors import DatasetError
from maskdistill.exports import (
    PICTURE_SUFFIXES,
    ExportImage,
    ExportMask,
    ExportSummary,
    PhotoMode,
    PlacedPhoto,
    begin_export,
    check_images,
    clean_class_names,
    count_progress,
    finish_export,
    group_masks,
    place_photo,
    plan_photos,
    split_names,
    unreadable_notes,
)
from maskdistill.masks import bounding_box, decode_mask
from maskdistill.progress import write_atomically

# Pixels by which outlines lie inside the mask's edge. Readers that take coordinates as they are (pycocotools rounds to
# fifths of a pixel) and readers that cut them to whole pixels and paint these too (OpenCV, Pillow) then both paint the
# mask; on the edge itself the latter would paint a row and a column too many.
INSET = 0.05
MAX_RINGS = 256  # of one polygon; of speckle the smallest are left out, for the time grows with the square

ALL = "annotations/instances.json"


def export_coco(
    out: Path,
    images: Sequence[ExportImage],
    masks: Sequence[ExportMask],
    class_names: Sequence[str],
    *,
    photos: PhotoMode | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ExportSummary:
    """Write every mask with its class.

    ``annotations/instances.json`` holds all photos, masks as RLE, exact. ``polygons/instances.json`` holds the same as
    polygons, for tools that take no RLE: one for each piece, its holes cut in along a line, so that pycocotools paints
    the very mask. Where photos are in splits there is also ``splits/instances_<split>.json`` and
    ``polygons/instances_<split>.json``. Each lies in a folder of its own, because readers of a whole ``annotations``
    folder would else count each photo twice.

    An annotation's ``id`` is the mask's plus 1, because pycocotools takes 0 for "no match"; ``mask_id`` is the mask's
    own, ``score`` may be null, ``attributes`` holds ``kept`` and the other signals.

    Args:
        out: New, empty, or the folder of an earlier export.
        images: Photos.
        masks: Masks; empty ones are left out.
        class_names: Names of the classes 1 to K, which become the categories 1 to K.
        photos: None leaves the photos where they are, ``file_name`` is relative to the data folder. Else they come
            into ``images`` and ``file_name`` is relative to that; views, which are no files, always do.
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
    files = _file_names(images)
    planned = [*files, *(f"images/{item.name}" for item in pictures.values())]
    begin_export(out, "coco", planned)
    entries, rle, polygons, problems = [], [], [], []
    for image in count_progress(images if placed is None else [item.image for item in placed], on_progress):
        try:
            entries.append(_place(image, pictures.get(image.number), out, mode))
        except DatasetError as error:
            problems.append(str(error))
            continue
        for mask in groups[image.number]:
            pixels = decode_mask(mask.code)
            if pixels.any():
                annotation = _annotation(mask, pixels)
                rle.append({**annotation, "segmentation": mask.code})
                outlines = [np.round(outline, 2).ravel().tolist() for outline in mask_polygons(pixels)]
                polygons.append({**annotation, "segmentation": outlines})
    for file, split in files.items():
        _write(out / file, _select(entries, polygons if file.startswith("polygons") else rle, split), names)
    finish_export(out, "coco", planned)
    notes = (*notes, *more, *unreadable_notes(problems))
    return ExportSummary("coco", out, len(entries), len(rle), tuple(files), notes)


def mask_polygons(mask: np.ndarray) -> list[np.ndarray]:
    """Outlines of a (H, W) mask: one closed polygon for each 4-connected piece, the largest first.

    Returns:
        (n, 2) float64 (x, y) in pixels, 0 at the photo's left and upper edge, ``INSET`` inside the mask's edge. Holes
        are part of the polygon, joined to it by a line that goes there and back. Filled by the even-odd rule, the
        polygons give the mask; the last point is not the first again.
    """
    x, y, width, height = bounding_box(mask)
    crop = np.pad(mask[y : y + height, x : x + width], 1)
    pieces, count = ndimage.label(crop)
    rings: list[list[np.ndarray]] = [[] for _ in range(count)]
    for contour in measure.find_contours(crop.astype(np.uint8), 0.5):
        ring = _corners(contour[:-1, ::-1] + 0.5, crop)
        col, row = ring[0].astype(int)  # every corner lies in a pixel of its piece
        rings[pieces[row, col] - 1].append(ring + np.array([x - 1, y - 1]))
    return sorted((join_rings(group) for group in rings), key=lambda ring: -abs(_area(ring)))


def join_rings(rings: Sequence[np.ndarray]) -> np.ndarray:
    """One closed polygon out of several, joined by lines between nearest corners: as short as they can be in all.

    The lines go there and back, so they have no area; readers that draw outlines paint them one pixel wide, and so
    their length matters. Beyond ``MAX_RINGS`` the smallest rings are left out.

    Args:
        rings: (n, 2) (x, y) each, at least one.

    Source: the minimum spanning tree of the rings, Prim, Bell System Technical Journal 1957.
    """
    newest, *others = sorted(rings, key=lambda ring: -abs(_area(ring)))[:MAX_RINGS]
    path = newest
    ring_of = np.repeat(np.arange(len(others)), [len(ring) for ring in others])
    waiting = np.concatenate([newest[:0], *others])  # corners not yet joined
    anchors, distances = np.zeros_like(waiting), np.full(len(waiting), np.inf)  # the nearest that is, for each of them
    while len(waiting):
        found, index = spatial.KDTree(newest).query(waiting)
        closer = found < distances
        distances[closer], anchors[closer] = found[closer], newest[index[closer]]
        nearest = int(np.argmin(distances))
        joined = ring_of == ring_of[nearest]
        newest, start = waiting[joined], np.count_nonzero(joined[:nearest])
        at = int(np.flatnonzero((path == anchors[nearest]).all(axis=1))[0])
        path = np.concatenate([path[: at + 1], newest[start:], newest[: start + 1], path[at:]])
        waiting, ring_of, anchors, distances = (array[~joined] for array in (waiting, ring_of, anchors, distances))
    return path


def _corners(middles: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Corners of a ring of pixel edges, moved ``INSET`` into the mask.

    Args:
        middles: (n, 2) (x, y) of the middles of the edges between a pixel of the mask and one outside, in order.
        mask: (H, W) with a frame of False.
    """
    following = np.roll(middles, -1, axis=0)
    upright = middles[:, 0] == np.floor(middles[:, 0])  # of edges between left and right: x is whole, y is not
    turns = upright != np.roll(upright, -1)
    from_upright = upright[turns][:, None]
    on_upright = np.where(from_upright, middles[turns], following[turns])
    on_level = np.where(from_upright, following[turns], middles[turns])
    right = mask[on_upright[:, 1].astype(int), on_upright[:, 0].astype(int)]  # whether the mask lies right of the edge
    below = mask[on_level[:, 1].astype(int), on_level[:, 0].astype(int)]
    x = on_upright[:, 0] + np.where(right, INSET, -INSET)
    y = on_level[:, 1] + np.where(below, INSET, -INSET)
    return np.stack([x, y], axis=1)


def _area(ring: np.ndarray) -> float:
    """Signed area of a polygon (Gauss's shoelace formula)."""
    x, y = ring.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _file_names(images: Sequence[ExportImage]) -> dict[str, str | None]:
    """The json files, each with the split it holds; None is all."""
    splits = split_names(images, "")
    names = sorted({splits[image.number] for image in images if image.split})
    files: dict[str, str | None] = {ALL: None, "polygons/instances.json": None}
    for folder in ("splits", "polygons"):
        files.update({f"{folder}/instances_{name}.json": name for name in names})
    return files


def _place(image: ExportImage, placed: PlacedPhoto | None, out: Path, mode: PhotoMode | None) -> dict[str, Any]:
    if placed is not None and mode is not None:
        place_photo(placed, out / "images" / placed.name, mode)
    return {
        "id": image.number,
        "file_name": image.file_name if placed is None else placed.name,
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


def _select(
    entries: list[dict[str, Any]], annotations: list[dict[str, Any]], split: str | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    if split is None:
        return entries, annotations
    chosen = [entry for entry in entries if entry["split"] == split]
    numbers = {entry["id"] for entry in chosen}
    return chosen, [annotation for annotation in annotations if annotation["image_id"] in numbers]


def _write(path: Path, content: tuple[list[dict[str, Any]], list[dict[str, Any]]], names: Sequence[str]) -> None:
    images, annotations = content
    categories = [{"id": number, "name": name, "supercategory": "object"} for number, name in enumerate(names, start=1)]
    coco = {
        "info": {"description": f"Unsupervised object masks, by maskdistill {__version__}", "version": __version__},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    write_atomically(path, json.dumps(coco, separators=(",", ":"), allow_nan=False))
