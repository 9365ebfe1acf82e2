"""Masks in json as COCO, detectors and Segment Anything write it: data sets, bare lists of results, a file a photo."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from maskdistill.datasets import Photo
from maskdistill.datasets.coco_content import CocoImage, read_categories, read_images
from maskdistill.datasets.coco_json import Ids, Tally, load_json, objects_of, plain_id
from maskdistill.datasets.coco_masks import short_text
from maskdistill.datasets.records import LeftOut
from maskdistill.errors import DatasetError
from maskdistill.imports.records import GivenMask, GivenPhoto, Losses, as_category, as_score

SCORES = ("score", "confidence", "predicted_iou")  # a mask's own, by the names that tools give it
NO_MASK = "without a shape: only a box, points or a caption"
CROWD = "of many objects together (iscrowd)"
NO_PHOTO = "of a photo that their file does not name"
_TRUE = (1, "1")  # True is equal to 1
Item = dict[str, Any]


class ImageIds:
    """What the ids of images and categories stand for, as COCO files beside those of the masks say."""

    def __init__(self, jsons: Sequence[Path] = ()) -> None:
        self.known = bool(jsons)
        self._images: list[Ids[CocoImage]] = []
        self._categories: list[Ids[str | None]] = []
        for path in jsons:
            content, tally = load_json(path), Tally(path)
            self._images.append(read_images(path, content["images"], tally)[1])
            self._categories.append(read_categories(objects_of(content, "categories", tally), tally)[1])

    def photo(self, key: int | str) -> str | None:
        """The name of the file with this id; None if there is none, or several."""
        names = {image.file_name for images in self._images for image in images.find(key)[0]}
        return names.pop() if len(names) == 1 else None

    def category(self, given: object) -> str | None:
        """The name of a category; None if none is known, or several."""
        names = {name for categories in self._categories for name in categories.find(given)[0]}
        return (names.pop() or "") if len(names) == 1 else None


def read_dataset(path: Path, content: Item, losses: Losses) -> tuple[list[GivenPhoto], list[LeftOut]]:
    """A COCO data set: its images with their annotations, and notes on what of it means nothing.

    Args:
        path: The file.
        content: What it holds, with a list ``images``.
        losses: Gets the masks that are left out.
    """
    tally = Tally(path)
    images, by_id = read_images(path, content["images"], tally)
    by_category: Ids[str | None] = Ids()
    if content.get("categories") not in (None, []):
        by_category = read_categories(objects_of(content, "categories", tally), tally)[1]
    items: dict[int, list[GivenMask]] = defaultdict(list)
    places = {id(image): place for place, image in enumerate(images)}
    for place, item in enumerate(objects_of(content, "annotations", tally), start=1):
        found, _ = by_id.find(item.get("image_id"))
        name = _name(item, place)
        if len(found) != 1:
            losses.add("of an image id that stands for several photos" if found else NO_PHOTO, f"annotation {name}")
            continue
        (image,) = found
        names, _ = by_category.find(item.get("category_id"))
        category = next(iter(names)) if len(names) == 1 else as_category(item.get("category_id"))
        if mask := _mask(item, name, category or "", image.size, losses):
            items[places[id(image)]].append(mask)
    known = _known_ids(content["images"])
    given = [
        GivenPhoto(
            (image.file_name,), path, partial(_give, items[place]), known.get(image.file_name, ""), len(items[place])
        )
        for place, image in enumerate(images)
        if place in items
    ]
    return given, tally.notes()


def read_results(path: Path, content: Sequence[object], ids: ImageIds, losses: Losses) -> list[GivenPhoto]:
    """A bare list of results, as detectors write them for COCO's evaluation: each names its image by id.

    Args:
        path: The file.
        content: What it holds.
        ids: What the ids stand for. Where nothing says so, an id is taken for the name of the photo.
        losses: Gets the masks that are left out.
    """
    items: dict[int | str, list[GivenMask]] = defaultdict(list)
    kinds: dict[object, None] = {}
    for place, item in enumerate(content, start=1):
        if type(item) is not dict:
            losses.add("that are no objects of json", f"place {place}: {short_text(item)}")
            continue
        key, name = plain_id(item.get("image_id")), _name(item, place)
        if key is None:
            losses.add(NO_PHOTO, f"result {name}")
            continue
        kinds[plain_id(item.get("category_id"))] = None
        category = ids.category(item.get("category_id"))
        category = as_category(item.get("category_id")) if category is None else category
        if mask := _mask(item, name, category, None, losses):
            items[key].append(mask)
    plain = len(kinds) == 1 and ids.category(next(iter(kinds))) is None  # one number without a name says nothing
    return [
        GivenPhoto(
            tuple(_spellings(key, ids)),
            path,
            partial(_give, [mask._replace(category="") for mask in masks] if plain else masks),
            num_masks=len(masks),
        )
        for key, masks in items.items()
    ]


def read_photo_file(path: Path, content: Item | Sequence[object], losses: Losses) -> GivenPhoto | None:
    """The masks of one photo in a file of its own, as Segment Anything writes them; None if it has none.

    Args:
        path: The file, named after the photo where it does not name it itself.
        content: ``{"image": …, "annotations": …}`` as in SA-1B, or a list of masks.
        losses: Gets the masks that are left out.
    """
    about = content.get("image") if type(content) is dict else None
    about = about if type(about) is dict else {}
    listed: Any = content.get("annotations") if type(content) is dict else content
    masks = []
    for place, item in enumerate(listed if type(listed) in (list, tuple) else (), start=1):
        if type(item) is not dict:
            losses.add("that are no objects of json", f"{path.name}: {short_text(item)}")
        elif mask := _mask(item, _name(item, place), as_category(item.get("category")), _size(about), losses):
            masks.append(mask)
    name = about.get("file_name")
    names = (name, path.name) if type(name) is str and name else (path.name,)
    return GivenPhoto(names, path, partial(_give, masks), num_masks=len(masks)) if masks else None


def is_results(content: object) -> bool:
    """Whether this is a list of which an entry names an image by id."""
    return type(content) is list and any(type(item) is dict and "image_id" in item for item in content[:100])


def is_photo_file(content: object) -> bool:
    """Whether this is a file of one photo's masks."""
    if type(content) is dict:
        return type(content.get("image")) is dict and type(content.get("annotations")) is list
    return type(content) is list and any(type(item) is dict and "segmentation" in item for item in content[:100])


def _give(masks: list[GivenMask], _photo: Photo) -> Iterable[GivenMask]:
    return masks


def _name(item: Item, place: int) -> int | str:
    key = plain_id(item.get("id"))
    return f"at place {place}" if key is None else key


def _mask(item: Item, name: int | str, category: str, size: tuple[int, int] | None, losses: Losses) -> GivenMask | None:
    shape: Any = item.get("segmentation")
    crowd = item.get("iscrowd")
    if type(shape) not in (list, dict) or shape in ([], [[]], {}):
        losses.add(NO_MASK, f"annotation {name}")
        return None
    if type(crowd) not in (list, dict) and crowd in _TRUE:
        if losses.leave_crowds:
            losses.add(CROWD, f"annotation {name}")
            return None
        losses.num_crowds += 1
    score = next((found for field in SCORES if (found := as_score(item.get(field))) is not None), None)
    return GivenMask(shape, name, category, score, size)


def _size(about: Item) -> tuple[int, int] | None:
    height, width = (plain_id(about.get(name)) for name in ("height", "width"))
    return (height, width) if type(height) is int and type(width) is int and height > 0 and width > 0 else None


def _known_ids(entries: Iterable[object]) -> dict[str, str]:
    """By file name the ids of photos that our own exports add."""
    items = (item for item in entries if type(item) is dict and type(item.get("file_name")) is str)
    return {item["file_name"]: item["photo_id"] for item in items if type(item.get("photo_id")) is str}


def _spellings(key: int | str, ids: ImageIds) -> Iterator[str]:
    if name := ids.photo(key):
        yield name
    elif not ids.known:
        yield str(key)
        if type(key) is int and 0 <= key < 10**12:  # COCO names its photos by their ids
            yield f"{key:012d}"
            yield from (f"COCO_{part}2014_{key:012d}" for part in ("train", "val"))


def require_known(ids: ImageIds, path: Path) -> DatasetError:
    """The error for results none of whose ids mean a photo."""
    what = "stands in the COCO file that says which photo is which" if ids.known else "is the name of a photo"
    return DatasetError(
        f"No image_id of {path} {what}. Give the COCO file that the results were made for, with --images."
    )
