"""The picture of each image that a COCO file names, whatever system wrote the name."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

from maskdistill.datasets.coco_content import CocoImage, name_parts
from maskdistill.datasets.coco_folders import pictures_below
from maskdistill.datasets.names import FileFinder
from maskdistill.datasets.records import LeftOut
from maskdistill.datasets.scanning import FoundFile
from maskdistill.roots import is_inside

_SUBFOLDERS = ("", "images", "train2017", "val2017", "test2017", "train2014", "val2014", "train", "val", "test", "data")
_NUM_TRIED = 20  # images that are looked for in folders of any name before that is given up
_MAX_FOLDERS = 200  # such folders
_MAX_SHORTENED = 10  # parts of a path, from its end, that may be the same here as where it was written

# A picture, and how its name led there: whole or by its last parts alone, and as written or but for case and form.
Place = tuple[Path, tuple[bool, bool]]


def find_pictures(images: Iterable[CocoImage], root: Path | None = None) -> tuple[list[FoundFile], list[LeftOut]]:
    """The picture of each image, and the images without one.

    Args:
        images: Of any files.
        root: The folder that was opened. Nothing is looked for outside of it, of the json's folder and of the folder
            above that, whatever a name says.
    """
    groups = defaultdict(list)
    for image in images:
        groups[image.json_path].append(image)
    found, missing = [], []
    for json_path, group in groups.items():
        places = _find_group(json_path, group, root)
        owners = _owners(places)
        for image in group:
            path = places[image][0] if image in places else None
            if path is None:
                missing.append(_missing(image, "it is not beside the json nor in the usual subfolders; add it."))
            elif owners[path] is image:
                found.append(FoundFile(image.photo_id, path, image.split))
            else:
                missing.append(_missing(image, f"only {path} fits, and more names lead there; add it."))
    return found, missing


def _find_group(json_path: Path, group: list[CocoImage], root: Path | None) -> dict[CocoImage, Place]:
    """What is found of the images of one json: where it usually lies, or else in any folder beside."""
    bases = list(dict.fromkeys((json_path.parent, json_path.parent.parent, root or json_path.parent)))
    usual = _PictureFinder(_usual_folders(json_path, bases))
    found = {image: place for image in group if (place := usual.find(image.file_name))}
    if found:
        return found
    other = _PictureFinder(_other_folders(json_path, bases))
    if any(other.find(image.file_name) for image in group[:_NUM_TRIED]):
        return {image: place for image in group if (place := other.find(image.file_name))}
    return {}


def _owners(places: dict[CocoImage, Place]) -> dict[Path, CocoImage | None]:
    """Whose picture a file is, where several names lead to it: of the one that fits best, else nobody's."""
    claims: dict[Path, list[tuple[tuple[bool, bool], CocoImage]]] = defaultdict(list)
    for image, (path, how) in places.items():
        claims[path].append((how, image))
    owners: dict[Path, CocoImage | None] = {}
    for path, found in claims.items():
        best = max(how for how, _ in found)
        first, *others = [image for how, image in found if how == best]
        owners[path] = None if others and best != (True, True) else first
    return owners


class _PictureFinder:
    """Finds the pictures of one json; the folder of the last one is tried first."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders
        self._files = FileFinder()

    def find(self, file_name: str) -> Place | None:
        spellings = list(_spellings(file_name))
        for as_written, look in ((True, _exact), (False, self._files.find)):
            for name, is_whole in spellings:
                for folder in self._folders:
                    path = look(folder, name)
                    if path is not None and is_inside(path):
                        self._folders.remove(folder)
                        self._folders.insert(0, folder)
                        return path, (is_whole, as_written)
        return None


def _exact(folder: Path, name: str) -> Path | None:
    return folder / name if os.path.isfile(os.path.join(folder, name)) else None  # a path object takes longer


def _usual_folders(json_path: Path, bases: list[Path]) -> list[Path]:
    # instances_train2017.json belongs to train2017, where val2017 may hold a picture of the same name.
    own = json_path.stem.split("_", 1)[-1]
    first = [base / folder for base in bases for folder in (own, f"images/{own}")]
    usual = [base / folder for base in bases for folder in _SUBFOLDERS]
    nested = [base / "images" / folder for base in bases for folder in _SUBFOLDERS[2:]]
    return [folder for folder in dict.fromkeys((*first, *usual, *nested)) if is_inside(folder) and folder.is_dir()]


def _other_folders(json_path: Path, bases: list[Path]) -> list[Path]:
    """The folders beside the json, and above it if its own folder holds no pictures."""
    beside = next(pictures_below(json_path.parent), None)
    places = [base for base in (bases[:1] if beside else bases) if is_inside(base)]
    found = [base / name for base in places for name in sorted(os.listdir(base)) if not name.startswith(".")]
    return [path for path in found[: 10 * _MAX_FOLDERS] if path.is_dir()][:_MAX_FOLDERS]


def _spellings(file_name: str) -> Iterator[tuple[str, bool]]:
    """Relative paths that a name may stand for, each with whether it is the whole of it; none leads upwards."""
    texts = [file_name, *(re.split(r"[?&][\w-]+=", file_name) if "?" in file_name else ())]
    texts += [unquote(text) for text in texts if "%" in text]
    paths: dict[tuple[str, ...], None] = {}
    for text in texts:
        for plain in dict.fromkeys((text, text.replace("\\", "/"))):
            parts = [part for part in plain.split("/") if part not in ("", ".")]
            while ".." in parts:
                del parts[: parts.index("..") + 1]
            paths[tuple(parts)] = None
    for path in paths:
        if path:
            yield "/".join(path), True
    for path in paths:
        for start in range(max(1, len(path) - _MAX_SHORTENED), len(path)):
            yield "/".join(path[start:]), False


def _missing(image: CocoImage, reason: str) -> LeftOut:
    name = "/".join(part for part in name_parts(image.file_name) if part != "..")
    shown = name.encode("utf-8", "backslashreplace").decode()  # to be written to a table
    return LeftOut(image.json_path.parent / shown, f"{image.json_path.name} names it, but {reason}")
