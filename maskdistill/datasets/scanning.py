"""From files to photos: read many of them at once, keep the usable ones, and the reason for each of the others."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from maskdistill.datasets.images import UnreadablePhotoError, inspect_image
from maskdistill.datasets.records import LeftOut, Photo, ProgressCallback
from maskdistill.errors import DatasetError
from maskdistill.roots import OutsideRootsError, open_inside

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})  # in lower case

_DIGEST_BYTES = 64 * 1024  # read at either end of a file
_MAX_THREADS = 8  # the work is mostly waiting for the disk


@dataclass(frozen=True)
class FoundFile:
    """A file that may be a photo."""

    id: str
    path: Path
    split: str | None = None


def scan_photos(
    candidates: Sequence[FoundFile], *, on_progress: ProgressCallback | None = None
) -> tuple[tuple[Photo, ...], tuple[LeftOut, ...]]:
    """Inspect the files in a pool of threads; both results keep the order of the candidates."""
    photos, skipped = [], []
    pool = ThreadPoolExecutor(max_workers=min(_MAX_THREADS, (os.cpu_count() or 1) + 2))
    try:
        for done, result in enumerate(pool.map(_scan_photo, candidates), start=1):
            (photos if isinstance(result, Photo) else skipped).append(result)
            if on_progress is not None:
                on_progress(done, len(candidates))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C must not wait for thousands of files
    return tuple(photos), tuple(skipped)


def require_photos(where: Path, photos: Sequence[Photo], skipped: Sequence[LeftOut]) -> None:
    """Raise ``DatasetError`` if no photo is left, with the first of the reasons."""
    if photos:
        return
    if [item.path for item in skipped] == [where]:
        raise DatasetError(f"Cannot use {where}. {skipped[0].reason}")
    if skipped:
        raise DatasetError(
            f"None of the {len(skipped)} pictures in {where} can be used. "
            f"The first, {skipped[0].path.name}: {skipped[0].reason}"
        )
    raise DatasetError(f"{where} names no picture. Give a folder of photos, a VOC or COCO folder, or 'sample'.")


def digest_file(path: Path) -> str:
    """Hex digest of a file's size, first and last 64 KiB: cheap, and the same wherever the file lies."""
    with open_inside(path) as file:
        size = os.fstat(file.fileno()).st_size
        state = hashlib.blake2b(str(size).encode(), digest_size=16)
        state.update(file.read(_DIGEST_BYTES))
        file.seek(max(0, size - _DIGEST_BYTES))
        state.update(file.read(_DIGEST_BYTES))
    return state.hexdigest()


def unique_ids(names: Sequence[str]) -> list[str]:
    """An id for every file name: the name without its suffix, or with it where two differ by the suffix only.

    Args:
        names: Relative paths with posix separators, all different.
    """
    stems = [str(PurePosixPath(name).with_suffix("")) for name in names]
    counts, taken = Counter(stems), set(names)
    chosen = [name if counts[stem] > 1 or stem in taken else stem for name, stem in zip(names, stems, strict=True)]
    # A file name that is no valid text, from an old system, could not be written to a table.
    return [name.encode("utf-8", "backslashreplace").decode() for name in chosen]


def natural_key(name: str) -> tuple:
    """Sort key under which 2.jpg comes before 10.jpg, folder by folder; the plain name decides a tie."""
    parts = [re.split(r"(\d+)", part.casefold()) for part in name.split("/")]
    numbered = tuple(tuple(int(piece) if i % 2 else piece for i, piece in enumerate(part)) for part in parts)
    return numbered, name


def is_picture_name(path: Path) -> bool:
    """Whether the name has a picture's suffix and is not hidden."""
    return path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".")


def _scan_photo(candidate: FoundFile) -> Photo | LeftOut:
    try:
        height, width = inspect_image(candidate.path)
        digest = digest_file(candidate.path)
    except UnreadablePhotoError as error:
        return LeftOut(candidate.path, error.reason)
    except OutsideRootsError as error:
        return LeftOut(candidate.path, str(error))
    except OSError as error:
        return LeftOut(candidate.path, f"The system refuses to read it: {error.strerror}.")
    return Photo(candidate.id, candidate.path, height, width, digest, candidate.split)
