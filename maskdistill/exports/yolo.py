"""A data set for YOLO segmentation: one text file of polygons a photo, in the layout that Ultralytics documents."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from maskdistill.errors import DatasetError
from maskdistill.exports.folder import exporting
from maskdistill.exports.names import NO_SPLIT, clean_class_names, split_names
from maskdistill.exports.photos import (
    PICTURE_SUFFIXES,
    PhotoMode,
    count_progress,
    place_photo,
    plan_photos,
    unreadable_notes,
)
from maskdistill.exports.polygons import join_rings, mask_polygons
from maskdistill.exports.records import ExportImage, ExportMask, ExportSummary, check_images, group_masks
from maskdistill.files import write_atomically
from maskdistill.masks import decode_mask


def export_yolo(
    out: Path,
    images: Sequence[ExportImage],
    masks: Sequence[ExportMask],
    class_names: Sequence[str],
    *,
    photos: PhotoMode = "link",
    on_progress: Callable[[int, int], None] | None = None,
) -> ExportSummary:
    """Write every mask as a polygon.

    ``images/<split>/<name>``, ``labels/<split>/<name>.txt`` with a line ``class x1 y1 x2 y2 ...`` for each mask (class
    from 0, x and y as fractions of the photo's width and height), and ``data.yaml``. Photos in no split are in
    ``train`` if none is in one, else in ``other``, which ``data.yaml`` does not name. A photo without masks has an
    empty file: it counts as background.

    The format knows one polygon a mask: components and holes are joined to one by lines that go there and back, as
    Ultralytics does with COCO's. Exact painting gives the very mask; Ultralytics paints the lines too, a pixel wide.

    Args:
        out: New, empty, or the folder of an earlier export.
        images: Photos; unreadable ones are left out, with a note.
        masks: Masks; empty ones are left out.
        class_names: Names of the classes 1 to K, which become 0 to K - 1.
        photos: Link to the photos, or copy them: for a folder that is to be moved or given away.
        on_progress: Called with the number of photos done and in total.

    Raises:
        ConfigError: If the folder cannot be used, or ids, numbers or classes do not fit.
        ShapeError: If a mask was made for another size than its photo's.
        DatasetError: If none of the photos can be read.
    """
    check_images(images)
    groups = group_masks(images, masks, len(class_names))
    names, notes = clean_class_names(class_names)
    placed, more = plan_photos(images, PICTURE_SUFFIXES)
    splits = split_names(images, "train")
    # Ultralytics keeps what it read in .cache and knows a change by the files' sizes only: the next export removes it.
    files = ["data.yaml", *sorted({f"labels/{splits[item.image.number]}.cache" for item in placed})]
    for item in placed:
        split = splits[item.image.number]
        files += [f"images/{split}/{item.name}", f"labels/{split}/{item.stem}.txt"]
    with exporting(out, "yolo", files):
        num_photos, num_masks, problems = 0, 0, []
        for item in count_progress(placed, on_progress):
            split = splits[item.image.number]
            try:
                place_photo(item, out / "images" / split / item.name, photos)
            except DatasetError as error:
                problems.append(str(error))
                continue
            lines = [line for mask in groups[item.image.number] if (line := polygon_line(mask))]
            write_atomically(out / "labels" / split / f"{item.stem}.txt", "".join(f"{line}\n" for line in lines))
            num_photos, num_masks = num_photos + 1, num_masks + len(lines)
        text, chosen = _data_yaml(names, sorted({splits[item.image.number] for item in placed}))
        write_atomically(out / "data.yaml", text)
    notes = (*notes, *more, *chosen, *unreadable_notes(problems))
    return ExportSummary("yolo", out, num_photos, num_masks, ("data.yaml",), notes)


def polygon_line(mask: ExportMask) -> str:
    """``class x1 y1 x2 y2 ...`` of a mask, fractions with six digits; nothing for an empty mask."""
    pixels = decode_mask(mask.code)
    if not pixels.any():
        return ""
    height, width = pixels.shape
    polygon = join_rings(mask_polygons(pixels)) / (width, height)
    return " ".join([str(mask.label - 1), *(f"{value:.6f}" for value in np.clip(polygon, 0, 1).ravel())])


def _data_yaml(names: Sequence[str], splits: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The text of data.yaml, and a note if a split stands in for another.

    There is no ``path``: Ultralytics then takes the file's own folder, and the export may be moved.
    """
    train = next((name for name in ("train", NO_SPLIT, *splits) if name in splits), "train")
    val = "val" if "val" in splits else train
    used = {"train": train, "val": val, **({"test": "test"} if "test" in splits else {})}
    lines = ["# Written by maskdistill. Paths are relative to the folder of this file."]
    lines += [f"{role}: {_quoted(f'images/{split}')}" for role, split in used.items()]
    lines += ["names:", *(f"  {number}: {_quoted(name)}" for number, name in enumerate(names))]
    stand_ins = [f"{role} means {split}" for role, split in used.items() if role != split]
    note = f"YOLO needs train and val; the photos have no such split, so in data.yaml {' and '.join(stand_ins)}."
    return "\n".join(lines) + "\n", (note,) if stand_ins else ()


def _quoted(text: str) -> str:
    """A YAML string: JSON's is one, as long as nothing is escaped that YAML reads otherwise."""
    return json.dumps(text, ensure_ascii=False)
