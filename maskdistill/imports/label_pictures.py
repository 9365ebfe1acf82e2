"""Masks as PNG: a picture a photo with a number or color for each mask, or a folder a photo with a picture a mask."""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from maskdistill.datasets import Photo
from maskdistill.datasets.coco_content import name_parts
from maskdistill.datasets.coco_json import load_any_json
from maskdistill.datasets.coco_masks import AnnotationError
from maskdistill.datasets.label_files import LABEL_SUFFIXES, VOID, Color, LabelPicture, load_label, voc_colors
from maskdistill.datasets.names import fold_name
from maskdistill.datasets.text_lines import read_lines
from maskdistill.datasets.voc_classes import read_class_names, read_label_map
from maskdistill.errors import DatasetError
from maskdistill.imports.photo_names import PhotoNames
from maskdistill.imports.records import GivenMask, GivenPhoto, as_category, as_score

MOST_VALUES = 4096  # masks in one picture; more are the values of a photo
_SOFT = 100  # values of 8 bits, not from 0 on without a gap, that a mask with smoothed borders has
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_ENDING = re.compile(r"(?i)[_.\- ]?(?:masks?|seg|segmentation|labels?|labelids|instances?|instanceids|gt|\d+)$")
_SCORES = ("predicted_iou", "score", "confidence")


def read_pictures(root: Path, files: Sequence[Path], names: PhotoNames) -> list[GivenPhoto]:
    """The label pictures of a folder.

    A file that is named after a photo holds its masks: white or one value is one mask, each further value or color one
    more, 0 and black background, 255 of other values ignored. A folder that is named after a photo holds a picture for
    each mask; so do several files whose names are the photo's with an ending (``_0``, ``_mask_3``).

    Args:
        root: The folder.
        files: The pictures in it.
        names: Of the photos.
    """
    groups: dict[str, list[Path]] = defaultdict(list)
    shown: dict[str, tuple[str, ...]] = {}
    for path in files:
        found = _names_of(path.relative_to(root).as_posix(), names)
        shown.setdefault(fold_name(found[0]), found)
        groups[fold_name(found[0])].append(path)
    return [
        GivenPhoto(shown[key], paths[0], partial(_read_group, paths, _scores_beside(paths)), num_masks=None)
        for key, paths in groups.items()
    ]


def read_voc(root: Path) -> list[GivenPhoto]:
    """The objects of a VOC folder, or where it does not tell objects apart, the classes of its label pictures."""
    classes = _read_classes(root)
    objects, labels = ({path.stem: path for path in _pictures(root / f"Segmentation{kind}")} for kind in _VOC)
    return [
        GivenPhoto((path.name,), path, partial(_read_voc, path, labels.get(stem), classes, stem in objects))
        for stem, path in (labels | objects).items()
    ]


def is_voc(root: Path) -> bool:
    """Whether a folder has VOC's folders of label pictures."""
    return any(next(iter(_pictures(root / f"Segmentation{kind}")), None) for kind in _VOC)


_VOC = ("Object", "Class")


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in LABEL_SUFFIXES and path.is_file())


class _Classes(NamedTuple):
    """Of a VOC folder."""

    names: dict[int, str]  # by value
    colors: Mapping[Color, int]  # to values, of pictures without a palette

    def named(self, value: str) -> str:
        """The name of a value, or a color, as ``masks_of`` gives it; the text itself where none is known."""
        code = None if value.isdecimal() else int(value.removeprefix("color "), 16)
        color = None if code is None else self.colors.get((code >> 16, code >> 8 & 255, code & 255))
        number = int(value) if code is None else color
        return value if number is None else self.names.get(number, str(number))


def _read_classes(root: Path) -> _Classes:
    label_map = read_label_map(root / "labelmap.txt")
    names = read_class_names(root / "classes.txt").names or label_map.names
    colors = label_map.ids(names) if label_map.colors else voc_colors()
    path = root / "class_id_to_name.json"  # of LightlyStudio
    if not names and path.is_file():
        content = load_any_json(path, "Export the label pictures again.")
        items = content.items() if type(content) is dict else ()
        return _Classes({int(number): as_category(name) for number, name in items if number.isdecimal()}, colors)
    return _Classes(dict(enumerate(names, start=1)), colors)


def _names_of(name: str, names: PhotoNames) -> tuple[str, ...]:
    """The name that fits a photo: the file's, that without an ending, or its folder's; else the file's."""
    parts = name_parts(name)
    stem, folder = parts[-1].rpartition(".")[0], "/".join(parts[:-1])
    short = _ENDING.sub("", stem)
    tries = [name, "/".join([*parts[:-1], f"{short}.png"]), "/".join([*parts[:-1], f"{_ENDING.sub('', short)}.png"])]
    tries += [folder, _ENDING.sub("", folder)] if folder else []
    if folder and re.fullmatch(r"(?i)(?:mask|seg|instance|object)?[_-]?\d+", stem):  # 0.png of a folder is no photo 0
        tries = [folder, *tries]
    fitting = next((text for text in tries if text and not isinstance(names.find([text]), str)), None)
    return (fitting or name,)


def _scores_beside(paths: Sequence[Path]) -> dict[str, float]:
    """File name without suffix -> score, from ``metadata.csv`` as Segment Anything writes it beside its pictures."""
    path = paths[0].with_name("metadata.csv")
    if not path.is_file():
        return {}
    rows = csv.DictReader(io.StringIO("\n".join(read_lines(path).lines)))
    found = {}
    for row in rows:
        value = next((row[name] for name in _SCORES if row.get(name)), None)
        try:
            score = as_score(float(value)) if value is not None else None
        except ValueError:
            continue
        if row.get("id") and score is not None:
            found[row["id"]] = score
    return found


def _read_group(paths: Sequence[Path], scores: dict[str, float], _photo: Photo) -> Iterator[GivenMask]:
    for path in paths:
        masks = list(masks_of(load_label(path)))
        for value, mask in masks:
            name = path.name if len(paths) > 1 or len(masks) == 1 else f"{path.name}, {value}"
            yield GivenMask(mask, name, "", scores.get(path.stem))


def masks_of(picture: LabelPicture) -> Iterator[tuple[str, np.ndarray]]:
    """Each mask of a picture: its value or color as text, (H, W) bool.

    Raises:
        AnnotationError: If there are so many values that it is no label picture.
    """
    if picture.pixels.ndim == 3:
        codes = picture.pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
        used = np.unique(codes)
        _check(picture.path, used, smooth=len(used) > MOST_VALUES)
        skipped = {_code(_BLACK)}
        if len(used) > 2:  # beside others, light grey is VOC's outline
            skipped.add(_code(VOID))
        yield from ((f"color {code:06x}", codes == code) for code in used.tolist() if code not in skipped)
        return
    used = picture.used
    is_bytes = picture.pixels.dtype == np.uint8
    gaps = len(used) > _SOFT and int(used[-1]) - int(used[0]) >= len(used) + 1 and is_bytes
    _check(picture.path, used, smooth=gaps or len(used) > MOST_VALUES)
    values = [value for value in used.tolist() if value]
    ignored: tuple[int, ...]
    if picture.palette is not None:
        white = len(picture.palette) > 255 and tuple(picture.palette[255].tolist()) == _WHITE
        ignored = () if white and values == [255] else (255,)
    else:
        ignored = (255, 65535) if len(values) > 1 else ()
    yield from ((str(value), picture.pixels == value) for value in values if value not in ignored)


def _check(path: Path, used: np.ndarray, *, smooth: bool) -> None:
    if smooth:
        detail = f"{path.name} holds {len(used):,} values: a photo, or borders that were smoothed"
        raise AnnotationError("a picture is no label picture", detail)


def _code(color: tuple[int, int, int]) -> int:
    return color[0] << 16 | color[1] << 8 | color[2]


def _read_voc(
    path: Path, labels: Path | None, classes: _Classes, is_object: bool, _photo: Photo
) -> Iterator[GivenMask]:
    picture = load_label(path)
    kinds = list(masks_of(load_label(labels))) if is_object and labels is not None else []
    if kinds and kinds[0][1].shape != picture.pixels.shape[:2]:
        raise DatasetError(f"{labels} and {path} are of different sizes.")
    for value, mask in masks_of(picture):
        if is_object:  # of the class that covers most of it
            shares = [(int((mask & other).sum()), kind) for kind, other in kinds]
            share, kind = max(shares, key=lambda pair: pair[0], default=(0, ""))
            category = classes.named(kind) if share else ""
        else:
            category = classes.named(value)
        yield GivenMask(mask, f"{path.name}, {value}", category)
