"""What COCO files say: images, classes and annotations that belong together, and a note on all that does not."""

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from maskdistill.datasets.coco_json import Ids, Tally, load_json, objects_of, plain_id
from maskdistill.datasets.coco_masks import AnnotationError, has_thin_pieces, short_text
from maskdistill.datasets.records import LeftOut
from maskdistill.datasets.scanning import unique_ids
from maskdistill.datasets.voc_classes import BACKGROUND_NAMES
from maskdistill.errors import DatasetError

_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_CROWD = {0: False, 1: True, None: False, "0": False, "1": True}  # True and 1.0 are equal to 1


class Annotation(NamedTuple):
    """An annotation with a mask, of a class that is not background."""

    name: int | str  # for messages: its id, or its place in the file
    class_name: str
    is_crowd: bool
    segmentation: Any


@dataclass(eq=False)
class CocoImage:
    """One image of a file."""

    json_path: Path
    file_name: str
    size: tuple[int, int] | None  # (height, width) in pixels as the file says, if it does
    split: str | None
    photo_id: str = ""
    annotations: list[Annotation] = field(default_factory=list)
    problem: AnnotationError | None = None  # why its ground truth cannot be used, as far as the file alone shows


class CocoContent(NamedTuple):
    """What some files say together."""

    images: list[CocoImage]
    classes: tuple[str, ...]  # names without background
    used: frozenset[str]  # those that an annotation with a mask has
    skipped: list[LeftOut]


def read_coco(jsons: Sequence[Path]) -> CocoContent:
    """What the files say together; one that cannot be used is left out with a note.

    Raises:
        DatasetError: If none can be used.
    """
    images: list[CocoImage] = []
    classes: dict[str, None] = {}
    used: set[str] = set()
    skipped: list[LeftOut] = []
    problems: list[DatasetError] = []
    for path in jsons:
        tally = Tally(path)
        try:
            content = load_json(path)
        except DatasetError as error:
            problems.append(error)
            skipped.append(LeftOut(path, str(error), "label"))
            continue
        found, by_id = read_images(path, content["images"], tally)
        names, by_category = read_categories(objects_of(content, "categories", tally), tally)
        used |= _read_annotations(objects_of(content, "annotations", tally), by_id, by_category, tally)
        if type(content.get("annotations")) is not list:  # beside other files these would be photos of nothing
            for image in found:
                image.problem = AnnotationError("its file has no list 'annotations'", path.name)
        images += found
        classes.update(dict.fromkeys(names))
        skipped += tally.notes()
    if problems and len(problems) == len(jsons):
        raise problems[0]
    _set_photo_ids(images)
    return CocoContent(images, tuple(classes), frozenset(used), skipped)


def name_parts(file_name: str) -> list[str]:
    """The parts of a path that any system may have written, without root and ``.``."""
    return [part for part in file_name.replace("\\", "/").split("/") if part not in ("", ".")]


def read_images(path: Path, entries: list[Any], tally: Tally) -> tuple[list[CocoImage], Ids[CocoImage]]:
    """The images of a file in its order, and by their ids."""
    by_name: dict[tuple[str, ...], CocoImage] = {}
    by_id: Ids[CocoImage] = Ids()
    split = _split_of(path)
    for item in entries:
        known = item if type(item) is dict else {}
        name, key = _name_of(known), plain_id(known.get("id"))
        parts = tuple(name_parts(name)) if type(name) is str else ()
        if set(parts) <= {".."} or key is None:
            tally.add("{n} entries of 'images' have no id or no file_name and are left out.", _entry_text(item))
            continue
        if parts in by_name:
            tally.add("{n} entries of 'images' name a photo again; their annotations are put together.", repr(name))
        else:
            by_name[parts] = CocoImage(path, name, _read_size(known, tally), split or _given_split(known))
        if len(by_id.add(key, by_name[parts])) > 1:
            tally.add("{n} photos have the id of another; annotations of this id are left out.", repr(name))
    return list(by_name.values()), by_id


def _name_of(item: dict[str, Any]) -> Any:
    """Of LVIS, which gives the address alone, its last folder and name."""
    name, address = item.get("file_name"), item.get("coco_url")
    return "/".join(name_parts(address)[-2:]) if name is None and type(address) is str else name


def _entry_text(item: object) -> str:
    """The fields of an entry that matter, of any kind."""
    if type(item) is not dict:
        return short_text(item)
    return ", ".join(f"{name} {short_text(item.get(name))}" for name in ("id", "file_name"))


def _read_size(item: dict[str, Any], tally: Tally) -> tuple[int, int] | None:
    given = item.get("height"), item.get("width")
    height, width = (plain_id(value) for value in given)
    if type(height) is int and type(width) is int and height > 0 and width > 0:
        return height, width
    if any(value not in (None, 0) for value in given):
        text = f"{_entry_text(item)}: height {short_text(given[0])}, width {short_text(given[1])}"
        tally.add("{n} entries of 'images' have a height or width that is no whole number of pixels.", text)
    return None


def _split_of(path: Path) -> str | None:
    """By the file's name, else by its folder's."""
    found = next((name for name in ("train", "val", "test") if name in path.stem.lower()), None)
    return found or _SPLITS.get(path.parent.name.lower().rstrip("0123456789"))


def _given_split(item: dict[str, Any]) -> str | None:
    """As our own exports write it."""
    given = item.get("split")
    if type(given) is not str or not re.fullmatch(r"[\w-]{1,40}", given):
        return None
    return _SPLITS.get(given.lower(), given)


def read_categories(items: list[dict[str, Any]], tally: Tally) -> tuple[list[str], Ids[str | None]]:
    """The classes in the file's order, and what each id stands for: a class, or None for background."""
    by_id: Ids[str | None] = Ids()
    names = []
    for item in items:
        key, name = plain_id(item.get("id")), item.get("name")
        if key is None:
            tally.add("{n} categories have no id and are left out.", short_text(name))
            continue
        text = name if type(name) is str and name.strip() else short_text(name if type(name) in (int, float) else key)
        text = text.encode("utf-8", "backslashreplace").decode()
        is_background = text.strip().lower() in BACKGROUND_NAMES
        if len(by_id.add(key, None if is_background else text)) > 1:
            tally.add("{n} categories have the id of another.", f"{short_text(key)} is also {text!r}")
        if not is_background:
            names.append(text)
    return names, by_id


def _read_annotations(
    items: list[dict[str, Any]], by_id: Ids[CocoImage], by_category: Ids[str | None], tally: Tally
) -> set[str]:
    """Give each image its annotations, and return the classes that they have."""
    seen: set[int | str] = set()
    used: set[str] = set()
    for place, item in enumerate(items, start=1):
        key = plain_id(item.get("id"))
        name = f"at place {place}" if key is None else key
        if key in seen:
            tally.add("{n} annotations have the id of another; all are used.", short_text(key))
        elif key is not None:
            seen.add(key)
        images, as_given = by_id.find(item.get("image_id"))
        image = next(iter(images), None)
        if image is None:
            example = f"annotation {name} is of photo {short_text(item.get('image_id'))}"
            tally.add("{n} annotations belong to no photo of the file and are left out.", example)
        elif not _has_mask(item.get("segmentation")):
            tally.add("{n} annotations have no mask, only a box, points or a caption, and are left out.", f"{name}")
        elif len(images) > 1:
            _mark_clash(images, name)
        else:
            if not as_given:
                tally.add(
                    "{n} annotations have the id of their photo as text instead of number, or the reverse.", f"{name}"
                )
            used |= _add_annotation(image, item, name, by_category, tally)
    return used


def _has_mask(segmentation: object) -> bool:
    return segmentation is not None and segmentation != [] and segmentation != [[]]


def _mark_clash(images: dict[CocoImage, None], name: int | str) -> None:
    if all(image.problem is not None for image in itertools.islice(images, 2)):  # done for an earlier annotation
        return
    first, second = itertools.islice(images, 2)
    for image in images:
        detail = f"{first.file_name!r} and {second.file_name!r}"
        image.problem = image.problem or AnnotationError("one id stands for several photos", detail, name)


def _add_annotation(
    image: CocoImage, item: dict[str, Any], name: int | str, by_category: Ids[str | None], tally: Tally
) -> set[str]:
    """The class of the annotation, or none if it cannot be used or is of a background class."""
    given, crowd = item.get("category_id"), item.get("iscrowd")
    names, as_given = by_category.find(given)
    if len(names) != 1:
        kind = "the category's id stands for several" if names else "the category is not in the file"
        image.problem = image.problem or AnnotationError(kind, short_text(given), name)
        return set()
    if type(crowd) in (list, dict) or crowd not in _CROWD:
        image.problem = image.problem or AnnotationError("iscrowd is neither 0 nor 1", short_text(crowd), name)
        return set()
    if not as_given:
        tally.add("{n} annotations spell the id of their category as text, or the reverse.", f"{name}")
    (class_name,) = names
    if class_name is None:
        return set()
    if has_thin_pieces(item["segmentation"]):
        tally.add("{n} polygons have pieces of less than three points, of which nothing is drawn.", f"{name}")
    image.annotations.append(Annotation(name, class_name, _CROWD[crowd], item["segmentation"]))
    return {class_name}


def _set_photo_ids(images: list[CocoImage]) -> None:
    """File name without suffix; where two files name the same picture, with what distinguishes the files before it."""
    names = ["/".join(part for part in name_parts(image.file_name) if part != "..") for image in images]
    labels = _labels_of(list(dict.fromkeys(image.json_path for image in images)))
    counts, taken = Counter(names), Counter[str]()
    for number, image in enumerate(images):
        if counts[names[number]] > 1:
            names[number] = f"{labels[image.json_path]}/{names[number]}"
    for image, id in zip(images, unique_ids(names), strict=True):
        taken[id] += 1
        image.photo_id = id if taken[id] == 1 else f"{id} ({taken[id]})"


def _labels_of(jsons: list[Path]) -> dict[Path, str]:
    """A short name for each file: its own, or its folder's, or both."""
    for found in ({path: path.stem for path in jsons}, {path: path.parent.name for path in jsons}):
        if len(set(found.values())) == len(jsons):
            return found
    return {path: f"{path.parent.name}/{path.stem}" for path in jsons}
