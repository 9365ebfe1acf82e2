"""Where the COCO files of a folder lie, as the usual tools export it."""

import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path

from maskdistill.datasets.picture_kinds import is_picture_name
from maskdistill.roots import is_inside

_HEAD = 64 * 1024  # bytes; info and licenses are short, so that one of the lists begins within
_MANY = 20  # json files in a folder beside the photos; more are one for each photo, unless they have a usual name
_USUAL_NAME = re.compile(r"instances|coco|annotations|labels|result|train|val|test", re.IGNORECASE)
_SPLIT_FOLDER = re.compile(r"(train|val|test)\w*", re.IGNORECASE)
_KEYS = ("images", "annotations", "categories")


def find_jsons(path: Path) -> tuple[Path, ...]:
    """The json files to open for a path: itself, or those of a folder; empty if it is no COCO source.

    They lie in ``annotations`` (COCO itself, CVAT), beside the photos or their folder (FiftyOne, Label Studio,
    labelme2coco), in a folder for annotations alone, or so in each of its subfolders (Roboflow's splits, Supervisely).
    Where there are ``instances_*.json`` only these count: captions and keypoints repeat the same images.
    """
    if path.is_file():
        return (path,) if path.suffix.lower() == ".json" else ()
    annotations = _json_files(path / "annotations")
    found = _choose(annotations) or _jsons_beside_photos(path)
    if not found:
        nested = _jsons_of_subfolders(path)
        found = _joined(nested) if _are_all(path, list(nested)) else ()
    return found or (tuple(annotations) if len(annotations) <= _MANY else ())  # to say why they are none


def find_unused_json(path: Path) -> Path | None:
    """A COCO file of a subfolder that is not about all photos of a folder, so that ``find_jsons`` leaves it."""
    return next(iter(_joined(_jsons_of_subfolders(path))), None)


def pictures_below(path: Path) -> Iterator[Path]:
    """Files with a picture's suffix in a folder and its subfolders; hidden ones are left out."""
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if is_picture_name(Path(name)))


def _jsons_of_subfolders(path: Path) -> dict[Path, tuple[Path, ...]]:
    """The subfolders that hold COCO files, with these."""
    folders = [path / name for name in _list_folder(path)[0] if not name.startswith(".")]
    found = {folder: _choose(_json_files(folder / "annotations")) or _jsons_beside_photos(folder) for folder in folders}
    if not found.get(path / "annotations", True):  # perhaps a folder for each split in it
        found[path / "annotations"] = _joined(_jsons_of_subfolders(path / "annotations"))
    return {folder: jsons for folder, jsons in found.items() if jsons}


def _joined(found: dict[Path, tuple[Path, ...]]) -> tuple[Path, ...]:
    return tuple(json for jsons in found.values() for json in jsons)


def _are_all(path: Path, named: list[Path]) -> bool:
    """Whether the COCO files of some subfolders are about all pictures: these are splits, or none lies elsewhere."""
    if named and all(_SPLIT_FOLDER.fullmatch(folder.name) for folder in named):
        return True
    if not any(next(pictures_below(folder), None) for folder in named):  # they hold annotations alone
        return True
    return all(path / picture.relative_to(path).parts[0] in named for picture in pictures_below(path))


def _jsons_beside_photos(folder: Path) -> tuple[Path, ...]:
    files = _json_files(folder)
    if len(files) > _MANY:
        files = [file for file in files if _USUAL_NAME.search(file.stem)]
    return _choose(files)


def _choose(files: list[Path]) -> tuple[Path, ...]:
    found = [file for file in files if _may_be_coco(file)]
    instances = [file for file in found if file.name.startswith("instances")]
    return tuple(instances or found)


def _json_files(folder: Path) -> list[Path]:
    names = [name for name in _list_folder(folder)[1] if name.lower().endswith(".json") and not name.startswith(".")]
    return [folder / name for name in names if is_inside(folder / name)]


def _list_folder(folder: Path) -> tuple[list[str], list[str]]:
    """Names of its folders and of its files, sorted; none if it cannot be listed, which the search for photos says."""
    _, folders, files = next(os.walk(folder), ("", [], []))
    return sorted(folders), sorted(files)


def _may_be_coco(path: Path) -> bool:
    """Whether a file has two of COCO's lists, or a name that says so: then it is told what is wrong with it."""
    if re.match(r"instances|_annotations\.coco", path.name):
        return path.is_file()
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            if not _holds_key(file.read(_HEAD), *_KEYS):
                return False
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return sum(_holds_key(content, key) for key in _KEYS) > 1
    except (OSError, ValueError):
        return True


def _holds_key(content: bytes | mmap.mmap, *keys: str) -> bool:
    """Whether any of the keys stands there, in UTF-8, UTF-16 or UTF-32."""
    marks = [[bytes([mark]) for mark in f'"{key}"'.encode("ascii")] for key in keys]
    return any(content.find(gap.join(key)) >= 0 for gap in (b"", b"\0", b"\0\0\0") for key in marks)
