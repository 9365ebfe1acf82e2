"""A data set for Hugging Face ``datasets``: one Parquet file a split, photos and masks inside it."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from maskdistill import __version__
from maskdistill.datasets.label_files import palette
from maskdistill.errors import DatasetError
from maskdistill.exports.folder import exporting
from maskdistill.exports.names import clean_class_names, split_names
from maskdistill.exports.photos import (
    PICTURE_SUFFIXES,
    PlacedPhoto,
    count_progress,
    photo_bytes,
    plan_photos,
    unreadable_notes,
)
from maskdistill.exports.records import ExportImage, ExportMask, ExportSummary, check_images, group_masks
from maskdistill.files import replace_atomically, write_atomically
from maskdistill.masks import bounding_box, decode_mask
from maskdistill.pictures.drawing import png_bytes

_PHOTOS_AT_ONCE = 32  # of a row group: what is in memory, and what a reader has to load for one photo
_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_COLUMNS: dict[str, pa.DataType] = {
    "image": _PICTURE,
    "image_id": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "label_map": _PICTURE,
}
_OBJECTS: dict[str, pa.DataType] = {
    "mask_id": pa.int64(),
    "category": pa.int64(),
    "bbox": pa.list_(pa.int32()),
    "area": pa.int64(),
    "score": pa.float32(),
    "kept": pa.bool_(),
    "mask": _PICTURE,
}


def export_huggingface(
    out: Path,
    images: Sequence[ExportImage],
    masks: Sequence[ExportMask],
    class_names: Sequence[str],
    label_of: Callable[[ExportImage], np.ndarray | None],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> ExportSummary:
    """Write every photo with its masks and its label map, to be read by ``datasets.load_dataset(folder)``.

    ``data/<split>-00000-of-00001.parquet`` and ``README.md``, which names the splits. A row is a photo: ``image``,
    ``image_id``, ``width``, ``height``, ``label_map`` (null where there is none; 0 background, 255 ignore) and
    ``objects``, whose lists have an entry a mask: ``mask_id``, ``category`` (as in the label map), ``bbox`` (x, y,
    width, height in pixels), ``area``, ``score``, ``kept`` and ``mask``, a black and white PNG of the photo's size.
    Photos in no split are in ``train`` if none is in one, else in ``other``.

    Args:
        out: New, empty, or the folder of an earlier export.
        images: Photos; unreadable ones are left out, with a note.
        masks: Masks; empty ones are left out.
        class_names: Names of the classes 1 to K; 0 becomes ``background``.
        label_of: The (height, width) label map of a photo, or None.
        on_progress: Called with the number of photos done and in total.

    Raises:
        ConfigError: If the folder cannot be used, or ids, numbers or classes do not fit.
        ShapeError: If a mask was made for another size than its photo's.
        DatasetError: If none of the photos can be read.
    """
    check_images(images)
    groups = group_masks(images, masks, len(class_names))
    names, notes = clean_class_names(["background", *class_names])
    placed, more = plan_photos(images, PICTURE_SUFFIXES)
    splits = {number: name.replace("-", "_") for number, name in split_names(images, "train").items()}
    files = {
        split: f"data/{split}-00000-of-00001.parquet"
        for split in sorted({splits[item.image.number] for item in placed})
    }
    schema = _schema(names)
    problems: list[str] = []
    counts = {"photos": 0, "masks": 0}

    def rows(items: Iterable[PlacedPhoto]) -> Iterator[dict[str, Any]]:
        for item in items:
            try:
                row = _row(item, groups[item.image.number], label_of(item.image))
            except DatasetError as error:
                problems.append(str(error))
                continue
            counts["photos"] += 1
            counts["masks"] += len(row["objects"]["mask_id"])
            yield row

    with exporting(out, "huggingface", ["README.md", *files.values()]):
        ordered = sorted(placed, key=lambda item: splits[item.image.number])
        groups_of_photos = groupby(count_progress(ordered, on_progress), lambda item: splits[item.image.number])
        for split, items in groups_of_photos:
            path = out / files[split]
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_atomically(path, partial(_write, rows=rows(items), schema=schema))
        write_atomically(out / "README.md", _card(files, names))
    notes = (*notes, *more, *unreadable_notes(problems))
    return ExportSummary("huggingface", out, counts["photos"], counts["masks"], tuple(files.values()), notes)


def _row(item: PlacedPhoto, masks: Sequence[ExportMask], labels: np.ndarray | None) -> dict[str, Any]:
    image = item.image
    objects: dict[str, list[Any]] = {name: [] for name in _OBJECTS}
    for mask in masks:
        pixels = decode_mask(mask.code)
        if not pixels.any():
            continue
        picture = {"bytes": png_bytes(Image.fromarray(pixels)), "path": f"{item.stem}-{mask.id}.png"}
        values = (mask.id, mask.label, list(bounding_box(pixels)), int(pixels.sum()), mask.score, mask.kept, picture)
        for name, value in zip(objects, values, strict=True):
            objects[name].append(value)
    label_map = None if labels is None else {"bytes": _label_png(labels), "path": f"{item.stem}.png"}
    return {
        "image": {"bytes": photo_bytes(item), "path": item.name},
        "image_id": image.id,
        "width": image.width,
        "height": image.height,
        "label_map": label_map,
        "objects": objects,
    }


def _schema(names: Sequence[str]) -> pa.Schema:
    """Columns, and in the metadata what ``datasets`` makes of them: pictures, and classes with names."""
    lists = pa.struct([(name, pa.list_(kind)) for name, kind in _OBJECTS.items()])
    of_classes = {"names": list(names), "_type": "ClassLabel"}
    objects = {name: {"feature": _feature(kind), "_type": "Sequence"} for name, kind in _OBJECTS.items()}
    objects["category"]["feature"] = of_classes
    features = {name: _feature(kind) for name, kind in _COLUMNS.items()} | {"objects": objects}
    about = json.dumps({"info": {"features": features}})
    return pa.schema([*_COLUMNS.items(), ("objects", lists)], metadata={"huggingface": about})


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if kind == _PICTURE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "Sequence"}
    name = {"float": "float32"}.get(str(kind), str(kind))
    return {"dtype": name, "_type": "Value"}


def _write(path: Path, rows: Iterable[dict[str, Any]], schema: pa.Schema) -> None:
    with parquet.ParquetWriter(path, schema) as writer:
        for some in _batched(rows):
            writer.write_table(pa.Table.from_pylist(some, schema))


def _batched(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(rows)
    while some := list(islice(iterator, _PHOTOS_AT_ONCE)):
        yield some


def _label_png(labels: np.ndarray) -> bytes:
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette(palette().tobytes())
    return png_bytes(picture)


def _card(files: dict[str, str], names: Sequence[str]) -> str:
    """README.md: which file is which split, for ``datasets``, and what the columns are, for people."""
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for split, file in files.items():
        lines += [f"  - split: {split}", f"    path: {file}"]
    classes = [f"{number}. {name}" for number, name in enumerate(names)]
    about = (
        f"Unsupervised object masks, by maskdistill {__version__}. A row is a photo; `label_map` holds the number of a "
        "class in each pixel (255: unknown), `objects` one entry a mask."
    )
    return "\n".join([*lines, "---", "", about, "", *classes, ""])
