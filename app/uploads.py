"""Dropped pictures: checked one by one, written to a folder on the server, the others listed with their reason."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from maskdistill.datasets import inspect_image
from maskdistill.datasets.picture_kinds import PHOTO_SUFFIXES
from maskdistill.errors import DatasetError

MAX_FILES = 100
MAX_FILE_MB = 50
MAX_TOTAL_MB = 200
MAX_PIXELS = 64_000_000  # of a picture, by its header: it is decoded in the memory that all sessions share
_MB = 1024 * 1024


class Upload(Protocol):
    """A dropped file, as Streamlit gives it."""

    name: str
    size: int  # bytes

    def getvalue(self) -> bytes:
        """The file's content."""


@dataclass(frozen=True)
class UploadResult:
    """Which of the dropped files were kept."""

    num_kept: int
    refused: tuple[tuple[str, str], ...]  # file name, reason


def keep_uploads(files: Sequence[Upload], folder: Path) -> UploadResult:
    """Write the usable pictures to ``folder``; the first files win where a limit is reached."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = {path.name for path in folder.iterdir()}
    total = sum(path.stat().st_size for path in folder.iterdir())
    kept, refused, num_there = 0, [], len(taken)
    for file in files:
        reason = _limit(file, num_there + kept, total)
        if reason is None:
            path = _write(folder, file, taken)
            reason = _problem(path)
        if reason is None:
            total += file.size
            kept += 1
        else:
            refused.append((file.name, reason))
    return UploadResult(kept, tuple(refused))


def keep_file(file: Upload, folder: Path) -> Path:
    """Write a dropped file that is no picture, under its own name without folders; returns its place."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = Path(file.name.replace("\\", "/")).name.lstrip(".") or "masks"
    path = folder / f"{Path(plain).stem[:100]}{Path(plain).suffix[:10]}"
    path.write_bytes(file.getvalue())
    return path


def _limit(file: Upload, count: int, total: int) -> str | None:
    if count >= MAX_FILES:
        return f"More than {MAX_FILES} pictures; put them in a folder on this machine and give its path."
    if file.size > MAX_FILE_MB * _MB:
        return f"It has {file.size / _MB:.0f} MB, more than the limit of {MAX_FILE_MB} MB a file; save a smaller copy."
    if total + file.size > MAX_TOTAL_MB * _MB:
        return f"More than {MAX_TOTAL_MB} MB in all; put them in a folder on this machine and give its path."
    return None


def _write(folder: Path, file: Upload, taken: set[str]) -> Path:
    """A new file of this content, also if another thread writes into the folder."""
    while True:
        path = folder / _free_name(file.name, taken)
        taken.add(path.name)
        with suppress(FileExistsError), path.open("xb") as new:
            new.write(file.getvalue())
            return path


def _problem(path: Path) -> str | None:
    """Why the file is no usable picture; it is deleted then."""
    try:
        inspect_image(path, max_pixels=MAX_PIXELS)
    except DatasetError as error:
        path.unlink()
        return str(error).removeprefix(f"Cannot read {path}. ")
    return None


def _free_name(name: str, taken: set[str]) -> str:
    """A file name without folders, with a picture's suffix (the reader goes by the content), not taken yet."""
    plain = Path(name.replace("\\", "/")).name.lstrip(".") or "photo"
    stem, suffix = Path(plain).stem[:100], Path(plain).suffix
    suffix = suffix if suffix.lower() in PHOTO_SUFFIXES else f"{suffix}.jpg"
    candidate, number = f"{stem}{suffix}", 2
    while candidate in taken:
        candidate, number = f"{stem}-{number}{suffix}", number + 1
    return candidate
