"""Masks as a table with their run-length codes: what stages read. The COCO file beside it is a copy for other tools.

Runs of earlier versions have the COCO file alone; that is read then.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from maskdistill.datasets import Photo
from maskdistill.files import replace_atomically, write_json
from maskdistill.storage.read_files import DamagedFileError, find_mismatch, read_table, reading
from maskdistill.storage.run_layout import BOX_COLUMNS, CODE_COLUMNS, COUNT

MOST_IN_JSON = 100_000  # masks up to which the COCO file is written beside the table; beyond, by ``maskdistill export``
_TABLES = {  # COCO file: the table beside it
    **dict.fromkeys(("proposals.json", "masks.json"), "masks.parquet"),
    **{f"{name}.json": f"{name}.parquet" for name in ("candidates", "instances")},
}
_FURTHER = ("recut", "cut_id", "pool", "category", "mended")  # that only some runs' masks have
_PART = "part_"
_AT_ONCE = 10_000  # masks that are made into objects together
_ABOUT = b"maskdistill"  # key in a table's schema: what its COCO file says besides masks and photos
_ABOUT_SHAPE = {"classes": [COUNT], "photos": [COUNT]}
_DIGITS = 6  # after the point, of a candidate's score in its COCO file


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


def mask_table(
    photos: Sequence[Photo], results: Sequence[Mapping[str, Any]], *, has_labels: bool = False
) -> pd.DataFrame:
    """One row a mask, the photos in order, best mask first.

    Args:
        photos: Of the run.
        results: ``number``, ``problem`` and ``annotations`` of photos, in order.
        has_labels: Whether a mask's category is one of several; then column ``label`` tells it.
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
    codes = code_columns(items)
    columns: dict[str, Any] = {
        "mask_id": [item["id"] for item in items],
        "image_id": [photo.id for photo in of_mask],
        "rank": firsts,
        "score": [item["score"] for item in items],
        "area": [item["area"] / (photo.height * photo.width) for item, photo in zip(items, of_mask, strict=True)],
        **{name: codes[name] for name in BOX_COLUMNS},
        "problem": problems,
        **({"label": [item["category_id"] for item in items]} if has_labels else {}),
        **{name: [item.get(name) for item in items] for name in _FURTHER if any(name in item for item in items)},
    }
    parts = dict.fromkeys(name for item in items for name in item["parts"])
    columns |= {f"{_PART}{name}": [item["parts"].get(name) for item in items] for name in parts}
    columns |= {name: codes[name] for name in CODE_COLUMNS}
    if not items:
        return pd.DataFrame(columns=["mask_id", "image_id", "score", *BOX_COLUMNS, *CODE_COLUMNS])
    return pd.DataFrame(columns)


def code_columns(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``BOX_COLUMNS`` and ``CODE_COLUMNS`` of COCO annotations."""
    boxes = list(zip(*(item["bbox"] for item in items), strict=True)) or [()] * 4
    sides = [item["segmentation"]["size"] for item in items]
    return {
        **dict(zip(BOX_COLUMNS, boxes, strict=True)),
        "image": np.array([item["image_id"] for item in items], np.int32),
        "height": np.array([size[0] for size in sides], np.int32),
        "width": np.array([size[1] for size in sides], np.int32),
        "pixels": np.array([item["area"] for item in items], np.int64),
        "counts": [item["segmentation"]["counts"] for item in items],
    }


def write_masks(
    coco_path: Path,
    table: pd.DataFrame,
    make_coco: Callable[[], dict[str, Any]],
    *,
    classes: Sequence[int] = (),
    photos: Sequence[int] | None = None,
) -> None:
    """Write a table of masks, and its copy as COCO where it holds at most ``MOST_IN_JSON``.

    Args:
        coco_path: The copy, for other tools; the table, which is what is read, lies beside it.
        table: With ``BOX_COLUMNS`` and ``CODE_COLUMNS``.
        make_coco: Makes the copy.
        classes: Numbers of the classes that masks may be in; none where all are objects of one kind.
        photos: Numbers of the photos that masks were looked for in, where these are not all of the run.
    """
    about: dict[str, Any] = {"classes": list(classes)} if classes else {}
    if photos is not None:  # the others are told by the rows
        about["photos"] = sorted(set(photos).difference(table["image"].tolist()))
    content = pa.Table.from_pandas(table, preserve_index=False)
    if about:
        content = content.replace_schema_metadata({**content.schema.metadata, _ABOUT: json.dumps(about).encode()})
    coco_path.unlink(missing_ok=True)
    replace_atomically(coco_path.with_name(_TABLES[coco_path.name]), partial(pq.write_table, content))
    if len(table) <= MOST_IN_JSON:
        write_json(coco_path, make_coco(), indent=None)


def as_categories(classes: Sequence[int]) -> list[dict[str, Any]]:
    """COCO's categories of classes; of none, the one of all objects."""
    found = [{"id": number, "name": f"cluster {number}"} for number in classes]
    return found or [{"id": 1, "name": "object", "supercategory": "object"}]


def read_about(table: Path) -> dict[str, list[int]]:
    """``classes`` and ``photos``, where there are any, as ``write_masks`` was given them.

    Raises:
        DamagedFileError: If the table cannot be read.
    """
    with reading(table):
        about: dict[str, list[int]] = json.loads((pq.read_schema(table).metadata or {}).get(_ABOUT, b"{}"))
        problem = find_mismatch(about, _ABOUT_SHAPE)
        if not problem and "photos" in about:
            there = pq.read_table(table, columns=["image"])["image"].unique().to_pylist()
            about["photos"] = sorted({*about["photos"], *there})
    if problem:
        raise DamagedFileError(table, f"what it says of its masks is not sound: {problem}")
    return about


def read_code_columns(table: Path) -> pa.Table:
    """``mask_id``, ``image``, the box as ``x``, ``y``, ``w``, ``h``, ``height``, ``width``, ``counts``, by rising id.

    Raises:
        DamagedFileError: If the table cannot be read, or has other columns or two masks of one id.
    """
    with reading(table):
        found = pq.read_table(
            table,
            columns=["mask_id", *BOX_COLUMNS, *CODE_COLUMNS],
            page_checksum_verification=True,
        )
        kinds = {"mask_id": pa.int64(), "counts": pa.large_string()}
        names = ("mask_id", "image", *BOX_COLUMNS, "height", "width", "counts")
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
    boxes = list(zip(*(frame[name].tolist() for name in BOX_COLUMNS), strict=True))
    labels = frame["label"].tolist() if "label" in frame else [1] * len(frame)
    is_judged = "origin" in frame  # candidates: their scores are rounded, and are not made of parts
    parts = {name.removeprefix(_PART): frame[name].tolist() for name in frame.columns if name.startswith(_PART)}
    further = {name: _plain(frame[name]) for name in _FURTHER if name in frame}
    annotations = []
    for row, id in enumerate(cells["mask_id"]):
        item: dict[str, Any] = {
            "id": id,
            "image_id": cells["image"][row],
            "category_id": labels[row],
            "segmentation": {"size": [cells["height"][row], cells["width"][row]], "counts": cells["counts"][row]},
            "area": cells["pixels"][row],
            "bbox": list(boxes[row]),
            "iscrowd": 0,
            "score": round(cells["score"][row], _DIGITS) if is_judged else cells["score"][row],
        }
        if not is_judged:
            item["parts"] = {name: values[row] for name, values in parts.items() if values[row] == values[row]}
        item |= {name: values[row] for name, values in further.items() if values[row] is not None}
        annotations.append(item)
    return annotations


def _plain(column: pd.Series) -> list[Any]:
    """Cells as they were given: None where there was none, whole numbers that pandas made floats of whole again."""
    if pd.api.types.is_float_dtype(column):
        return [None if value != value else int(value) for value in column.tolist()]
    return [None if value != value else value for value in column.tolist()]
