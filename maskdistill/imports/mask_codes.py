"""Given masks as run-length codes of their photo: checked, turned upright, empty and repeated ones left out."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from maskdistill.datasets import Photo
from maskdistill.datasets.coco_masks import (
    AnnotationError,
    check_total,
    code_size,
    compress,
    decode_counts,
    paint_runs,
    short_text,
    unwrap,
)
from maskdistill.datasets.coco_truth import Frame
from maskdistill.datasets.images import turn_upright
from maskdistill.imports.records import GivenMask, Losses, as_score
from maskdistill.masks import encode_mask

EMPTY, REPEATED = "that cover no pixel", "that are in the file twice"
SAME_MASK = 0.75  # IoU from which a mask that was imported again is the same


@dataclass
class CodedMask:
    """A mask of a photo."""

    counts: str  # COCO's compressed run lengths at the photo's size
    name: str
    category: str
    score: float | None
    place: int = 0  # among the photo's masks


def code_masks(photo: Photo, given: Iterable[GivenMask], losses: Losses) -> list[CodedMask]:
    """The masks of a photo that can be used, in the order given.

    Raises:
        DatasetError: If their file cannot be read.
    """
    coded: list[CodedMask] = []
    frames: dict[tuple[int, int] | None, Frame | AnnotationError] = {}
    for item in given:
        try:
            counts = _counts_of(item, photo, _frame(frames, item.size, photo))
        except AnnotationError as error:
            losses.add(f"refused: {error.kind}", f"{photo.id}, {short_text(item.name)}: {error.detail}")
            continue
        coded.append(CodedMask(counts, str(item.name)[:80], item.category, as_score(item.score)))
    return _sound(photo, coded, losses)


def keep_places(old: dict[int, str], new: list[CodedMask], size: tuple[int, int]) -> list[CodedMask]:
    """Give masks their places, rising: those that were there before keep theirs, so that their ids stay.

    Args:
        old: Place -> counts of the photo's masks before.
        new: Its masks now, best first.
        size: height, width.
    """
    free = dict(enumerate(new))
    taken: dict[int, CodedMask] = {}
    places = sorted(old)
    if places and new:
        codes = [[{"size": list(size), "counts": text} for text in texts] for texts in _texts(old, new)]
        overlap = np.asarray(coco_mask.iou(codes[0], codes[1], [0] * len(codes[1])))
        for flat in np.argsort(-overlap, axis=None, kind="stable").tolist():
            row, column = divmod(flat, overlap.shape[1])
            if overlap[row, column] < SAME_MASK:
                break
            if row in free and places[column] not in taken:
                taken[places[column]] = free.pop(row)
    unused = (place for place in range(len(old) + len(new) + 1000) if place not in taken)
    # Without ``list`` the places that are being given would be looked at while they change.
    for place, mask in list(zip(list(_first(unused, len(free))), free.values(), strict=True)):
        taken[place] = mask
    for place, mask in taken.items():
        mask.place = place
    return [taken[place] for place in sorted(taken)]


def _first(values: Iterable[int], number: int) -> Iterable[int]:
    return (value for value, _ in zip(values, range(number), strict=False))


def _texts(old: dict[int, str], new: list[CodedMask]) -> tuple[list[str], list[str]]:
    return [mask.counts for mask in new], [old[place] for place in sorted(old)]


def _frame(
    frames: dict[tuple[int, int] | None, Frame | AnnotationError], size: tuple[int, int] | None, photo: Photo
) -> Frame:
    """The pixels that masks were made on; raises ``AnnotationError`` where they are not the photo's."""
    if size not in frames:
        try:
            frames[size] = Frame(size, photo)
        except AnnotationError as error:
            frames[size] = error
    found = frames[size]
    if isinstance(found, AnnotationError):
        raise found
    return found


def _counts_of(item: GivenMask, photo: Photo, frame: Frame) -> str:
    if isinstance(item.shape, np.ndarray):
        orientation = frame.orientation_of(item.shape.shape[:2])
        return encode_mask(turn_upright(item.shape, orientation))["counts"]
    segmentation = unwrap(item.shape)
    height, width = code_size(segmentation) if isinstance(segmentation, dict) else frame.size_of_polygons
    orientation = frame.orientation_of((height, width))
    text = compress(segmentation, height, width)
    if orientation == 1:
        return text
    counts, _, totals = decode_counts([text])
    check_total(int(totals[0]), height, width)
    return encode_mask(turn_upright(paint_runs(counts, height, width), orientation))["counts"]


def _sound(photo: Photo, coded: list[CodedMask], losses: Losses) -> list[CodedMask]:
    """Those whose codes add up and that cover a pixel, each once."""
    if not coded:
        return []
    counts, bounds, totals = decode_counts([mask.counts for mask in coded])
    on = np.concatenate([[0], np.cumsum(np.where(_is_odd(bounds), counts, 0))])
    areas = np.diff(on[bounds])
    kept: dict[str, CodedMask] = {}
    for mask, total, area in zip(coded, totals.tolist(), areas.tolist(), strict=True):
        where = f"{photo.id}, {mask.name}"
        try:
            check_total(total, photo.height, photo.width)
        except AnnotationError as error:
            losses.add(f"refused: {error.kind}", f"{where}: {error.detail}")
            continue
        if area == 0:
            losses.add(EMPTY, where)
        elif mask.counts in kept:
            losses.add(REPEATED, where)
        else:
            kept[mask.counts] = mask
    return list(kept.values())


def _is_odd(bounds: np.ndarray) -> np.ndarray:
    """(M,) bool: whether each run is at an odd place of its own code, so that its pixels are on."""
    return (np.arange(bounds[-1]) - np.repeat(bounds[:-1], np.diff(bounds))) % 2 == 1
