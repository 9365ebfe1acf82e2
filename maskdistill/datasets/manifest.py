"""A list of photos: a text of paths, or a table of paths with their splits, for photos that no one folder holds."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maskdistill.datasets.addresses import is_address, join, public, shown_path, without_secrets
from maskdistill.datasets.records import LeftOut, PhotoSource, Place, ProgressCallback
from maskdistill.datasets.scanning import require_photos, unique_ids
from maskdistill.datasets.text_lines import read_lines
from maskdistill.errors import DatasetError
from maskdistill.roots import is_inside, open_inside, roots

if TYPE_CHECKING:
    from maskdistill.datasets.seen_files import ListState, SeenFiles

TABLES = {".csv": ",", ".tsv": "\t", ".parquet": ""}  # suffix: what stands between columns
SUFFIXES = (".txt", *TABLES)
PATH_COLUMNS = ("path", "file_name", "filename", "image", "image_path")  # the first that there is
MAX_ROWS = 10_000_000
_COLUMNS = (*PATH_COLUMNS, "split")


def is_manifest(path: Path) -> bool:
    """Whether a file is taken for a list of photos, by its name."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def open_manifest(
    path: Path, *, on_progress: ProgressCallback | None = None, seen: Path | None = None, address: str = ""
) -> PhotoSource:
    """Photos in the order of a list; a photo that is named twice counts once.

    A ``.txt`` has a path a line, and after a tab, if you like, its split. A ``.csv``, ``.tsv`` or ``.parquet`` has a
    column of paths (one of ``PATH_COLUMNS``) and may have one of splits, ``split``. Paths are absolute, or start at
    the folder of the list, or are addresses of objects on other machines (``datasets.remote``).

    Args:
        path: The list.
        on_progress: Called with the number of photos done and in total.
        seen: Where it was kept what the photos were when they were last looked at (``SeenFiles.write``): then a list
            that is the same is not read, nor is a photo whose file is the same.
        address: Where ``path`` was fetched from, if it was; then paths start there.

    Raises:
        DatasetError: If it cannot be read, has no column of paths, or names no usable photo.
    """
    from maskdistill.datasets.photo_table import photos_of_rows  # with pyarrow, which other sources do without
    from maskdistill.datasets.seen_files import ListState, read_seen

    shown = public(address)
    state = ListState.of(path, shown)
    known = read_seen(seen) if seen is not None else None
    if known is None or known.state != state or known.is_cut:
        known = _read_list(path, state, known, address)
    found = known.looked_again(on_progress)
    photos, skipped = photos_of_rows(found.photos), found.skipped
    require_photos(shown_path(address) if address else path, photos, skipped)
    return PhotoSource("folder", shown or str(path), found.root, photos, skipped, seen=found)


def _read_list(path: Path, state: "ListState", before: "SeenFiles | None", address: str) -> "SeenFiles":
    """The photos that a list names, and what is known of them from before."""
    from maskdistill.datasets.seen_files import SeenFiles, unread_rows

    rows = _read_text(path) if path.suffix.lower() == ".txt" else _read_table(path)
    shown = shown_path(address) if address else path
    if len(rows) > MAX_ROWS:
        text = f"{shown} names {len(rows):,} photos; at most {MAX_ROWS:,} can be one run. Give parts of it."
        raise DatasetError(text)
    files: dict[str, tuple[str | None, Place | None]] = {}
    outside: list[LeftOut] = []
    for name, split in rows:
        found = _locate(name, path, address)
        if found is None:
            what = without_secrets(name)
            outside.append(LeftOut(shown, f"It names {what!r:.200}, which is no path that may be used here."))
        else:
            files.setdefault(found[0], (split, found[1]))
    root = _root_of(shown, list(files))
    start = len(os.path.join(root, "")) if root.parts else 0
    ids = unique_ids([file[start:].lstrip("/") for file in files])
    paths, (splits, places) = list(map(os.fsencode, files)), zip(*files.values(), strict=True) if files else ((), ())
    unread = unread_rows(ids, paths, splits, places)
    return SeenFiles(state, root, unread if before is None else before.carried_over(unread), tuple(outside))


def _locate(name: str, path: Path, address: str) -> tuple[str, Place | None] | None:
    """How a photo of a list is shown, and where it is; None if that cannot be used."""
    if not address and not is_address(name):
        file = os.path.normpath(os.path.join(path.parent, name))
        return None if "\0" in name or not is_inside(file) else (file, None)
    whole = name if is_address(name) else join(address, name)
    return None if whole is None or roots() else (str(shown_path(whole)), Place(whole))


def _root_of(path: Path, files: Sequence[str]) -> Path:
    """The folder that ids start at: that of the list where it holds all photos, else the deepest that does."""
    own = os.path.join(path.parent, "")
    if all(file.startswith(own) for file in files):
        return path.parent
    if len({os.path.isabs(file) for file in files}) > 1:  # some here and some on other machines
        return Path()
    try:
        return Path(os.path.commonpath({os.path.dirname(file) for file in files}))
    except ValueError as error:  # drives of Windows
        raise DatasetError(f"The photos of {path} lie on several drives. Give a list for each of them.") from error


def _read_text(path: Path) -> list[tuple[str, str | None]]:
    content = read_lines(path)
    rows = (content.raw(line).partition("\t") for line in content.lines)
    return [(name.rstrip(), split.strip() or None) for name, _, split in rows]


def _read_table(path: Path) -> list[tuple[str, str | None]]:
    import pandas as pd  # which most sources do without
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    separator = TABLES[path.suffix.lower()]
    try:
        with open_inside(path) as file:
            if separator:
                table = pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False, encoding_errors="replace")
            else:
                parquet = ParquetFile(file)  # other columns may hold the pictures themselves
                columns = [name for name in parquet.schema_arrow.names if name.strip().lower() in _COLUMNS]
                empty = pd.DataFrame(columns=parquet.schema_arrow.names)
                table = parquet.read(columns).to_pandas() if columns else empty
    except (OSError, ValueError, pa.ArrowException, pd.errors.ParserError) as error:
        said = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        raise DatasetError(f"Cannot read {path} as a table of photos: {said}. Save it as CSV or Parquet.") from error
    names = {str(column).strip().lower(): column for column in table.columns}
    chosen = next((names[name] for name in PATH_COLUMNS if name in names), None)
    if chosen is None:
        found = ", ".join(map(str, table.columns[:10])) or "none"
        raise DatasetError(f"{path} has no column of paths. Wanted: {', '.join(PATH_COLUMNS)}. Found: {found}.")
    paths = [str(value).strip() if isinstance(value, str) else "" for value in table[chosen]]
    splits = [""] * len(paths)
    if "split" in names:
        splits = ["" if pd.isna(value) else str(value).strip() for value in table[names["split"]]]
    return [(name, split or None) for name, split in zip(paths, splits, strict=True) if name]
