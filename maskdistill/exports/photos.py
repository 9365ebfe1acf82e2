"""The photos of an export: as they are where every reader can take them, else saved as upright JPEG."""

import io
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

from PIL import Image

from maskdistill.datasets import Photo, inspect_image, read_photo
from maskdistill.datasets.images import exif_orientation
from maskdistill.datasets.photo_files import open_photo_file
from maskdistill.errors import DatasetError, printable
from maskdistill.exports.names import portable_stems
from maskdistill.exports.records import ExportImage
from maskdistill.files import replace_atomically

PhotoMode = Literal["link", "copy"]  # one file under two names where the system grants it, or a file of its own

# Kinds of picture, as Pillow calls them, that YOLO's readers take, and the suffix each goes by. MPO is a camera's JPEG.
PICTURE_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "BMP": ".bmp", "TIFF": ".tif", "WEBP": ".webp"}
JPEG_ONLY = {kind: suffix for kind, suffix in PICTURE_SUFFIXES.items() if suffix == ".jpg"}

_JPEG: dict[str, Any] = {"format": "JPEG", "quality": 95, "subsampling": 0}

Item = TypeVar("Item")


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


def photo_bytes(photo: PlacedPhoto) -> bytes:
    """The content of a photo's file, or of an upright JPEG where it cannot be taken as it is.

    Raises:
        DatasetError: If the picture turns out to be damaged, or is gone.
    """
    if photo.rewrite:
        buffer = io.BytesIO()
        read_photo(_as_photo(photo.image)).save(buffer, **_JPEG)
        return buffer.getvalue()
    try:
        if photo.image.place is None:
            return photo.image.path.read_bytes()
        with open_photo_file(photo.image.path, photo.image.place) as file:
            return file.read()
    except OSError as error:
        raise DatasetError(f"Cannot read {photo.image.path}. {error.strerror}. Put the photo back.") from error


def place_photo(photo: PlacedPhoto, target: Path, mode: PhotoMode) -> None:
    """Link, copy or save a photo as ``target``, which must not exist.

    Raises:
        DatasetError: If the picture turns out to be damaged.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    image = photo.image
    if photo.rewrite:
        rgb = read_photo(_as_photo(image))
        replace_atomically(target, lambda temporary: rgb.save(temporary, **_JPEG))
    elif image.place is not None:
        content = photo_bytes(photo)
        replace_atomically(target, lambda temporary: temporary.write_bytes(content))
    elif mode == "copy" or not _link(image.path, target):
        replace_atomically(target, lambda temporary: shutil.copyfile(image.path, temporary))


def link_names(images: Sequence[ExportImage]) -> dict[int, str]:
    """The name under which each photo is linked to as it is, by its number: where it lies in the data folder.

    A name that others have too, or that leads elsewhere, gives way to one made of the photo's id.
    """
    counts = Counter(image.file_name for image in images)
    names = {image.number: image.file_name for image in images}
    stems = portable_stems(images)
    for image in images:
        if counts[image.file_name] > 1 or not _stays_inside(image.file_name):
            names[image.number] = f"{stems[image.number]}{image.path.suffix}"
    unique = len(set(names.values())) == len(names)
    return names if unique else {image.number: f"{stems[image.number]}{image.path.suffix}" for image in images}


def link_photos(images: Sequence[ExportImage], names: Mapping[int, str], folder: Path) -> tuple[str, ...]:
    """Link to photos in a folder where none of the names exists, and return a note on those that cannot be linked.

    A name that not every system takes is not linked to: it is for those who have the data folder.
    """
    failed = [
        image.id
        for image in images
        if not names[image.number].isprintable() or not _link_inside(image.path, folder / names[image.number])
    ]
    if not failed:
        return ()
    return (f"{len(failed)} photos could not be linked to in {folder.name}. The first: {printable(failed[0])}.",)


def unreadable_notes(problems: Sequence[str]) -> tuple[str, ...]:
    """A note on photos that were left out, if any."""
    return (f"{len(problems)} photos were left out. The first: {problems[0]}",) if problems else ()


def count_progress(items: Sequence[Item], on_progress: Callable[[int, int], None] | None) -> Iterable[Item]:
    """The photos one by one; each is reported as done when the next is asked for."""
    for done, item in enumerate(items, start=1):
        yield item
        if on_progress is not None:
            on_progress(done, len(items))


def _as_photo(image: ExportImage) -> Photo:
    return Photo(image.id, image.path, image.height, image.width, "", image.split, image.view, image.place)


def _suffix_as_is(image: ExportImage, suffixes: dict[str, str]) -> str | None:
    """The suffix by which the photo's file can be taken; None if it must be rewritten."""
    size = inspect_image(image.path, image.place)
    if image.view is not None:
        return None
    if size != (image.height, image.width):
        raise DatasetError(
            f"Cannot use {image.path}. Its size is {size[1]} x {size[0]} pixels, its masks have "
            f"{image.width} x {image.height}: it was replaced. Put the photo of the run back."
        )
    if exif_orientation(image.path, image.place) != 1:
        return None
    try:
        with open_photo_file(image.path, image.place) as file, Image.open(file) as picture:
            deep = picture.mode.startswith(("I", "F"))  # most readers would show 12 bits in a file of 16 as black
            return None if deep else suffixes.get(picture.format or "")
    except (OSError, SyntaxError, ValueError):  # sound for us, as one with much text, but not for other readers
        return None


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _link_inside(path: Path, target: Path) -> bool:
    if not path.is_file():  # a link to nothing could be made
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    return _link(path, target)


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
