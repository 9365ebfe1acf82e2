"""The photos of a run as its own table names them, without looking at their folder again."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from maskdistill.datasets import Photo, PhotoSource, ViewRecipe, reopen_source
from maskdistill.datasets.photo_table import FEW, PLACE_COLUMNS, PhotoTable, place_cells, written_place
from maskdistill.datasets.records import Place
from maskdistill.errors import DatasetError, printable
from maskdistill.storage.read_files import DamagedFileError, reading
from maskdistill.storage.run_folder import Run, write_table
from maskdistill.storage.text_cells import text_cells


def photos_of(run: Run) -> Sequence[Photo]:
    """The photos by number, as they were when the masks were made; those that could not be read after all too.

    Many photos are a ``PhotoTable``, unless there are views among them.

    Raises:
        RunError: If the run has no photos yet.
    """
    table = _numbered(run)
    with reading(run.images_path):
        if len(table) > FEW and not table["view"].notna().any():
            return PhotoTable(_rows_of(table))
        columns = [table[name].tolist() for name in ("id", "height", "width", "digest", "split", "view")]
        return [
            Photo(id, path, int(height), int(width), digest, text_or_none(split), read_view(view), place)
            for path, place, id, height, width, digest, split, view in zip(
                paths_of(table), places_of(table), *columns, strict=True
            )
        ]


def _rows_of(table: pd.DataFrame) -> pa.Table:
    """What ``PhotoTable`` is made of, from rows of images.parquet."""
    columns = {
        "id": pa.array(table["id"], pa.string()),
        "path": pa.array(path_bytes_of(table), pa.binary()),
        **{name: pa.array(table[name].astype("int64")) for name in ("height", "width")},
        **{name: pa.array(table[name], pa.string(), from_pandas=True) for name in ("digest", "split")},
    }
    kinds = zip(PLACE_COLUMNS, (pa.binary(), pa.int64(), pa.int64()), strict=True)
    for name, kind in kinds:
        there = name in table
        columns[name] = pa.array(table[name], kind, from_pandas=True) if there else pa.nulls(len(table), kind)
    return pa.table(columns)


def places_of(table: pd.DataFrame) -> list[Place | None]:
    """Where the bytes of photos stand that are no files of their own; a place for each row of images.parquet."""
    if not {*PLACE_COLUMNS} <= {*table.columns}:
        return [None] * len(table)
    cells = zip(*(table[name].tolist() for name in PLACE_COLUMNS), strict=True)
    return [
        Place(os.fsdecode(file), int(start), int(size)) if isinstance(file, bytes) else None
        for file, start, size in cells
    ]


def check_photos(run: Run) -> None:
    """Refuse what ``photos_of`` would, without making the photos.

    Raises:
        RunError: As ``photos_of``.
    """
    table = _numbered(run, ("height", "width", "digest", "view", "id", "path", "split"))
    with reading(run.images_path):
        for name in ("height", "width"):
            table[name].astype("int64")
        for view in table["view"].dropna():
            read_view(view)


def photo_sizes(run: Run) -> np.ndarray:
    """(P, 2) int64 height and width in pixels of the photos, by number.

    Raises:
        RunError: If the run has no photos yet.
    """
    table = _numbered(run, ("height", "width", "digest", "view"))
    with reading(run.images_path):
        return table[["height", "width"]].to_numpy(np.int64)


def _numbered(run: Run, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The rows of the photos that have a number; what could not be opened at all has none."""
    table = run.images(columns)
    lacking = [name for name in ("digest", "view") if name not in table]
    if lacking:
        raise DamagedFileError(run.images_path, f"it has no column '{lacking[0]}'")
    return table[table["digest"].notna()]


def truth_of_photos(run: Run, photos: Sequence[Photo] | None = None) -> PhotoSource | None:
    """The run's photos with their ground truth, for ``read_label``, without looking at their folder again.

    Args:
        run: The run.
        photos: Its photos, if they are at hand.

    Returns:
        None if there is no ground truth, or none any more.

    Raises:
        RunError: If the run has no photos yet.
    """
    info = run.info()
    known = info.get("source", {})
    if not known.get("has_labels"):
        return None
    values = known.get("label_values", "ids")
    try:
        source = reopen_source(known["kind"], info["data"], photos or photos_of(run), known["classes"], values)
    except (DatasetError, OSError):  # the folder is not what it was
        return None
    return source if source.has_labels else None


def text_or_none(value: object) -> str | None:
    """An empty cell of a column of texts may come back as NaN."""
    return value if isinstance(value, str) else None


def read_view(value: object) -> ViewRecipe | None:
    """The view of a photo, as images.parquet holds it; None for the whole photo."""
    if not isinstance(value, str):
        return None
    values = json.loads(value)
    return ViewRecipe(**{**values, "box": tuple(values["box"])})


def write_images(
    run: Run, source: PhotoSource, errors: Mapping[str, str] | None = None, problems: Mapping[str, str] | None = None
) -> None:
    """Write images.parquet: the photos of a source, then what was skipped and why.

    Args:
        run: Run folder.
        source: Photos.
        errors: Photo id -> why it could not be read after all.
        problems: Photo id -> why its masks are doubtful.
    """
    errors, problems = errors or {}, problems or {}
    photos, skipped = list(source.photos), source.skipped_photos
    ids = [photo.id for photo in photos]
    none: list[Any] = [None] * len(skipped)
    places = [written_place(photo.place) for photo in photos]
    names = [source.file_name(photo) for photo in photos]
    columns: dict[str, list[Any]] = {
        "id": ids + [printable(item.path) for item in skipped],
        **text_cells("path", [photo.path for photo in photos] + [item.path for item in skipped]),
        **{name: [getattr(photo, name) for photo in photos] + none for name in ("height", "width", "digest", "split")},
        **({} if all(place is None for place in places) else place_cells(places + none)),
        "view": [_view_text(photo.view) for photo in photos] + none,
        **{name: cells + none for name, cells in text_cells("file_name", names).items()},
        "readable": [id not in errors for id in ids] + [False] * len(skipped),
        "reason": [errors.get(id, "") for id in ids] + [item.reason for item in skipped],
        "problem": [problems.get(id, "") for id in ids] + [""] * len(skipped),
    }
    write_table(run.images_path, pd.DataFrame(columns))


def paths_of(images: pd.DataFrame) -> list[Path]:
    """The files of the rows of images.parquet."""
    return [Path(os.fsdecode(path)) for path in path_bytes_of(images)]


def path_bytes_of(images: pd.DataFrame) -> list[bytes]:
    """The same as the system takes them, without an object for each, which a million take long to make."""
    if "path_bytes" not in images:
        encode = str.encode if sys.getfilesystemencoding() == "utf-8" else os.fsencode  # the first is quicker
        return list(map(encode, images["path"].tolist()))
    cells = zip(images["path"].tolist(), images["path_bytes"].tolist(), strict=True)
    return [content if isinstance(content, bytes) else os.fsencode(path) for path, content in cells]


def _view_text(view: Any) -> str | None:
    return None if view is None else json.dumps(asdict(view))
