"""A folder of pictures, searched in depth."""

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from maskdistill.datasets.names import names_in
from maskdistill.datasets.photo_files import UnreadablePhotoError, open_regular
from maskdistill.datasets.picture_kinds import (
    HEAD_BYTES,
    PHOTO_SUFFIXES,
    OtherKind,
    has_no_suffix,
    is_picture_name,
    kind_of_content,
    other_kind_of_name,
    suffix_of,
)
from maskdistill.datasets.records import LeftOut, PhotoSource, ProgressCallback
from maskdistill.datasets.scanning import natural_key, require_photos, unique_ids
from maskdistill.datasets.seen_folders import scan_seen
from maskdistill.errors import DatasetError
from maskdistill.roots import is_inside

MAX_FILES = 2_000_000  # looked at in one search; more is a whole disk rather than somebody's photos
MAX_DEPTH = 64  # folders below the one that is searched
SYSTEM_FOLDERS = ("/proc", "/sys", "/dev")  # whose files are none

_PROGRESS_EVERY = 500  # files


@dataclass
class _Found:
    """What a search has come upon so far."""

    num_files: int = 0
    pictures: list[str] = field(default_factory=list)  # texts, of which a million are made and compared sooner
    kinds: Counter[str] = field(default_factory=Counter)  # suffixes of files that are no pictures
    others: dict[str, tuple[OtherKind, Path]] = field(default_factory=dict)  # counted in ``kinds``; the first of each
    named_as_pictures: list[Path] = field(default_factory=list)  # folders
    left_out: list[LeftOut] = field(default_factory=list)


def open_folder(path: Path, *, on_progress: ProgressCallback | None = None, seen: Path | None = None) -> PhotoSource:
    """Photos of a folder and its subfolders in natural order, or the one photo if the path is a picture file.

    Hidden files and folders are left out. Links are followed, each folder once.

    Args:
        path: The folder, or the picture.
        on_progress: As of ``list_pictures``, then called with the number of photos done and in total.
        seen: As of ``scan_seen``.

    Raises:
        DatasetError: If the path cannot be opened or holds no usable picture.
    """
    if path.exists() and not path.is_dir():
        root, files, unusable = path.parent, [str(path)], tuple[LeftOut, ...]()
    else:
        root = path
        files, unusable = _list_files(root, on_progress)
    ids = unique_ids(names_in(root, files))
    found = scan_seen(path, ids, files, on_progress=on_progress, seen=seen)
    skipped = (*unusable, *found.skipped)
    require_photos(path, found.photos, skipped)
    return PhotoSource("folder", str(path), root, found.photos, skipped, seen=found.seen)


def list_pictures(root: Path, *, on_progress: ProgressCallback | None = None) -> tuple[list[Path], tuple[LeftOut, ...]]:
    """Picture files below a folder in natural order, and what lies there but cannot be used.

    A file without a suffix is a picture if its first bytes say so. Files of kinds that hold pictures too, but are not
    read, are summed up in one entry a kind, with the first of them; text and tables are passed over.

    Args:
        root: The folder.
        on_progress: Called with the number of files seen and 0, for no total is known.

    Raises:
        DatasetError: If the folder cannot be opened, holds more than ``MAX_FILES`` files, or none is a picture.
    """
    files, left_out = _list_files(root, on_progress)
    return list(map(Path, files)), left_out


def _list_files(root: Path, on_progress: ProgressCallback | None) -> tuple[list[str], tuple[LeftOut, ...]]:
    if not root.exists():
        raise DatasetError(f"No file or folder {root}. Give a folder of photos, a VOC or COCO folder, or 'sample'.")
    if _is_of_system(root):
        raise DatasetError(f"{root} belongs to the system and holds no photos. Choose the folder that holds them.")
    found = _search(root, on_progress)
    found.left_out += [
        LeftOut(folder, "It is a folder without pictures, whatever its name says.")
        for folder in found.named_as_pictures
        if not any(file.startswith(os.path.join(folder, "")) for file in found.pictures)
    ]
    found.left_out += [
        LeftOut(first, kind.reason(found.kinds[label], label), count=found.kinds[label])
        for label, (kind, first) in sorted(found.others.items())
    ]
    if not found.pictures:
        raise DatasetError(_no_picture(root, found))
    keys = map(natural_key, names_in(root, found.pictures))
    return [file for _, file in sorted(zip(keys, found.pictures, strict=True))], tuple(found.left_out)


def _search(root: Path, on_progress: ProgressCallback | None) -> _Found:
    found, seen = _Found(), set()
    waiting = [(root, 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            status = folder.stat()
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            found.left_out.append(LeftOut(folder, f"The system refuses to open this folder: {error.strerror}."))
            continue
        if (status.st_dev, status.st_ino) in seen:  # a link back to a folder above would go round for ever
            continue
        seen.add((status.st_dev, status.st_ino))
        if not is_inside(folder):
            found.left_out.append(LeftOut(folder, "It leads out of the folders that this server may use."))
            continue
        below = []
        for entry in listed:
            found.num_files += 1
            if on_progress is not None and found.num_files % _PROGRESS_EVERY == 0:
                on_progress(found.num_files, 0)
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                below.append(entry)
            else:
                _sort_in(entry.name, entry.path, found)
        waiting += [(Path(entry.path), depth + 1) for entry in reversed(below) if _enters(entry, depth, found)]
        _check_bound(root, found)
    return found


def _sort_in(name: str, path: str, found: _Found) -> None:
    """A file: a picture, or of a kind that is counted."""
    suffix = suffix_of(name)
    if suffix in PHOTO_SUFFIXES or (has_no_suffix(name) and _is_picture(Path(path))):
        found.pictures.append(path)
        return
    label, kind = other_kind_of_name(name) or (suffix or "no suffix", None)
    found.kinds[label] += 1
    if kind is not None and label not in found.others:
        found.others[label] = kind, Path(path)


def _enters(entry: os.DirEntry[str], depth: int, found: _Found) -> bool:
    """Whether a folder is searched too; a note says why not, but for the system's own."""
    if entry.path in SYSTEM_FOLDERS or (entry.is_symlink() and _is_of_system(Path(entry.path))):
        return False
    if depth >= MAX_DEPTH:
        reason = f"It lies more than {MAX_DEPTH} folders deep; open it by itself."
        found.left_out.append(LeftOut(Path(entry.path), reason))
        return False
    if is_picture_name(Path(entry.path)):
        found.named_as_pictures.append(Path(entry.path))
    return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _is_picture(path: Path) -> bool:
    """Whether a file's first bytes are those of a picture that is read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with open_regular(path) as file:
            head = file.read(HEAD_BYTES)
    except (OSError, UnreadablePhotoError):
        return False
    kind = kind_of_content(head)
    return isinstance(kind, str) and (kind != "BMP" or head[6:10] == bytes(4))  # many a text begins with BM


def _is_of_system(path: Path) -> bool:
    real = os.path.realpath(path)
    return any(real == folder or real.startswith(f"{folder}/") for folder in SYSTEM_FOLDERS)


def _check_bound(root: Path, found: _Found) -> None:
    if found.num_files > MAX_FILES:
        raise DatasetError(
            f"{root} holds more than {MAX_FILES:,} files, {len(found.pictures):,} of the first ones pictures. "
            "Choose a folder further down that holds the photos."
        )


def _no_picture(root: Path, found: _Found) -> str:
    wanted = f"No picture in {root} or below; wanted .jpg, .jpeg, .png, .webp, .bmp, .tif or .tiff files."
    if found.left_out and not found.others:
        return f"{wanted} {found.left_out[0].path}: {found.left_out[0].reason}"
    if not found.kinds:
        return f"{wanted} There are no files at all. Choose the folder that holds the photos."
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in found.kinds.most_common(3))
    if found.others:
        reason = found.left_out[-1].reason if len(found.others) == 1 else ""
        return f"{wanted} It holds {kinds}. {reason or 'Choose another folder, or save the photos as JPEG.'}"
    return f"{wanted} It holds {kinds}. Choose another folder, or save the photos as JPEG."
