"""A folder in PASCAL VOC's layout: photos, label maps with VOC's palette, lists of names by split, class names."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from maskdistill.datasets import IGNORE_INDEX
from maskdistill.datasets.records import MAX_LABEL
from maskdistill.errors import ConfigError, DatasetError, ShapeError
from maskdistill.exports.folder import exporting
from maskdistill.exports.names import clean_class_names, split_names
from maskdistill.exports.photos import JPEG_ONLY, PhotoMode, count_progress, place_photo, plan_photos, unreadable_notes
from maskdistill.exports.records import ExportImage, ExportSummary, check_images
from maskdistill.files import write_atomically
from maskdistill.pseudo_labels.label_maps import write_label_png

_LISTS = "ImageSets/Segmentation"


def export_voc(
    out: Path,
    images: Sequence[ExportImage],
    label_of: Callable[[ExportImage], np.ndarray | None],
    class_names: Sequence[str],
    *,
    photos: PhotoMode = "link",
    on_progress: Callable[[int, int], None] | None = None,
) -> ExportSummary:
    """Write a label map for each photo.

    ``JPEGImages/<name>.jpg``, ``SegmentationClass/<name>.png`` (0 background, 255 ignore),
    ``ImageSets/Segmentation/<split>.txt``, or ``trainval.txt`` where no photo is in a split, and ``classes.txt``, first
    ``background``. Readers of VOC look for .jpg and for a label of every listed photo: other kinds of picture are saved
    as JPEG, and photos without a label map are there but on no list.

    Args:
        out: New, empty, or the folder of an earlier export.
        images: Photos; unreadable ones are left out, with a note.
        label_of: The (height, width) label map of a photo, 0 background, n for ``class_names[n - 1]``, 255 ignore;
            None if it has none.
        class_names: Names of the classes from 1, without background; at most 254.
        photos: Link to the photos, or copy them: for a folder that is to be moved or given away.
        on_progress: Called with the number of photos done and in total.

    Raises:
        ConfigError: If the folder cannot be used, or there are too many classes or a label beyond them.
        ShapeError: If a label map has another size than its photo.
        DatasetError: If none of the photos can be read.
    """
    check_images(images)
    if len(class_names) > MAX_LABEL:
        raise ConfigError(f"VOC's label maps take at most {MAX_LABEL} classes, got {len(class_names)}. Export COCO.")
    names, notes = clean_class_names(class_names)
    placed, more = plan_photos(images, JPEG_ONLY)
    splits = split_names(images, "trainval")
    lists: dict[str, list[str]] = {splits[item.image.number]: [] for item in placed}
    files = ["classes.txt", *(f"{_LISTS}/{split}.txt" for split in lists)]
    files += [f"JPEGImages/{item.name}" for item in placed] + [f"SegmentationClass/{item.stem}.png" for item in placed]
    with exporting(out, "voc", files):
        num_photos, problems = 0, []
        for item in count_progress(placed, on_progress):
            labels = _checked(label_of(item.image), item.image, len(names))
            try:
                place_photo(item, out / "JPEGImages" / item.name, photos)
            except DatasetError as error:
                problems.append(str(error))
                continue
            num_photos += 1
            if labels is not None:
                write_label_png(out / "SegmentationClass" / f"{item.stem}.png", labels)
                lists[splits[item.image.number]].append(item.stem)
        write_atomically(out / "classes.txt", "".join(f"{name}\n" for name in ("background", *names)))
        written = _write_lists(out, lists)
    num_labels = sum(len(stems) for stems in lists.values())
    if num_labels < num_photos:
        more = (*more, f"{num_photos - num_labels} photos have no label map and are on no list.")
    notes = (*notes, *more, *unreadable_notes(problems))
    return ExportSummary("voc", out, num_photos, num_labels, ("classes.txt", *written), notes)


def _checked(labels: np.ndarray | None, image: ExportImage, num_classes: int) -> np.ndarray | None:
    if labels is None:
        return None
    if labels.shape != (image.height, image.width):
        raise ShapeError(f"The label map of photo {image.id}", f"{(image.height, image.width)}", labels.shape)
    largest = int(labels.max(where=labels != IGNORE_INDEX, initial=0))
    if largest > num_classes:
        raise ConfigError(
            f"The label map of photo {image.id} has class {largest}, wanted 0 to {num_classes}, the number of class "
            f"names, or {IGNORE_INDEX}. Name every class, or paint the map anew."
        )
    return labels.astype(np.uint8)


def _write_lists(out: Path, lists: dict[str, list[str]]) -> list[str]:
    """Write the lists that name a photo; their names, relative to ``out``."""
    written = []
    for split, stems in sorted(lists.items()):
        if stems:
            written.append(f"{_LISTS}/{split}.txt")
            write_atomically(out / written[-1], "".join(f"{stem}\n" for stem in stems))
    return written
