"""Masks of a data set that FiftyOne exported in its own form: ``samples.json`` with labels of every kind."""

import base64
import binascii
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskdistill.datasets import Photo
from maskdistill.datasets.coco_json import load_any_json
from maskdistill.datasets.coco_masks import AnnotationError, short_text
from maskdistill.datasets.label_files import load_label
from maskdistill.errors import DatasetError
from maskdistill.imports.coco_files import NO_MASK
from maskdistill.imports.records import GivenMask, GivenPhoto, Losses, as_category, as_score
from maskdistill.roots import is_inside

_REMEDY = "Export the data set from FiftyOne again."
_MOST_BYTES = 2**30  # of one mask once it is unpacked
_MAX_DEPTH = 6  # of fields in one another
Item = dict[str, Any]


def is_fiftyone(root: Path) -> bool:
    """Whether a folder is an export of FiftyOne's own kind."""
    return (root / "samples.json").is_file() or ((root / "samples").is_dir() and (root / "metadata.json").is_file())


def read_fiftyone(root: Path, losses: Losses) -> list[GivenPhoto]:
    """The samples of an export, each with the masks of all its fields: detections, polylines, segmentations.

    Args:
        root: The folder of the export.
        losses: Gets the masks that are left out.

    Raises:
        DatasetError: If its files cannot be read.
    """
    files = [root / "samples.json"] if (root / "samples.json").is_file() else sorted((root / "samples").glob("*.json"))
    given = []
    for path in files:
        content = load_any_json(path, _REMEDY)
        samples = content.get("samples") if type(content) is dict else content
        if type(content) is dict and "filepath" in content:  # a file a sample
            samples = [content]
        if type(samples) is not list:
            raise DatasetError(f"{path} is no list of FiftyOne's samples. {_REMEDY}")
        for sample in samples:
            if type(sample) is not dict or type(sample.get("filepath")) is not str:
                losses.add("of samples without a filepath", short_text(sample))
                continue
            labels = list(_labels_of(sample))
            if labels:
                load = partial(_read_sample, root, labels, losses)
                given.append(GivenPhoto((sample["filepath"],), path, load, num_masks=len(labels)))
    return given


def _labels_of(value: object, depth: int = 0) -> Iterator[Item]:
    """The labels that may have a mask, in whatever field they are."""
    if depth > _MAX_DEPTH:
        return
    if type(value) is list:
        for item in value:
            yield from _labels_of(item, depth + 1)
    elif type(value) is dict:
        if value.get("_cls") in ("Detection", "Polyline", "Segmentation"):
            yield value
            return
        for item in value.values():
            if type(item) in (list, dict):
                yield from _labels_of(item, depth + 1)


def _read_sample(root: Path, labels: Sequence[Item], losses: Losses, photo: Photo) -> Iterator[GivenMask]:
    for place, label in enumerate(labels, start=1):
        key = label.get("_id")
        name = str(key.get("$oid", place)) if type(key) is dict else f"at place {place}"
        category, score = as_category(label.get("label")), as_score(label.get("confidence"))
        if label["_cls"] == "Polyline":
            if shape := _outline(label, photo, name):
                yield GivenMask(shape, name, category, score)
            else:
                losses.add(NO_MASK, f"{photo.id}: {name}")
            continue
        pixels = _pixels(root, label, name)
        if pixels is None:
            losses.add(NO_MASK, f"{photo.id}: {name}")
        elif label["_cls"] == "Segmentation":
            for value in np.unique(pixels).tolist():
                if value:
                    yield GivenMask(pixels == value, f"{name}, {value}", as_category(value), score)
        else:
            yield GivenMask(_place(pixels > 0, label.get("bounding_box"), photo, name), name, category, score)


def _outline(label: Item, photo: Photo, name: str) -> list[list[float]]:
    """Outlines in pixels; those that are open lines are none."""
    if not (label.get("filled") or label.get("closed")):
        return []
    try:
        outlines = [[(float(x) * photo.width, float(y) * photo.height) for x, y in line] for line in label["points"]]
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError("an outline of FiftyOne is no list of points", str(error)[:80], name) from error
    return [[value for point in line for value in point] for line in outlines if len(line) > 2]


def _pixels(root: Path, label: Item, name: str) -> np.ndarray | None:
    """(H, W) of what the label holds, or of the picture that it names; None if it has no mask."""
    mask, path = label.get("mask"), label.get("mask_path")
    if type(mask) is dict and type(mask.get("$binary")) is dict:
        return _unpack(mask["$binary"].get("base64"), name)
    if type(mask) is dict and type(mask.get("$binary")) is str:
        return _unpack(mask["$binary"], name)
    if type(mask) is str:
        return _unpack(mask, name)
    if type(path) is not str or not path:
        return None
    file = root / re.sub(r"^([A-Za-z]:)?[/\\]+", "", path).replace("\\", "/")
    if ".." in file.parts or not is_inside(file):
        raise AnnotationError("a picture of a mask lies outside of the export", path[:80], name)
    pixels = load_label(file).pixels
    return pixels if pixels.ndim == 2 else pixels.max(axis=2)


def _unpack(text: object, name: str) -> np.ndarray:
    """An array as FiftyOne stores it: numpy's own file, packed by zlib, as base64."""
    try:
        packed = base64.b64decode(text, validate=False) if type(text) is str else b""
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(packed, _MOST_BYTES)
        array = np.asarray(np.load(io.BytesIO(raw), allow_pickle=False))
    except (binascii.Error, zlib.error, ValueError, OSError, EOFError, MemoryError) as error:
        raise AnnotationError("a mask of FiftyOne cannot be unpacked", str(error)[:80], name) from error
    if array.ndim not in (2, 3) or not array.size or array.dtype.kind not in "buif":
        raise AnnotationError("a mask of FiftyOne is no picture", f"{array.dtype}, shape {array.shape}", name)
    return array if array.ndim == 2 else array.max(axis=2)


def _place(mask: np.ndarray, box: Any, photo: Photo, name: str) -> np.ndarray:
    """A mask inside its box, in the whole photo; made larger or smaller where it was drawn at another size.

    Args:
        mask: (h, w) bool.
        box: x, y, width, height in fractions of the photo.
        photo: The photo.
        name: For messages.
    """
    try:
        x, y, width, height = (float(value) for value in box)
        left, top = round(x * photo.width), round(y * photo.height)
        wide, high = max(1, round(width * photo.width)), max(1, round(height * photo.height))
    except (TypeError, ValueError, OverflowError) as error:
        raise AnnotationError("a box of FiftyOne is not four numbers", short_text(box), name) from error
    if not (-1 <= x <= 2 and -1 <= y <= 2 and 0 < width <= 2 and 0 < height <= 2):
        raise AnnotationError("a box of FiftyOne lies outside of the photo", short_text(box), name)
    if abs(mask.shape[0] - high) <= 1 and abs(mask.shape[1] - wide) <= 1:  # rounded otherwise: the mask is right
        high, wide = mask.shape
    else:
        scaled = Image.fromarray(mask.astype(np.uint8)).resize((wide, high), Image.Resampling.NEAREST)
        mask = np.asarray(scaled) > 0
    whole = np.zeros((photo.height, photo.width), bool)
    first_row, first_col = max(0, top), max(0, left)
    part = mask[first_row - top :, first_col - left :][: photo.height - first_row, : photo.width - first_col]
    whole[first_row : first_row + part.shape[0], first_col : first_col + part.shape[1]] = part
    return whole
