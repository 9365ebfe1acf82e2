"""A COCO json, or a folder with annotations/*.json."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from pycocotools import mask as coco_mask

from maskdistill.datasets.records import IGNORE_INDEX, LeftOut, Photo, PhotoSource, ProgressCallback
from maskdistill.datasets.scanning import FoundFile, require_photos, scan_photos, unique_ids
from maskdistill.datasets.voc_classes import BACKGROUND_NAMES
from maskdistill.errors import DatasetError

_MAX_CLASSES = 254  # ids 1..254 fit into a uint8 label map beside background and ignore
_SUBFOLDERS = ("", "images", "train2017", "val2017", "test2017", "train2014", "val2014", "train", "val", "test", "data")


@dataclass(frozen=True)
class _Entry:
    """One image of a json file."""

    photo_id: str
    file_name: str
    image_id: int | str
    json_path: Path


def find_jsons(path: Path) -> tuple[Path, ...]:
    """The json files to open for a path: itself, or those in ``annotations``; empty if it is no COCO source.

    Where there are ``instances_*.json`` only these count: captions and keypoints repeat the same images.
    """
    if path.is_file():
        return (path,) if path.suffix.lower() == ".json" else ()
    found = sorted((path / "annotations").glob("*.json"))
    instances = [file for file in found if file.name.startswith("instances")]
    return tuple(instances or found)


def open_coco(path: Path, jsons: tuple[Path, ...], *, on_progress: ProgressCallback | None = None) -> PhotoSource:
    """Photos that the json files name. The split is ``train``, ``val`` or ``test`` if a json's name says so.

    Raises:
        DatasetError: If a json cannot be read or is not COCO's, or if none of its pictures can be used.
    """
    contents = {json_path: _load_json(json_path) for json_path in jsons}
    classes = _class_names(contents)
    entries, skipped = _list_entries(contents)
    candidates, missing = _find_pictures(entries)
    photos, unreadable = scan_photos(candidates, on_progress=on_progress)
    skipped += (*missing, *unreadable)
    require_photos(path, photos, skipped)
    labelled = any(item.get("segmentation") for content in contents.values() for item in _annotations(content))
    has_labels = labelled and 0 < len(classes) <= _MAX_CLASSES
    root = path if path.is_dir() else path.parent
    return PhotoSource("coco", str(path), root, photos, tuple(skipped), classes, has_labels, jsons)


def read_label(source: PhotoSource, photo: Photo) -> np.ndarray | None:
    """Ground truth of a photo, for reporting only.

    Crowd regions are 255; where objects overlap, the smaller one lies on top.

    Returns:
        (height, width) uint8 class ids, 0 background, 255 ignore; None if the source has no masks.

    Raises:
        DatasetError: If a mask is malformed, or made for another size than the photo's.
    """
    if not source.has_labels:
        return None
    stamps = tuple(path.stat().st_mtime_ns for path in source.label_paths)
    annotations = _load_annotations(source.label_paths, stamps).get(photo.id, [])
    numbers = {name: number for number, name in enumerate(source.classes, start=1)}
    label = np.zeros((photo.height, photo.width), np.uint8)
    for annotation in sorted(annotations, key=lambda item: (not item.get("iscrowd", 0), -(item.get("area") or 0))):
        number = IGNORE_INDEX if annotation.get("iscrowd", 0) else numbers.get(annotation["class_name"], 0)
        if number and annotation.get("segmentation"):
            label[_to_mask(annotation["segmentation"], photo)] = number
    return label


class _PictureFinder:
    """Finds the pictures of one json; the folder of the last one is tried first."""

    def __init__(self, json_path: Path) -> None:
        # instances_train2017.json belongs to train2017, where val2017 may hold a picture of the same name.
        own = json_path.stem.split("_", 1)[-1]
        bases = (json_path.parent, json_path.parent.parent)
        first = [base / folder for base in bases for folder in (own, f"images/{own}")]
        usual = [base / folder for base in bases for folder in _SUBFOLDERS]
        nested = [base / "images" / folder for base in bases for folder in _SUBFOLDERS[2:]]
        self._folders = [folder for folder in dict.fromkeys((*first, *usual, *nested)) if folder.is_dir()]

    def find(self, file_name: str) -> Path | None:
        for folder in self._folders:
            if (folder / file_name).is_file():
                self._folders.remove(folder)
                self._folders.insert(0, folder)
                return folder / file_name
        return None


def _find_pictures(entries: list[_Entry]) -> tuple[list[FoundFile], list[LeftOut]]:
    finders = {json_path: _PictureFinder(json_path) for json_path in {entry.json_path for entry in entries}}
    found, missing = [], []
    for entry in entries:
        json_path = entry.json_path
        file = finders[json_path].find(entry.file_name)
        if file is not None:
            found.append(FoundFile(entry.photo_id, file, _split_of(json_path)))
        else:
            reason = f"{json_path.name} names it, but it is not beside the json nor in the usual subfolders; add it."
            missing.append(LeftOut(json_path.parent / entry.file_name, reason))
    return found, missing


def _load_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DatasetError(f"Cannot read {path} as json: {error}. Give a COCO file.") from error
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise DatasetError(
            f"{path} is not a COCO file: it has no list 'images'. Give a COCO file or a folder of photos."
        )
    return content


def _annotations(content: dict) -> list[dict]:
    return [item for item in content.get("annotations") or [] if isinstance(item, dict)]


def _categories(content: dict) -> dict[int | str, str]:
    """Category id -> name, in the file's order, without background."""
    found = [item for item in content.get("categories") or [] if isinstance(item, dict) and "id" in item]
    names = {item["id"]: str(item.get("name", item["id"])) for item in found}
    return {id: name for id, name in names.items() if name.lower() not in BACKGROUND_NAMES}


def _class_names(contents: dict[Path, dict]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for content in contents.values() for name in _categories(content).values()))


def _split_of(json_path: Path) -> str | None:
    return next((name for name in ("train", "val", "test") if name in json_path.stem.lower()), None)


def _list_entries(contents: dict[Path, dict]) -> tuple[list[_Entry], list[LeftOut]]:
    """The images of all files with ids that are unique among them."""
    rows, skipped, seen = [], [], set()
    for json_path, content in contents.items():
        for item in content["images"]:
            name = item.get("file_name") if isinstance(item, dict) else None
            if not name or "id" not in item or (json_path, name) in seen:
                skipped.append(LeftOut(json_path, f"An image without id, without file_name, or repeated: {item}."))
                continue
            seen.add((json_path, name))
            rows.append((json_path, name, item["id"]))
    ids = _photo_ids([(json_path, name) for json_path, name, _ in rows])
    return [
        _Entry(id, name, image_id, json_path) for id, (json_path, name, image_id) in zip(ids, rows, strict=True)
    ], skipped


def _photo_ids(rows: list[tuple[Path, str]]) -> list[str]:
    """File name without suffix; the json's name goes before it where two json files name the same picture."""
    names = [str(PurePosixPath(*_plain_parts(name))) for _, name in rows]
    counts = Counter(names)
    return unique_ids(
        [f"{path.stem}/{name}" if counts[name] > 1 else name for (path, _), name in zip(rows, names, strict=True)]
    )


def _plain_parts(file_name: str) -> Iterator[str]:
    return (part for part in PurePosixPath(file_name.replace("\\", "/")).parts if part not in ("/", ".."))


@lru_cache(maxsize=2)
def _load_annotations(jsons: tuple[Path, ...], stamps: tuple[int, ...]) -> dict[str, list[dict]]:
    """Photo id -> annotations with their class name. Read again on demand: most stages never look at a label.

    Args:
        jsons: The files.
        stamps: Their times of change, so that a changed file is not taken from the cache.
    """
    contents = {path: _load_json(path) for path in jsons}
    entries, _ = _list_entries(contents)
    photo_ids = {(entry.json_path, entry.image_id): entry.photo_id for entry in entries}
    found: dict[str, list[dict]] = {entry.photo_id: [] for entry in entries}
    for path, content in contents.items():
        names = _categories(content)
        for item in _annotations(content):
            photo_id = photo_ids.get((path, item.get("image_id")))
            if photo_id is not None:
                found[photo_id].append(item | {"class_name": names.get(item.get("category_id"), "")})
    return found


def _to_mask(segmentation: list | dict, photo: Photo) -> np.ndarray:
    """Polygons [[x1, y1, x2, y2, ...], ...] in pixels, or RLE, to (height, width) bool."""
    height, width = photo.height, photo.width
    if isinstance(segmentation, dict):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if size != [height, width] or not isinstance(counts, (list, str)):
            raise DatasetError(
                f"A mask of photo {photo.id} is RLE made for (height, width) {size} with counts of type "
                f"{type(counts).__name__}; wanted {[height, width]} and a list or str. Export the annotations anew."
            )
        rle = coco_mask.frPyObjects(segmentation, height, width) if isinstance(counts, list) else segmentation
        return coco_mask.decode(rle).astype(bool)
    polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]  # some tools leave out a level
    polygons = [polygon for polygon in polygons if len(polygon) >= 6]
    if not polygons:
        return np.zeros((height, width), bool)
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))).astype(bool)
