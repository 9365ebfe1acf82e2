"""From files to photos: read many of them at once, keep the usable ones, and the reason for each of the others."""

import hashlib
import os
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from maskdistill.datasets.images import inspect_image
from maskdistill.datasets.names import without_suffix
from maskdistill.datasets.photo_files import UnreadablePhotoError, open_photo_file, size_of
from maskdistill.datasets.records import LeftOut, Photo, Place, ProgressCallback
from maskdistill.errors import DatasetError

_DIGEST_BYTES = 64 * 1024  # read at either end of a file
_MAX_THREADS = 8  # the work is mostly waiting for the disk
_AHEAD = 256  # files that wait for a thread
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class FoundFile:
    """A file that may be a photo."""

    id: str
    path: Path
    split: str | None = None
    place: Place | None = None


def scan_photos(
    candidates: Sequence[FoundFile], *, on_progress: ProgressCallback | None = None
) -> tuple[tuple[Photo, ...], tuple[LeftOut, ...]]:
    """Inspect the files in a pool of threads; both results keep the order of the candidates."""
    photos: list[Photo] = []
    skipped: list[LeftOut] = []
    for result in scan_files(candidates, on_progress):
        if isinstance(result, Photo):
            photos.append(result)
        else:
            skipped.append(result)
    return tuple(photos), tuple(skipped)


def scan_files(
    candidates: Sequence[FoundFile], on_progress: ProgressCallback | None = None
) -> Iterator[Photo | LeftOut]:
    """The same, each file's result in its place."""
    pool = ThreadPoolExecutor(max_workers=min(_MAX_THREADS, (os.cpu_count() or 1) + 2))
    try:
        for done, result in enumerate(_map_ahead(pool, candidates), start=1):
            yield result
            if on_progress is not None:
                on_progress(done, len(candidates))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C must not wait, not even for a disk that hangs


def require_photos(where: Path, photos: Sequence[Photo], skipped: Sequence[LeftOut]) -> None:
    """Raise ``DatasetError`` if no photo is left, with the first of the reasons."""
    if photos:
        return
    if [item.path for item in skipped] == [where]:
        raise DatasetError(f"Cannot use {where}. {skipped[0].reason}")
    if skipped:
        raise DatasetError(
            f"None of the {sum(item.count for item in skipped)} pictures in {where} can be used. "
            f"The first, {skipped[0].path.name}: {skipped[0].reason}"
        )
    raise DatasetError(f"{where} names no picture. Give a folder of photos, a VOC or COCO folder, or 'sample'.")


def digest_file(path: Path, place: Place | None = None) -> str:
    """Hex digest of a file's size, first and last 64 KiB: cheap, and the same wherever the file lies."""
    with open_photo_file(path, place) as file:
        size = size_of(file)
        state = hashlib.blake2b(str(size).encode(), digest_size=16)
        state.update(file.read(_DIGEST_BYTES))
        file.seek(max(0, size - _DIGEST_BYTES))
        state.update(file.read(_DIGEST_BYTES))
    return state.hexdigest()


def is_as_seen(photo: Photo) -> bool:
    """Whether the file of a photo can be read, and is the one that was seen first."""
    try:
        return digest_file(photo.path, photo.place) == photo.digest
    except (DatasetError, OSError):
        return False


def unique_ids(names: Sequence[str]) -> list[str]:
    """An id for every file name: the name without its suffix, or with it where two differ by the suffix only.

    Args:
        names: Relative paths with posix separators, all different.
    """
    stems = [without_suffix(name) for name in names]
    counts, taken = Counter(stems), set(names)
    chosen = [name if counts[stem] > 1 or stem in taken else stem for name, stem in zip(names, stems, strict=True)]
    # A file name that is no valid text, from an old system, could not be written to a table.
    return [name.encode("utf-8", "backslashreplace").decode() for name in chosen]


def natural_key(name: str) -> tuple[Any, ...]:
    """Sort key under which 2.jpg comes before 10.jpg, folder by folder; the plain name decides a tie."""
    folder, slash, last = name.rpartition("/")
    return (*(_natural_folder(folder) if slash else ()), _natural_part(last)), name


@lru_cache(maxsize=1024)
def _natural_folder(folder: str) -> tuple[tuple[str | int, ...], ...]:
    return tuple(map(_natural_part, folder.split("/")))


def _natural_part(part: str) -> tuple[str | int, ...]:
    pieces: list[str | int] = list(_DIGITS.split(part.casefold()))
    pieces[1::2] = map(int, pieces[1::2])  # the texts between take turns with numbers
    return tuple(pieces)


def _map_ahead(pool: ThreadPoolExecutor, candidates: Sequence[FoundFile]) -> Iterator[Photo | LeftOut]:
    """Results in order; a million of files are not all handed to the pool at once."""
    waiting: deque[Future[Photo | LeftOut]] = deque()
    for candidate in candidates:
        waiting.append(pool.submit(_scan_photo, candidate))
        if len(waiting) > _AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _scan_photo(candidate: FoundFile) -> Photo | LeftOut:
    try:
        height, width = inspect_image(candidate.path, candidate.place)
        digest = digest_file(candidate.path, candidate.place)
    except UnreadablePhotoError as error:
        return LeftOut(candidate.path, error.reason)
    except OSError as error:
        return LeftOut(candidate.path, f"The system refuses to read it: {error.strerror}.")
    return Photo(candidate.id, candidate.path, height, width, digest, candidate.split, place=candidate.place)
