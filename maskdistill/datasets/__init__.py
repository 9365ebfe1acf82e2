"""Sources of photos: folders, lists, VOC, COCO and the installed samples, behind ``open_source``."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np

from maskdistill.datasets import coco, voc, voc_labels
from maskdistill.datasets.addresses import is_address, without_secrets
from maskdistill.datasets.coco_folders import find_jsons, find_unused_json
from maskdistill.datasets.folder import open_folder
from maskdistill.datasets.images import MAX_PIXELS, inspect_image, read_photo
from maskdistill.datasets.manifest import is_manifest, open_manifest
from maskdistill.datasets.opened_addresses import open_address
from maskdistill.datasets.photo_table import PhotoTable
from maskdistill.datasets.records import (
    IGNORE_INDEX,
    LabelValues,
    LeftOut,
    Photo,
    PhotoSource,
    ProgressCallback,
    SourceKind,
)
from maskdistill.datasets.sample import open_sample, open_sample_views
from maskdistill.datasets.shards import find_shards, open_shards
from maskdistill.datasets.views import ViewRecipe
from maskdistill.errors import DatasetError
from maskdistill.roots import confine

__all__ = [
    "IGNORE_INDEX",
    "MAX_PIXELS",
    "LeftOut",
    "Photo",
    "PhotoSource",
    "ProgressCallback",
    "SourceKind",
    "ViewRecipe",
    "inspect_image",
    "open_source",
    "read_label",
    "read_objects",
    "read_photo",
    "reopen_source",
]


def open_source(
    spec: str | Path, *, on_progress: ProgressCallback | None = None, seen: Path | None = None
) -> PhotoSource:
    """Open what a user names as data and inspect every photo of it.

    Args:
        spec: ``"sample"``, ``"sample-views"`` (for folders of these names write ./sample or give a ``Path``), a folder
            in VOC's layout, a COCO json or a folder with one as a tool exports it, a list of photos
            (``datasets.manifest``), tar files (``datasets.shards``), the address of a list or of tar files
            (``datasets.opened_addresses``), any folder of pictures, one picture.
        on_progress: Called with the number of photos done and in total, in the caller's thread.
        seen: Where a run keeps what the photos were (``scan_seen``, ``open_manifest``).

    Raises:
        DatasetError: If there is nothing to use; the message says what was found and what to give instead.

    Example:
        ```python
        import maskdistill as md

        source = md.open_source("sample")
        len(source.photos), source.photos[0].path
        ```
    """
    if spec == "sample":
        return open_sample(on_progress=on_progress)
    if spec == "sample-views":
        return open_sample_views(on_progress=on_progress)
    if not isinstance(spec, Path) and is_address(spec.strip()):
        return open_address(spec.strip(), on_progress=on_progress, seen=seen)
    path = confine(path_of(spec), DatasetError)
    try:
        return _open_path(path, on_progress, seen)
    except OSError as error:
        raise DatasetError(
            f"Cannot open {_short(path)}: {error.strerror}. Check the path and its access rights."
        ) from error


def path_of(spec: str | Path) -> Path:
    """The absolute path that a person names: typed, with ``~``, pasted in quotes, or as a file:// address.

    Raises:
        DatasetError: If it cannot be a path here.
    """
    text = str(spec) if isinstance(spec, Path) else str(spec).strip()
    if not text:
        raise DatasetError("No data given. Give a folder of photos, a VOC or COCO folder, or 'sample'.")
    if "\0" in text:
        shown = _short(text.replace("\0", "\\0"))
        raise DatasetError(f"No path can hold a NUL byte, as {shown} does. Type the path again.")
    if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'" and not os.path.exists(text):
        text = text[1:-1]
    address = urlsplit(text) if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) and not os.path.exists(text) else None
    if address is not None and (address.scheme.lower() != "file" or address.netloc not in ("", "localhost")):
        shown = _short(without_secrets(text))
        raise DatasetError(f"{shown} lies on another machine. Copy the photos here and give their folder.")
    try:
        return Path(unquote(address.path) if address is not None else text).expanduser().absolute()
    except RuntimeError as error:
        raise DatasetError(f"No home folder of the user in {_short(text)}. Give the whole path.") from error


def _short(text: str | Path) -> str:
    """A path for a sentence; one of thousands of letters is a slip, and its beginning shows it."""
    return str(text) if len(str(text)) <= 300 else f"{str(text)[:300]} …"


def read_label(source: PhotoSource, photo: Photo) -> np.ndarray | None:
    """Ground truth of a photo, for reporting only: no stage that trains may call this.

    Returns:
        (height, width) uint8 class ids, 0 background, n for ``source.classes[n - 1]``, 255 ignore; None if there is
        none.

    Raises:
        DatasetError: If the label cannot be read or does not fit the photo.
    """
    if source.kind == "voc":
        return voc_labels.read_label(source, photo)
    return coco.read_label(source, photo) if source.kind == "coco" else None


def read_objects(source: PhotoSource, photo: Photo) -> list[tuple[np.ndarray, int]] | None:
    """Annotated objects of a photo, one by one, for reporting only: no stage that trains may call this.

    Returns:
        (height, width) bool mask and class id of each, 255 for a region of many objects that count for nothing; None
        if the source does not tell objects apart, or has no ground truth of this photo.

    Raises:
        DatasetError: As ``read_label``.
    """
    return coco.read_objects(source, photo) if source.kind == "coco" else None


def reopen_source(
    kind: SourceKind,
    spec: str,
    photos: Sequence[Photo],
    classes: Sequence[str],
    label_values: LabelValues = "ids",
) -> PhotoSource:
    """A source of photos that are known from before, for ``read_label``: its folder is not looked through again.

    Args:
        kind: Of the source.
        spec: As it was opened.
        photos: Of the source.
        classes: Names without background.
        label_values: What the values of its label files mean.
    """
    path = confine(path_of(spec), DatasetError)
    paths: tuple[Path, ...] = ()
    if kind == "voc" and (root := voc.find_voc(path)) is not None:
        paths = voc_labels.label_folders(root)
    elif kind == "coco":
        paths = find_jsons(path)
    return PhotoSource(
        kind,
        spec,
        path,
        photos if isinstance(photos, PhotoTable) else tuple(photos),
        classes=tuple(classes),
        has_labels=bool(paths),
        label_paths=paths,
        label_values=label_values,
    )


def _open_path(path: Path, on_progress: ProgressCallback | None, seen: Path | None) -> PhotoSource:
    if shards := find_shards(path):
        return open_shards(path, shards, on_progress=on_progress, seen=seen)
    root = voc.find_voc(path)
    jsons = find_jsons(path)
    if root is not None and not (jsons and voc.has_only_pictures(root)):
        return voc.open_voc(root, on_progress=on_progress, seen=seen)
    if jsons:
        return _open_coco(path, jsons, on_progress, seen)
    if is_manifest(path):
        return open_manifest(path, on_progress=on_progress, seen=seen)
    source = open_folder(path, on_progress=on_progress, seen=seen)
    unused = find_unused_json(path)
    if unused is None:
        return source
    reason = (
        f"A COCO file, but not for all photos of {path}, so there is no ground truth. Give {unused.parent} to use it."
    )
    return replace(source, skipped=(*source.skipped, LeftOut(unused, reason, "label")))


def _open_coco(
    path: Path, jsons: tuple[Path, ...], on_progress: ProgressCallback | None, seen: Path | None
) -> PhotoSource:
    """A folder's photos are used without ground truth, and with a note, if its json files cannot be."""
    try:
        return coco.open_coco(path, jsons, on_progress=on_progress, seen=seen)
    except DatasetError as error:
        if path.is_file():
            raise
        try:
            source = open_folder(path, on_progress=on_progress, seen=seen)
        except DatasetError:
            raise error from None
        note = LeftOut(jsons[0], f"It was not used, so there is no ground truth. {error}", "label")
        return replace(source, skipped=(*source.skipped, note))
