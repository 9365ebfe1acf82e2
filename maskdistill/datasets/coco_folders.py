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
    labelme2coco), or so in each of its subfolders (Roboflow's splits, Supervisely). Where there are
    ``instances_*.json`` only these count: captions and keypoints repeat the same images.
    """
    if path.is_file():
        return (path,) if path.suffix.lower() == ".json" else ()
    annotations = _json_files(path / "annotations")
    found = _choose(annotations) or _jsons_beside_photos(path) or _jsons_of_subfolders(path)
    return found or (tuple(annotations) if len(annotations) <= _MANY else ())  # to say why they are none


def pictures_below(path: Path) -> Iterator[Path]:
    """Files with a picture's suffix in a folder and its subfolders; hidden ones are left out."""
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if is_picture_name(Path(name)))


def _jsons_of_subfolders(path: Path) -> tuple[Path, ...]:
    """Those of subfolders, if these are splits, or if no picture lies elsewhere."""
    folders, files = _list_folder(path)
    visible = [path / name for name in folders if not name.startswith(".")]
    found = {folder: _choose(_json_files(folder / "annotations")) or _jsons_beside_photos(folder) for folder in visible}
    named = [folder for folder in visible if found[folder]]
    if not named or not all(_SPLIT_FOLDER.fullmatch(folder.name) for folder in named):
        others = [folder for folder in visible if not found[folder]]
        if any(is_picture_name(Path(name)) for name in files) or any(
            next(pictures_below(folder), None) for folder in others
        ):
            return ()
    return tuple(json for folder in named for json in found[folder])


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
    """Whether a file has COCO's lists, or a name that says so: then it is told what is wrong with it."""
    if re.match(r"instances|_annotations\.coco", path.name):
        return path.is_file()
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            if not _holds_key(file.read(_HEAD), *_KEYS):
                return False
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _holds_key(content, "images") and _holds_key(content, "annotations", "categories")
    except (OSError, ValueError):
        return True


def _holds_key(content: bytes | mmap.mmap, *keys: str) -> bool:
    """Whether any of the keys stands there, in UTF-8, UTF-16 or UTF-32."""
    marks = [[bytes([mark]) for mark in f'"{key}"'.encode("ascii")] for key in keys]
    return any(content.find(gap.join(key)) >= 0 for gap in (b"", b"\0", b"\0\0\0") for key in marks)
