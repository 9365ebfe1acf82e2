"""Masks as a table with their run-length codes: what stages read. The COCO file beside it is a copy for other tools.

Runs of earlier versions have the COCO file alone; that is read then.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from maskdistill.datasets import Photo
from maskdistill.storage.read_files import DamagedFileError, read_table, reading
from maskdistill.storage.run_layout import CODE_COLUMNS

MOST_IN_JSON = 100_000  # masks up to which the COCO file is written beside the table; beyond, by ``maskdistill export``
_TABLES = {"proposals.json": "masks.parquet", "masks.json": "masks.parquet"}  # COCO file: the table beside it
_BOX = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
_FURTHER = ("recut", "cut_id", "pool", "category", "mended")  # that only some runs' masks have
_PART = "part_"
_AT_ONCE = 10_000  # masks that are made into objects together


def coded_table(path: Path) -> Path | None:
    """The table that holds the masks of a COCO file of a run; None where the COCO file alone does.

    Raises:
        DamagedFileError: If the table cannot be read.
    """
    table = path.with_name(_TABLES.get(path.name, path.name))
    if table == path or not table.is_file():
        return None
    with reading(table):
        names = set(pq.read_schema(table).names)
    return table if names.issuperset(CODE_COLUMNS) else None


def has_masks(path: Path) -> bool:
    """Whether the masks of a COCO file of a run are there, in either form."""
    return path.is_file() or coded_table(path) is not None


def mask_table(photos: Sequence[Photo], results: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a mask, the photos in order, best mask first.

    Args:
        photos: Of the run.
        results: ``number``, ``problem`` and ``annotations`` of photos, in order.
    """
    items = [item for result in results for item in result["annotations"]]
    photo_of = {result["number"]: photos[result["number"]] for result in results if result["annotations"]}
    of_mask = [photo_of[item["image_id"]] for item in items]
    firsts = [rank for result in results for rank in range(len(result["annotations"]))]
    problems = [
        (result["problem"] or "") if rank == 0 else ""
        for result in results
        for rank in range(len(result["annotations"]))
    ]
    boxes = dict(zip(_BOX, zip(*(item["bbox"] for item in items), strict=True), strict=False))
    areas = [item["area"] for item in items]
    sides = [item["segmentation"]["size"] for item in items]
    columns: dict[str, Any] = {
        "mask_id": [item["id"] for item in items],
        "image_id": [photo.id for photo in of_mask],
        "rank": firsts,
        "score": [item["score"] for item in items],
        "area": [area / (photo.height * photo.width) for area, photo in zip(areas, of_mask, strict=True)],
        **{name: boxes.get(name, ()) for name in _BOX},
        "problem": problems,
        **{name: [item.get(name) for item in items] for name in _FURTHER if any(name in item for item in items)},
    }
    parts = dict.fromkeys(name for item in items for name in item["parts"])
    columns |= {f"{_PART}{name}": [item["parts"].get(name) for item in items] for name in parts}
    columns |= {
        "image": np.array([item["image_id"] for item in items], np.int32),
        "height": np.array([size[0] for size in sides], np.int32),
        "width": np.array([size[1] for size in sides], np.int32),
        "pixels": np.array(areas, np.int64),
        "counts": [item["segmentation"]["counts"] for item in items],
    }
    if not items:
        return pd.DataFrame(columns=["mask_id", "image_id", "score", *_BOX, *CODE_COLUMNS])
    return pd.DataFrame(columns)


def read_code_columns(table: Path) -> pa.Table:
    """``mask_id``, ``image``, the box as ``x``, ``y``, ``w``, ``h``, ``height``, ``width``, ``counts``, by rising id.

    Raises:
        DamagedFileError: If the table cannot be read, or has other columns or two masks of one id.
    """
    with reading(table):
        found = pq.read_table(
            table,
            columns=["mask_id", *_BOX, *CODE_COLUMNS],
            page_checksum_verification=True,
        )
        kinds = {"mask_id": pa.int64(), "counts": pa.large_string()}
        names = ("mask_id", "image", *_BOX, "height", "width", "counts")
        if not found.num_rows:
            found = pa.table({name: pa.array([], kinds.get(name, pa.int32())) for name in names})
        lacking = next((name for name in names if name not in found.column_names or found[name].null_count), None)
        if lacking is not None:
            raise DamagedFileError(table, f"column '{lacking}' is not there, or has empty cells")
        columns = {name.removeprefix("bbox_"): found[name].cast(kinds.get(name, pa.int32())) for name in names}
        rows = pa.table(columns).combine_chunks()
        rows.validate(full=True)
        ids = rows["mask_id"].to_numpy()
        if (np.diff(ids) <= 0).any():
            rows = rows.take(np.argsort(ids, kind="stable")).combine_chunks()
            if (np.diff(rows["mask_id"].to_numpy()) == 0).any():
                raise DamagedFileError(table, "two masks have one id")
        return rows


def read_annotations(table: Path) -> list[dict[str, Any]]:
    """The masks of such a table as COCO annotations, in its order.

    Raises:
        DamagedFileError: If it cannot be read.
    """
    frame = read_table(table)
    if not len(frame):
        return []
    with reading(table):
        found: list[dict[str, Any]] = []
        for first in range(0, len(frame), _AT_ONCE):
            found += _as_annotations(frame.iloc[first : first + _AT_ONCE])
        return found


def _as_annotations(frame: pd.DataFrame) -> list[dict[str, Any]]:
    cells = {name: frame[name].tolist() for name in ("mask_id", "score", *CODE_COLUMNS)}
    boxes = list(zip(*(frame[name].tolist() for name in _BOX), strict=True))
    parts = {name.removeprefix(_PART): frame[name].tolist() for name in frame.columns if name.startswith(_PART)}
    further = {name: _plain(frame[name]) for name in _FURTHER if name in frame}
    annotations = []
    for row, id in enumerate(cells["mask_id"]):
        item: dict[str, Any] = {
            "id": id,
            "image_id": cells["image"][row],
            "category_id": 1,
            "segmentation": {"size": [cells["height"][row], cells["width"][row]], "counts": cells["counts"][row]},
            "area": cells["pixels"][row],
            "bbox": list(boxes[row]),
            "iscrowd": 0,
            "score": cells["score"][row],
            "parts": {name: values[row] for name, values in parts.items() if values[row] == values[row]},
        }
        item |= {name: values[row] for name, values in further.items() if values[row] is not None}
        annotations.append(item)
    return annotations


def _plain(column: pd.Series) -> list[Any]:
    """Cells as they were given: None where there was none, whole numbers that pandas made floats of whole again."""
    if pd.api.types.is_float_dtype(column):
        return [None if value != value else int(value) for value in column.tolist()]
    return [None if value != value else value for value in column.tolist()]
