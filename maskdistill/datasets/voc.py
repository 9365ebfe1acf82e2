"""A folder in the layout of PASCAL VOC: JPEGImages, and optionally SegmentationClass, ImageSets and classes.txt."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from maskdistill.datasets.folder import list_pictures
from maskdistill.datasets.picture_kinds import PHOTO_SUFFIXES
from maskdistill.datasets.records import IGNORE_INDEX, LeftOut, Photo, PhotoSource, ProgressCallback
from maskdistill.datasets.scanning import FoundFile, natural_key, require_photos, scan_photos
from maskdistill.errors import DatasetError

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

BACKGROUND_NAMES = frozenset({"background", "_background_", "__background__"})

_LABEL_FOLDERS = ("SegmentationClass", "SegmentationClassAug")  # the official labels go first
# Of the lists that name a photo the first one here counts. A val photo never becomes a training photo: SBD's own
# lists overlap with VOC's val. The value is the split's name.
_LISTS = {"val": "val", "train": "train", "trainaug": "train", "test": "test", "trainval": "train"}
_NUM_SAMPLED_LABELS = 200  # label files looked at to learn whether their ids are VOC's
_VOC_STEM = re.compile(r"(\d{4}_)?\d{6}")


def find_voc(path: Path) -> Path | None:
    """The folder that holds JPEGImages: the path itself, or the only VOC20xx below it (as in VOCdevkit/VOC2012).

    Raises:
        DatasetError: If there are several below it.
    """
    if (path / "JPEGImages").is_dir():
        return path
    found = sorted(
        {folder.parent for pattern in ("VOC20*", "VOCdevkit/VOC20*") for folder in path.glob(f"{pattern}/JPEGImages")}
    )
    if len(found) > 1:
        names = ", ".join(str(folder.relative_to(path)) for folder in found)
        raise DatasetError(f"{path} holds several VOC folders: {names}. Choose one of them.")
    return found[0] if found else None


def open_voc(root: Path, *, on_progress: ProgressCallback | None = None) -> PhotoSource:
    """Photos of JPEGImages. Those in no list of ImageSets/Segmentation have the split None.

    Raises:
        DatasetError: If JPEGImages holds no usable picture, or a list or classes.txt cannot be read.
    """
    files, skipped = list_pictures(root / "JPEGImages")
    splits = read_splits(root / "ImageSets" / "Segmentation")
    by_stem: dict[str, Path] = {}
    for file in files:
        if by_stem.setdefault(file.stem, file) is not file:
            reason = f"{by_stem[file.stem].name} has the same name up to the suffix and was taken; rename one of them."
            skipped = (*skipped, LeftOut(file, reason))
    candidates = [FoundFile(stem, file, splits.get(stem, (None, ""))[0]) for stem, file in by_stem.items()]
    photos, unreadable = scan_photos(candidates, on_progress=on_progress)
    skipped = (*skipped, *unreadable, *_missing(root, splits, by_stem))
    require_photos(root, photos, skipped)
    source = PhotoSource("voc", str(root), root, photos, skipped, label_paths=label_folders(root))
    has_labels = any(_find_label(source, photo) for photo in photos)
    return replace(source, classes=_read_classes(source, root / "classes.txt"), has_labels=has_labels)


def label_folders(root: Path) -> tuple[Path, ...]:
    """The folders of ground truth that a VOC folder has."""
    return tuple(root / name for name in _LABEL_FOLDERS if (root / name).is_dir())


def read_splits(folder: Path) -> dict[str, tuple[str, str]]:
    """Photo id -> (split, name of the list it is from), out of the .txt files of ImageSets/Segmentation.

    ``trainaug`` and ``trainval`` count as train; ``val`` wins over train, any known list over one of another name.
    """
    order = list(_LISTS)
    rank = {path: _list_name(path) for path in folder.glob("*.txt")}
    known = sorted(rank, key=lambda path: (order.index(rank[path]) if rank[path] in order else len(order), path.name))
    splits: dict[str, tuple[str, str]] = {}
    for path in known:
        for line in _read_text(path).splitlines():
            if line.strip():
                splits.setdefault(_listed_id(line), (_LISTS.get(rank[path], path.stem), path.name))
    return splits


def read_label(source: PhotoSource, photo: Photo) -> np.ndarray | None:
    """Ground truth of a photo, for reporting only.

    Returns:
        (height, width) uint8 class ids, 0 background, 255 ignore; None if the photo has no label file.

    Raises:
        DatasetError: If the file is damaged, not a palette or grey picture, or of another size than the photo.
    """
    path = _find_label(source, photo)
    if path is None:
        return None
    label = _read_label_file(path)
    if label.shape != (photo.height, photo.width):
        raise DatasetError(
            f"The label {path} has {label.shape[1]} x {label.shape[0]} pixels, its photo {photo.path.name} "
            f"{photo.width} x {photo.height}. Put the label of this photo there, or remove it."
        )
    return label


def _list_name(path: Path) -> str:
    return path.stem.lower().replace("_", "").replace("-", "")


def _listed_id(line: str) -> str:
    """The id in a line of a list: ``2007_000032``, or with paths ``/JPEGImages/2007_000032.jpg /Seg...png``."""
    name = Path(line.split()[0]).name
    return Path(name).stem if Path(name).suffix.lower() in PHOTO_SUFFIXES else name


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"Cannot read {path}: {error}. It must be a plain text file with one name a line."
        ) from error


def _missing(root: Path, splits: dict[str, tuple[str, str]], by_stem: dict[str, Path]) -> tuple[LeftOut, ...]:
    return tuple(
        LeftOut(
            root / "JPEGImages" / f"{id}.jpg",
            f"{splits[id][1]} lists it, but JPEGImages has no such picture; add it or take it off the list.",
        )
        for id in sorted(splits.keys() - by_stem.keys(), key=natural_key)
    )


def _find_label(source: PhotoSource, photo: Photo) -> Path | None:
    paths = (folder / f"{photo.path.stem}.png" for folder in source.label_paths)
    return next((path for path in paths if path.is_file()), None)


def _read_label_file(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            label = np.array(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise DatasetError(f"Cannot read the label {path}: {error}. Copy it again.") from error
    if label.ndim != 2:
        raise DatasetError(f"The label {path} is in colours; wanted a palette or grey PNG whose values are class ids.")
    return np.where(label > IGNORE_INDEX, IGNORE_INDEX, label).astype(np.uint8)


def _read_classes(source: PhotoSource, path: Path) -> tuple[str, ...]:
    if path.is_file():
        names = [line.strip() for line in _read_text(path).splitlines() if line.strip()]
        return tuple(names[1:] if names and names[0].lower() in BACKGROUND_NAMES else names)
    labels = [label for photo in source.photos if (label := _find_label(source, photo))]
    if not labels:
        return ()
    step = max(1, len(labels) // _NUM_SAMPLED_LABELS)
    has_voc_names = all(_VOC_STEM.fullmatch(path.stem) for path in labels)
    if has_voc_names and _largest_id(labels[::step]) <= len(VOC_CLASSES):
        return VOC_CLASSES
    return tuple(str(number) for number in range(1, _largest_id(labels) + 1))


def _largest_id(labels: list[Path]) -> int:
    largest = 0
    for path in labels:
        label = _read_label_file(path)
        largest = max(largest, int(label.max(where=label != IGNORE_INDEX, initial=0)))
    return largest
