"""A folder in the layout of PASCAL VOC: JPEGImages, and optionally SegmentationClass, ImageSets and classes.txt."""

import os
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from maskdistill.datasets.folder import list_pictures
from maskdistill.datasets.names import names_in, without_suffix
from maskdistill.datasets.records import LeftOut, PhotoSource, ProgressCallback
from maskdistill.datasets.scanning import require_photos
from maskdistill.datasets.seen_folders import scan_seen
from maskdistill.datasets.voc_checks import inspect_labels
from maskdistill.datasets.voc_labels import PHOTO_FOLDER, label_folders, named_in
from maskdistill.datasets.voc_lists import read_splits
from maskdistill.errors import DatasetError, printable


def find_voc(path: Path) -> Path | None:
    """The folder that holds JPEGImages: the path itself, or the only VOC20xx below it (as in VOCdevkit/VOC2012).

    Raises:
        DatasetError: If there are several below it, or if there is ground truth without photos: its label maps would
            pass for photos.
    """
    photos = named_in(path, PHOTO_FOLDER)
    if os.path.isdir(photos):
        return path
    if os.path.lexists(photos) or label_folders(path):
        what = "is no folder" if os.path.lexists(photos) else "is missing"
        raise DatasetError(f"{photos} {what}. Put the photos there, or choose the folder they are in.")
    patterns = (f"{base}VOC20*/{PHOTO_FOLDER}" for base in ("", "VOCdevkit/"))
    found = sorted({folder.parent for pattern in patterns for folder in path.glob(pattern)})
    if len(found) > 1:
        names = ", ".join(str(folder.relative_to(path)) for folder in found)
        raise DatasetError(f"{path} holds several VOC folders: {names}. Choose one of them.")
    return found[0] if found else None


def has_only_pictures(root: Path) -> bool:
    """Whether a folder with JPEGImages has neither labels nor lists, as labelme2coco makes it."""
    return not label_folders(root) and not (root / "ImageSets").is_dir()


def open_voc(root: Path, *, on_progress: ProgressCallback | None = None, seen: Path | None = None) -> PhotoSource:
    """Photos of JPEGImages. Those in no list of ImageSets/Segmentation have the split None.

    Label files are looked at, a sample spread over them: what cannot be used is in ``skipped``.

    Args:
        root: The folder that holds JPEGImages.
        on_progress: As of ``open_folder``.
        seen: As of ``scan_seen``.

    Raises:
        DatasetError: If JPEGImages holds no usable picture, or a list cannot be read.
    """
    folder = named_in(root, PHOTO_FOLDER)
    files, skipped = list_pictures(folder, on_progress=on_progress)
    pictures = _identify(files, folder)
    splits = read_splits(named_in(named_in(root, "ImageSets"), "Segmentation"), pictures.names)
    ids, files = list(pictures.files), list(pictures.files.values())
    found = scan_seen(root, ids, files, [splits.of_photo.get(id) for id in ids], on_progress=on_progress, seen=seen)
    skipped = (*skipped, *pictures.doubles, *found.skipped, *splits.problems)
    require_photos(root, found.photos, skipped)
    source = PhotoSource("voc", str(root), root, found.photos, label_paths=label_folders(root), seen=found.seen)
    facts = inspect_labels(source, root, pictures.names)
    return replace(
        source,
        skipped=(*skipped, *facts.notes),
        classes=facts.classes,
        has_labels=facts.has_labels,
        label_values=facts.values,
    )


@dataclass(frozen=True)
class _Pictures:
    """The pictures of JPEGImages."""

    files: dict[str, Path]  # by id
    names: dict[str, str]  # what a list or a label may call one, without a picture's suffix -> id
    doubles: tuple[LeftOut, ...]


def _identify(files: list[Path], folder: Path) -> _Pictures:
    """The id is the file's name without suffix, with its subfolder where several subfolders have that name."""
    places: dict[str, dict[str, Path]] = defaultdict(dict)  # stem -> path inside the folder without suffix -> file
    doubles = []
    inside = [without_suffix(name) for name in names_in(folder, map(str, files))]
    stems = [name.rpartition("/")[2] for name in inside]
    for file, name, stem in zip(files, inside, stems, strict=True):
        taken = places[stem].setdefault(name, file)
        if taken is not file:
            doubles.append(
                LeftOut(file, f"{taken.name} has the same name up to the suffix and was taken; rename one of them.")
            )
    by_id: dict[str, Path] = {}
    names: dict[str, str] = {}
    for file, name, stem in zip(files, inside, stems, strict=True):
        found = places[stem]
        if found[name] is file:
            id = printable(stem if len(found) == 1 else name)
            by_id[id] = file
            names[name] = id
            if len(found) == 1:
                names[stem] = id
    return _Pictures(by_id, names, tuple(doubles))
