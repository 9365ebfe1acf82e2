"""Ground truth of a VOC folder: which file belongs to which photo, and its class ids."""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from maskdistill.datasets.images import exif_orientation, turn_upright
from maskdistill.datasets.label_files import LABEL_SUFFIXES, LabelError, LabelRule, load_label, to_ids, values_in
from maskdistill.datasets.names import NameIndex, names_in, without_suffix
from maskdistill.datasets.picture_kinds import suffix_of
from maskdistill.datasets.records import IGNORE_INDEX, Photo, PhotoSource
from maskdistill.datasets.voc_classes import LabelMap, read_label_map
from maskdistill.roots import is_inside

PHOTO_FOLDER = "JPEGImages"
LABEL_FOLDERS = ("SegmentationClass", "SegmentationClassAug")  # the official labels go first

# Found, to be refused with a sentence.
_OTHERS = (".jpg", ".jpeg", ".webp", ".pgm", ".ppm", ".npy", ".npz", ".mat", ".json", ".xml", ".svg", ".jp2", ".exr")
_ORDER = {suffix: place for place, suffix in enumerate((*LABEL_SUFFIXES, *_OTHERS))}


def label_folders(root: Path) -> tuple[Path, ...]:
    """The folders of ground truth that a VOC folder has."""
    paths = (named_in(root, name) for name in LABEL_FOLDERS)
    return tuple(path for path in paths if is_inside(path) and os.path.isdir(path))


def named_in(root: Path, name: str) -> Path:
    """A file or folder of a folder, in whatever case its name is written."""
    if not os.path.lexists(root / name):
        try:
            name = NameIndex(os.listdir(root)).find(name) or name
        except OSError:  # no folder, or not for us
            return root / name
    return root / name


class LabelFolder:
    """The label files of a folder and its subfolders, by the name of the photo they are for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refused: list[OSError] = []  # subfolders that could not be searched
        self.files: dict[str, Path] = {}  # path inside the folder without the label's suffix -> file
        files = list(self._walk())
        for file, name in zip(files, names_in(folder, files), strict=True):
            key = without_suffix(name)
            if key not in self.files or _rank(name) < _rank(self.files[key].name):
                self.files[key] = Path(file)

    def find(self, names: Sequence[str]) -> Path | None:
        """The label of a photo that may be called by any of these names, the first one first."""
        for name in names:
            found = self._index.find(name)
            if found is not None:
                return self.files[found]
        return None

    @cached_property
    def _index(self) -> NameIndex:
        return NameIndex(self.files)

    def _walk(self) -> Iterator[str]:
        for folder, subfolders, names in os.walk(self.folder, onerror=self.refused.append):
            # A folder in a label's place is found too, so that it is not as if there were no label.
            for name in (*names, *subfolders):
                if not name.startswith(".") and suffix_of(name) in _ORDER:
                    yield os.path.join(folder, name)


def list_labels(folder: Path) -> LabelFolder:
    """The label files of a folder; it is searched again when it changes."""
    try:
        status = folder.stat()
        return _list_labels(folder, (status.st_mtime_ns, status.st_ctime_ns))  # the second is that of its rights
    except OSError:  # gone just now
        return _list_labels(folder, (0, 0))


@lru_cache(maxsize=8)
def _list_labels(folder: Path, _changed: tuple[int, int]) -> LabelFolder:
    return LabelFolder(folder)


def find_label(source: PhotoSource, photo: Photo) -> Path | None:
    """The label file of a photo; None if it has none."""
    names = _names_of(source, photo) if source.label_paths else ()
    for folder in source.label_paths:
        for name in names:  # nearly always there, and found without searching the folder
            path = os.path.join(folder, f"{name}{LABEL_SUFFIXES[0]}")
            if os.path.isfile(path):
                return Path(path)
    found = (list_labels(folder).find(names) for folder in source.label_paths)
    return next((path for path in found if path is not None), None)


def read_label(source: PhotoSource, photo: Photo) -> np.ndarray | None:
    """Ground truth of a photo, for reporting only.

    A label that was made on the pixels as they are stored is turned as EXIF turns its photo.

    Returns:
        (height, width) uint8 class ids, 0 background, n for ``source.classes[n - 1]``, 255 ignore; None if the photo
        has no label file.

    Raises:
        DatasetError: If the file is damaged, its values are no class ids, or it is of another size than the photo.
    """
    path = find_label(source, photo)
    if path is None:
        return None
    picture = load_label(path)
    ids = to_ids(picture, rule_of(source))
    check_classes(picture.used if ids is picture.pixels else values_in(ids), source.classes, path)
    return fit_to_photo(ids, photo, path)


def rule_of(source: PhotoSource) -> LabelRule:
    """What the values of a source's label files mean."""
    colors = label_map_of(source).ids(source.classes) or None
    return LabelRule(
        binary=source.label_values == "binary",
        one_class=len(source.classes) == 1,
        by_color=source.label_values == "colors",
        colors=colors,
    )


def label_map_of(source: PhotoSource) -> LabelMap:
    """labelmap.txt of a source; empty if there is none."""
    return read_label_map(named_in(source.label_paths[0].parent, "labelmap.txt")) if source.label_paths else LabelMap()


def fit_to_photo(label: np.ndarray, photo: Photo, path: Path) -> np.ndarray:
    """A label as its photo is seen.

    Args:
        label: (H, W).
        photo: Its photo.
        path: Of the label, for the error.

    Raises:
        LabelError: If it has not the photo's size, neither upright nor as stored.
    """
    size = (photo.height, photo.width)
    if label.shape != size and label.shape == size[::-1]:
        label = turn_upright(label, exif_orientation(photo.path))
    if label.shape != size:
        raise wrong_size(label.shape, photo, path)
    return label


def wrong_size(shape: tuple[int, ...], photo: Photo, path: Path) -> LabelError:
    """The error of a label of (H, W) pixels that does not fit its photo."""
    return LabelError(
        path,
        "size",
        f"has {shape[1]} x {shape[0]} pixels, its photo {photo.path.name} {photo.width} x {photo.height}. "
        "Put the label of this photo there, or remove it.",
    )


def check_classes(used: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Raise ``LabelError`` if one of the (N,) values that a label holds is of no class."""
    largest = int(used[used != IGNORE_INDEX].max(initial=0))
    if largest > len(classes):
        raise LabelError(
            path,
            "value",
            f"holds the value {largest}, which is of no class; wanted 0 to {len(classes)}, the number of classes, or "
            f"{IGNORE_INDEX} for ignored. Name every class in classes.txt, or make the label anew.",
        )


def _rank(name: str) -> int:
    return _ORDER[suffix_of(name)]


def _names_of(source: PhotoSource, photo: Photo) -> tuple[str, ...]:
    """How the label of a photo may be called, without the label's suffix."""
    path, root = str(photo.path), source.label_paths[0].parent
    photos: str | Path = os.path.join(root, PHOTO_FOLDER)
    if not path.startswith(os.path.join(photos, "")):  # in another case, or of elsewhere
        photos = named_in(root, PHOTO_FOLDER)
    own = names_in(photos, [path])[0] if path.startswith(os.path.join(photos, "")) else photo.path.name
    names = (without_suffix(own), own)  # a.png and a.jpg.png
    if "/" in photo.id:  # another photo of that name lies in another subfolder
        return names
    return tuple(dict.fromkeys((*names, *(name.rpartition("/")[2] for name in names))))
