"""Random subsets of the classes of a VOC folder, as VOC folders of their own with the same photos in shorter lists.

Masks, foreground and vectors are made of all photos, whatever the lists say, so the runs on all subsets share them.
Clusters and models see the photos that the lists name. Ground truth chooses these photos, and is read for the report.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskdistill.datasets import IGNORE_INDEX, PhotoSource, open_source, read_label

WHOLE = "all"  # name of the set of all classes


@dataclass(frozen=True)
class ClassSubset:
    """Photos that show nothing but some of the classes."""

    name: str
    data: Path  # VOC folder
    classes: tuple[str, ...]
    num_photos: int  # of the train and the val list


def whole_set(data: Path) -> ClassSubset:
    """All classes of a VOC folder, as it is."""
    source = _open(data)
    listed = sum(photo.split in ("train", "val") for photo in source.photos)
    return ClassSubset(WHOLE, data, source.classes, listed)


def make_subsets(data: Path, sizes: list[int], folder: Path) -> list[ClassSubset]:
    """Draw classes and write a VOC folder for each draw.

    Args:
        data: VOC folder with ground truth and train and val lists.
        sizes: Number of classes of each subset. Of one size, the first is always the same draw, the second another.
        folder: Where to.
    """
    source = _open(data) if sizes else None
    shown = _classes_of_photos(source) if source else {}
    subsets = []
    for place, size in enumerate(sizes):
        draw = sizes[:place].count(size)
        order = np.random.default_rng((size, draw)).permutation(len(source.classes))
        chosen = frozenset((order[:size] + 1).tolist())
        kept = {id for id, classes in shown.items() if classes and classes <= chosen}
        subsets.append(_write(source, chosen, kept, folder / f"{size}-{'abcdefghij'[draw]}"))
    return subsets


def _open(data: Path) -> PhotoSource:
    source = open_source(str(data))
    if not source.has_labels or not {"train", "val"} <= set(source.splits):
        raise SystemExit(f"{data} needs ground truth, and train and val lists.")
    return source


def _classes_of_photos(source: PhotoSource) -> dict[str, frozenset[int]]:
    return {
        photo.id: frozenset(np.unique(read_label(source, photo)).tolist()) - {0, IGNORE_INDEX}
        for photo in source.photos
    }


def _write(source: PhotoSource, chosen: frozenset[int], kept: set[str], folder: Path) -> ClassSubset:
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True, exist_ok=True)
    for name in ("JPEGImages", "SegmentationClass"):
        link = folder / name
        if not link.is_symlink():
            link.symlink_to((source.root / name).resolve(), target_is_directory=True)
    (folder / "classes.txt").write_text("\n".join(("background", *source.classes)) + "\n", encoding="utf-8")
    for split in ("train", "val"):
        names = [photo.id for photo in source.split(split) if photo.id in kept]
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    classes = tuple(name for number, name in enumerate(source.classes, 1) if number in chosen)
    listed = sum(photo.id in kept for split in ("train", "val") for photo in source.split(split))
    return ClassSubset(folder.name, folder, classes, listed)
