"""The photos of a run as its own files name them, without looking at their folder again."""

import json
import os
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from maskdistill.datasets import Photo, PhotoSource, ViewRecipe, reopen_source
from maskdistill.datasets.photo_table import FEW, PLACE_COLUMNS, PhotoTable
from maskdistill.datasets.records import Place
from maskdistill.errors import DatasetError
from maskdistill.storage.read_files import DamagedFileError, reading
from maskdistill.storage.run_folder import Run, path_bytes_of, paths_of


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
