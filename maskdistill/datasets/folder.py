"""A folder of pictures, searched in depth."""

import errno
import os
from collections import Counter
from pathlib import Path

from maskdistill.datasets.records import LeftOut, PhotoSource, ProgressCallback
from maskdistill.datasets.scanning import (
    FoundFile,
    is_picture_name,
    natural_key,
    require_photos,
    scan_photos,
    unique_ids,
)
from maskdistill.errors import DatasetError
from maskdistill.roots import is_inside


def open_folder(path: Path, *, on_progress: ProgressCallback | None = None) -> PhotoSource:
    """Photos of a folder and its subfolders in natural order, or the one photo if the path is a picture file.

    Hidden files and folders are left out. Links are followed, each folder once.

    Raises:
        DatasetError: If the path cannot be opened or holds no usable picture.
    """
    if path.is_file():
        root, files, skipped = path.parent, [path], ()
    else:
        root = path
        files, skipped = list_pictures(root)
    names = [file.relative_to(root).as_posix() for file in files]
    candidates = [FoundFile(id, file) for id, file in zip(unique_ids(names), files, strict=True)]
    photos, unreadable = scan_photos(candidates, on_progress=on_progress)
    skipped = (*skipped, *unreadable)
    require_photos(path, photos, skipped)
    return PhotoSource("folder", str(path), root, photos, skipped)


def list_pictures(root: Path) -> tuple[list[Path], tuple[LeftOut, ...]]:
    """Picture files below a folder in natural order, and the subfolders that could not be searched.

    Raises:
        DatasetError: If the folder cannot be opened or no file has a picture's suffix.
    """
    if not root.exists():
        raise DatasetError(f"No file or folder {root}. Give a folder of photos, a VOC or COCO folder, or 'sample'.")
    refused: list[OSError] = []
    files = _walk(root, refused)
    pictures = [file for file in files if is_picture_name(file)]
    skipped = tuple(
        LeftOut(Path(error.filename), f"The system refuses to open this folder: {error.strerror}.") for error in refused
    )
    if not pictures:
        raise DatasetError(_no_picture(root, files, skipped))
    return sorted(pictures, key=lambda file: natural_key(file.relative_to(root).as_posix())), skipped


def _walk(root: Path, refused: list[OSError]) -> list[Path]:
    found, seen = [], set()
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=refused.append):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:  # a link back to a folder above would go round for ever
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        if not is_inside(folder):
            refused.append(PermissionError(errno.EACCES, "it leads out of what this server may use", folder))
            subfolders.clear()
            continue
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return found


def _no_picture(root: Path, files: list[Path], skipped: tuple[LeftOut, ...]) -> str:
    wanted = f"No picture in {root} or below; wanted .jpg, .jpeg, .png, .webp, .bmp, .tif or .tiff files."
    if skipped:
        return f"{wanted} {skipped[0].path}: {skipped[0].reason}"
    if not files:
        return f"{wanted} There are no files at all. Choose the folder that holds the photos."
    common = Counter(file.suffix.lower() or "no suffix" for file in files).most_common(3)
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in common)
    return f"{wanted} It holds {kinds}. Choose another folder, or save the photos as JPEG."
