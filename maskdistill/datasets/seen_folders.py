"""Photos of a folder: those that a run looked at before are read again only where their files changed."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from maskdistill import roots
from maskdistill.datasets.records import LeftOut, Photo, ProgressCallback
from maskdistill.datasets.scanning import FoundFile, scan_photos

if TYPE_CHECKING:
    from maskdistill.datasets.seen_files import SeenFiles


class ScannedPhotos(NamedTuple):
    """What is in files that may be photos."""

    photos: Sequence[Photo]
    skipped: tuple[LeftOut, ...]
    seen: "SeenFiles | None"  # to be kept for the next time


def scan_seen(
    path: Path,
    ids: Sequence[str],
    files: Sequence[str | Path],
    splits: Sequence[str | None] | None = None,
    *,
    on_progress: ProgressCallback | None = None,
    seen: Path | None = None,
) -> ScannedPhotos:
    """As ``scan_photos``, but for what is known from before.

    Args:
        path: What a person named.
        ids: Of the photos that files may be.
        files: Their paths; none may be there twice.
        splits: Of each; None for none.
        on_progress: Called with the number of files done and in total.
        seen: Where it was kept what the files were when they were last looked at (``SeenFiles.write``); None if nobody
            keeps it.
    """
    splits = [None] * len(files) if splits is None else splits
    if seen is None:
        candidates = [FoundFile(id, Path(file), split) for id, file, split in zip(ids, files, splits, strict=True)]
        return ScannedPhotos(*scan_photos(candidates, on_progress=on_progress), None)
    from maskdistill.datasets.photo_table import photos_of_rows
    from maskdistill.datasets.seen_files import ListState, SeenFiles, read_seen, unread_rows  # with pyarrow

    paths = list(map(os.fsencode, files))
    state = ListState(os.fspath(path), _digest(ids, paths, splits), tuple(map(str, roots.roots())))
    known = read_seen(seen)
    if known is None or known.state != state:
        rows = unread_rows(ids, paths, splits)
        if known is not None and known.state.roots == state.roots:  # which decide what links may be followed
            rows = known.carried_over(rows)
        known = SeenFiles(state, path, rows)
    found = known.looked_again(on_progress)
    return ScannedPhotos(photos_of_rows(found.photos), found.skipped, found)


def _digest(ids: Sequence[str], paths: Sequence[bytes], splits: Sequence[str | None]) -> str:
    """Of the names of all files: another one is there, or one is gone, where it differs."""
    state = hashlib.blake2b(digest_size=16)
    for column in (map(os.fsencode, ids), paths, (os.fsencode(split or "") for split in splits)):
        state.update(b"\0".join(column) + b"\0\0")
    return state.hexdigest()
