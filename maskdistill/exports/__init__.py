"""What a run holds, as files for other tools. Import ``exports.coco``, ``exports.voc`` or ``exports.yolo``.

Plain records in, a folder out: nothing here reads a run. This module holds what the three formats share: the records,
names that every system and reader takes, the pictures, and the folder with its marker.
"""

import json
import os
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from PIL import ExifTags, Image

from maskdistill import __version__
from maskdistill.datasets import Photo, ViewRecipe, inspect_image, read_photo
from maskdistill.errors import ConfigError, DatasetError, ShapeError
from maskdistill.progress import replace_atomically, write_atomically

ExportFormat = Literal["coco", "voc", "yolo"]
PhotoMode = Literal["link", "copy"]  # one file under two names where the system grants it, or a file of its own

MARKER = ".maskdistill-export"  # JSON; which files an export has written, so that the next one may replace them
NO_SPLIT = "other"  # folder or list of photos in no split, where others are in one

# Kinds of picture, as Pillow calls them, that YOLO's readers take, and the suffix each goes by. MPO is a camera's JPEG.
PICTURE_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "BMP": ".bmp", "TIFF": ".tif", "WEBP": ".webp"}
JPEG_ONLY = {kind: suffix for kind, suffix in PICTURE_SUFFIXES.items() if suffix == ".jpg"}

_JPEG = {"format": "JPEG", "quality": 95, "subsampling": 0}
_MAX_STEM_BYTES = 200  # file systems stop at 255, suffix and the name while writing included
_WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)


@dataclass(frozen=True)
class ExportImage:
    """One photo."""

    number: int  # unique; COCO's image id
    id: str  # unique; relative path without suffix, or a name; other tools' file names come from it
    path: Path  # the file
    file_name: str  # relative to the data folder, with "/"
    height: int  # pixels, upright
    width: int  # pixels, upright
    split: str | None = None
    view: ViewRecipe | None = None  # which view of the file this is; None is the whole photo


@dataclass(frozen=True)
class ExportMask:
    """One mask of a photo."""

    id: int  # unique
    image: int  # number of its photo
    label: int  # class, 1 to the number of class names
    score: float
    code: dict[str, Any]  # COCO RLE at the photo's size, see maskdistill.masks.encode_mask
    kept: bool = True  # by the filter and by people; whoever wants only these leaves the others out
    extra: dict[str, Any] = field(default_factory=dict)  # more signals, numbers or text


@dataclass(frozen=True)
class ExportSummary:
    """What an export wrote."""

    format: ExportFormat
    path: Path
    num_images: int
    num_masks: int  # VOC: label maps
    files: tuple[str, ...]  # what to give to a reader, relative to ``path``
    notes: tuple[str, ...] = ()  # sentences on what differs from the photos and masks that came in

    @property
    def sentence(self) -> str:
        """One line for people, then the notes."""
        what = "label maps" if self.format == "voc" else "masks"
        text = f"{self.num_images} photos and {self.num_masks} {what} in {self.path}: {', '.join(self.files)}."
        return " ".join([text, *self.notes])


@dataclass(frozen=True)
class PlacedPhoto:
    """A readable photo, and how it comes into the export."""

    image: ExportImage
    stem: str  # file name without suffix
    suffix: str
    rewrite: bool  # the file cannot be taken as it is

    @property
    def name(self) -> str:
        """File name."""
        return f"{self.stem}{self.suffix}"


def check_images(images: Sequence[ExportImage]) -> None:
    """Raise ``ConfigError`` if there is no photo, or two have the same number or id."""
    if not images:
        raise ConfigError("There is no photo to export. Make the masks of some photos first.")
    for name, values in (("number", [image.number for image in images]), ("id", [image.id for image in images])):
        value, count = Counter(values).most_common(1)[0]
        if count > 1:
            raise ConfigError(f"{count} photos have the {name} {value}; it must be unique. Count the photos anew.")


def group_masks(
    images: Sequence[ExportImage], masks: Iterable[ExportMask], num_classes: int
) -> dict[int, list[ExportMask]]:
    """Masks by photo number, in the order given; a photo without masks has an empty list.

    Raises:
        ConfigError: If an id comes twice, or a mask names a photo or class that is not there.
        ShapeError: If a mask was made for another size than its photo's.
    """
    by_number = {image.number: image for image in images}
    groups: dict[int, list[ExportMask]] = {number: [] for number in by_number}
    seen = set()
    for mask in masks:
        if mask.id in seen:
            raise ConfigError(f"Two masks have the id {mask.id}; ids must be unique. Number the masks anew.")
        seen.add(mask.id)
        if mask.image not in by_number:
            raise ConfigError(f"Mask {mask.id} belongs to photo {mask.image}, which is not among the photos given.")
        if not 1 <= mask.label <= num_classes:
            raise ConfigError(
                f"Mask {mask.id} has class {mask.label}, wanted 1 to {num_classes}, the number of class names."
            )
        image = by_number[mask.image]
        if list(mask.code["size"]) != [image.height, image.width]:
            raise ShapeError(f"Mask {mask.id}", f"{(image.height, image.width)}, as its photo", mask.code["size"])
        groups[mask.image].append(mask)
    return groups


def clean_class_names(class_names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Class names on one line each, none empty, all different; and a note if that changed any.

    Readers tell classes by name and lists by line: an empty or repeated name would shift or join classes.
    """
    cleaned: list[str] = []
    for number, name in enumerate(class_names, start=1):
        printable = "".join(mark if mark.isprintable() else " " for mark in name)
        base = " ".join(printable.split()) or f"class {number}"
        cleaned.append(_not_taken(base, {other.casefold() for other in cleaned}, " ({})"))
    changed = [f"'{old}' is '{new}'" for old, new in zip(class_names, cleaned, strict=True) if old != new]
    note = f"{len(changed)} class names were changed to be one line and different: {', '.join(changed)}."
    return tuple(cleaned), (" ".join(note.split()),) if changed else ()


def portable_stems(images: Sequence[ExportImage]) -> dict[int, str]:
    """A file name without suffix for every photo, by its number: unique also where upper and lower case are one.

    It is the last part of the photo's id; where that is not unique, the whole id with ``__`` for each ``/``; where
    even this is taken, with a number. Letters of any alphabet, digits, ``-`` and ``_`` stay, all else becomes ``_``:
    lists of names are split at blanks, and suffixes are cut at dots.
    """
    short = {image.number: _portable(PurePosixPath(image.id).name) for image in images}
    counts = Counter(stem.casefold() for stem in short.values())
    stems: dict[int, str] = {}
    taken = {stem for stem, count in counts.items() if count == 1}
    for image in images:
        stem = short[image.number]
        if counts[stem.casefold()] > 1:
            stem = _not_taken(_portable(image.id.replace("/", "__")), taken, "_{}")
            taken.add(stem.casefold())
        stems[image.number] = stem
    return stems


def split_names(images: Sequence[ExportImage], default: str) -> dict[int, str]:
    """The split of every photo as a file name, by its number.

    Photos in no split get ``default`` if none is in one, else ``NO_SPLIT``: they are not to be trained or measured on.
    """
    missing = NO_SPLIT if any(image.split for image in images) else default
    return {image.number: _portable(image.split) if image.split else missing for image in images}


def plan_photos(images: Sequence[ExportImage], suffixes: dict[str, str]) -> tuple[list[PlacedPhoto], tuple[str, ...]]:
    """Which photos can be read, under which names they go, and notes on what is renamed or left out.

    A file is taken as it is if it is one of the kinds in ``suffixes`` and every reader sees it upright: many ignore
    EXIF orientation, and masks fit the upright photo. Others, and views, are saved as JPEG.

    Raises:
        DatasetError: If there are photos, and none can be read.
    """
    stems = portable_stems(images)
    placed, problems = [], []
    for image in images:
        try:
            suffix = _suffix_as_is(image, suffixes)
        except DatasetError as error:
            problems.append(str(error))
        else:
            placed.append(PlacedPhoto(image, stems[image.number], suffix or ".jpg", suffix is None))
    if problems and not placed:
        raise DatasetError(
            f"None of the {len(images)} photos can be read. {problems[0]} If the photos were moved, run the first "
            "stage again with --data and their new folder."
        )
    renamed = [(photo.image.id, photo.stem) for photo in placed if photo.stem != PurePosixPath(photo.image.id).name]
    notes = list(unreadable_notes(problems))
    if renamed:
        old, new = renamed[0]
        notes.append(f"{len(renamed)} photos go by another name, to be unique or portable, as '{old}' by '{new}'.")
    if rewritten := sum(photo.rewrite for photo in placed):
        notes.append(f"{rewritten} photos were saved as upright JPEG, because of their kind, orientation or view.")
    return placed, tuple(notes)


def place_photo(photo: PlacedPhoto, target: Path, mode: PhotoMode) -> None:
    """Link, copy or save a photo as ``target``, which must not exist.

    Raises:
        DatasetError: If the picture turns out to be damaged.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    image = photo.image
    if photo.rewrite:
        rgb = read_photo(Photo(image.id, image.path, image.height, image.width, "", image.split, image.view))
        replace_atomically(target, lambda temporary: rgb.save(temporary, **_JPEG))
    elif mode == "copy" or not _link(image.path, target):
        replace_atomically(target, lambda temporary: shutil.copyfile(image.path, temporary))


def unreadable_notes(problems: Sequence[str]) -> tuple[str, ...]:
    """A note on photos that were left out, if any."""
    return (f"{len(problems)} photos were left out. The first: {problems[0]}",) if problems else ()


def begin_export(out: Path, format: ExportFormat, files: Sequence[str]) -> None:
    """Make the folder ready: what the last export wrote there goes, what anybody else put there stays.

    Args:
        out: New, empty, or the folder of an earlier export.
        format: For the record.
        files: All that may be written, relative to ``out``, with ``/``.

    Raises:
        ConfigError: If ``out`` is a file, or holds files that no export wrote.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file, wanted a folder to export to. Give a new or an empty folder.")
    marked = (out / MARKER).is_file()
    if not marked and out.is_dir() and (others := sorted(path.name for path in out.iterdir())):
        raise ConfigError(
            f"{out} is not empty and no export has written it: it holds {others[0]}. Give a new or an empty folder."
        )
    old = _written_files(out) if marked else []
    strange = next((name for name in files if name not in set(old) and os.path.lexists(out / name)), None)
    if strange is not None:
        raise ConfigError(f"The export would replace {out / strange}, which no export has written. Move it away.")
    _write_marker(out, format, [*old, *files], complete=False)  # if killed from here on, the next one may clean up
    _remove_files(out, old)
    _write_marker(out, format, files, complete=False)


def finish_export(out: Path, format: ExportFormat, files: Sequence[str]) -> None:
    """Note in the marker that the export is whole."""
    _write_marker(out, format, files, complete=True)


def count_progress(images: Sequence[Any], on_progress: Callable[[int, int], None] | None) -> Iterable[Any]:
    """The items one by one; each is reported as done when the next is asked for."""
    for done, image in enumerate(images, start=1):
        yield image
        if on_progress is not None:
            on_progress(done, len(images))


def _not_taken(base: str, taken: set[str], ending: str) -> str:
    candidate, number = base, 2
    while candidate.casefold() in taken:
        candidate, number = base + ending.format(number), number + 1
    return candidate


def _portable(text: str) -> str:
    stem = re.sub(r"[^\w-]", "_", unicodedata.normalize("NFC", text))
    stem = stem.encode("utf-8")[:_MAX_STEM_BYTES].decode("utf-8", "ignore")
    return f"{stem}_" if _WINDOWS_DEVICES.fullmatch(stem) else stem or "_"


def _suffix_as_is(image: ExportImage, suffixes: dict[str, str]) -> str | None:
    """The suffix by which the photo's file can be taken; None if it must be rewritten."""
    size = inspect_image(image.path)
    if image.view is not None:
        return None
    if size != (image.height, image.width):
        raise DatasetError(
            f"Cannot use {image.path}. Its size is {size[1]} x {size[0]} pixels, its masks have "
            f"{image.width} x {image.height}: it was replaced. Put the photo of the run back."
        )
    with Image.open(image.path) as picture:
        # PngImageFile.getexif would decode the whole picture in search of a tag behind the pixels.
        upright = Image.Image.getexif(picture).get(ExifTags.Base.Orientation, 1) == 1
        return suffixes.get(picture.format) if upright else None


def _link(source: Path, target: Path) -> bool:
    """Whether a link could be made.

    Hard links come first: some readers refuse symbolic ones that lead out of their folder, and moving the data breaks
    them. Across disks only symbolic ones work, and Windows and some network drives refuse these too.
    """
    real = source.resolve()
    for link in (target.hardlink_to, target.symlink_to):
        try:
            link(real)
        except (OSError, NotImplementedError):
            continue
        return True
    return False


def _write_marker(out: Path, format: ExportFormat, files: Sequence[str], *, complete: bool) -> None:
    about = {"written_by": f"maskdistill {__version__}", "format": format, "complete": complete, "files": list(files)}
    write_atomically(out / MARKER, json.dumps(about, ensure_ascii=False, indent=0))


def _written_files(out: Path) -> list[str]:
    try:
        files = json.loads((out / MARKER).read_text(encoding="utf-8"))["files"]
        paths = [PurePosixPath(name) for name in files]
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"{out / MARKER} is damaged ({error}). Delete the folder {out}, or give another.") from error
    if any(path.is_absolute() or ".." in path.parts for path in paths):
        raise ConfigError(f"{out / MARKER} names files outside of {out}. Delete that folder yourself, or give another.")
    return files


def _remove_files(out: Path, files: Sequence[str]) -> None:
    for name in files:
        (out / name).unlink(missing_ok=True)
    folders = {folder for name in files for folder in PurePosixPath(name).parents if folder.parts}
    for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
        if (out / folder).is_dir() and not any((out / folder).iterdir()):
            (out / folder).rmdir()
