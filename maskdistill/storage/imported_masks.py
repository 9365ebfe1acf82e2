"""Masks that were brought into a run: where they lie, and how they are written and read."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from maskdistill.storage.read_files import DamagedFileError, MissingFileError, read_table

FOLDER = "imported"
MASKS_PER_PHOTO = 1000  # mask ids of such a run are photo number * 1000 + place
MOST_PER_PHOTO = 990  # masks; the ids that are left are for objects that the first model finds
FORMATS = {
    "coco": "COCO",
    "results": "a list of COCO results",
    "sam": "Segment Anything",
    "yolo": "YOLO",
    "png": "PNG",
    "voc": "VOC",
    "fiftyone": "FiftyOne",
}
_COLUMNS = ("photo", "place", "counts", "score", "category", "name")


@dataclass(frozen=True, eq=False)
class BroughtMasks:
    """Masks for a run, and what is written down about them."""

    table: pd.DataFrame  # photo (id), place (from 0, rising within a photo), counts, score (NaN: none), category, name
    record: dict[str, Any]  # for run.json; ``digest`` is of the table

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[object]], about: Mapping[str, Any]) -> "BroughtMasks":
        """From rows as in the table's columns, photo by photo, and what else is to be noted."""
        table = pd.DataFrame(rows, columns=_COLUMNS).astype({"place": "int64", "score": "float64"})
        return cls(table, {**about, "digest": _digest(table.itertuples(index=False, name=None))})


def masks_path(run: Path) -> Path:
    """The table of the masks that were brought into a run."""
    return run / FOLDER / "masks.parquet"


def read_brought(run: Path, digest: str) -> pd.DataFrame:
    """The masks that were brought into a run, photo by photo.

    Raises:
        RunError: If the file is gone, damaged, or of another import.
    """
    path = masks_path(run)
    try:
        table = read_table(path)
    except FileNotFoundError as error:
        raise MissingFileError(path) from error
    if _digest(table[list(_COLUMNS)].itertuples(index=False, name=None)) != digest:
        raise DamagedFileError(path, "it is of another import than run.json tells of")
    return table


def by_photo(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Photo id and its rows."""
    for photo, rows in table.groupby("photo", sort=False):
        yield str(photo), rows


def _digest(rows: Iterable[tuple[object, ...]]) -> str:
    state = hashlib.blake2b(digest_size=16)
    for row in rows:
        state.update(repr(tuple(None if value != value else value for value in row)).encode())
    return state.hexdigest()
