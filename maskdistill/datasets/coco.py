"""A COCO json, or a folder with such files; ground truth is checked when it is opened, and again when it is read."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np

from maskdistill.datasets.coco_content import CocoContent, CocoImage, read_coco
from maskdistill.datasets.coco_folders import pictures_below
from maskdistill.datasets.coco_masks import AnnotationError
from maskdistill.datasets.coco_pictures import find_pictures
from maskdistill.datasets.coco_truth import draw_objects, find_problems, paint_label
from maskdistill.datasets.records import MAX_LABEL, LeftOut, Photo, PhotoSource, ProgressCallback
from maskdistill.datasets.scanning import require_photos
from maskdistill.datasets.seen_folders import scan_seen
from maskdistill.errors import DatasetError


def open_coco(
    path: Path, jsons: tuple[Path, ...], *, on_progress: ProgressCallback | None = None, seen: Path | None = None
) -> PhotoSource:
    """Photos that the json files name. The split is ``train``, ``val`` or ``test`` if a json's name or folder says so.

    Args:
        path: What a person named.
        jsons: The files.
        on_progress: Called with the number of photos done and in total.
        seen: As of ``scan_seen``.

    Raises:
        DatasetError: If no json can be read and is COCO's, or if none of the pictures can be used.
    """
    content = read_coco(jsons)
    candidates, missing = find_pictures(content.images, path if path.is_dir() else None)
    ids, files, splits = ([getattr(item, name) for item in candidates] for name in ("id", "path", "split"))
    found = scan_seen(path, ids, files, splits, on_progress=on_progress, seen=seen)
    photos = found.photos
    skipped = [*content.skipped, *missing, *found.skipped, *_not_named(path, jsons, {item.path for item in candidates})]
    require_photos(path, photos, [item for item in skipped if item.what == "photo"])
    images = {image.photo_id: image for image in content.images}
    problems = find_problems(images, photos)
    labelled = [photo.id for photo in photos if images[photo.id].annotations or images[photo.id].problem]
    classes, notes = _choose_classes(content, path)
    skipped += [*_sum_up(problems, images), *notes]
    has_labels = 0 < len(classes) <= MAX_LABEL and len(problems) < len(labelled)
    root = _root_of(path, photos)
    return PhotoSource(
        "coco", str(path), root, photos, tuple(skipped), classes, has_labels, label_paths=jsons, seen=found.seen
    )


def read_label(source: PhotoSource, photo: Photo) -> np.ndarray | None:
    """Ground truth of a photo, for reporting only.

    Crowd regions are 255; where objects overlap, the smaller one lies on top. What was made on the pixels as they are
    stored is turned as EXIF turns the photo.

    Returns:
        (height, width) uint8 class ids, 0 background, 255 ignore; None if there are no masks, or none of this photo.

    Raises:
        DatasetError: If a json is gone, or an annotation of the photo cannot be used.
    """
    image = _image_of(source, photo)
    if image is None:
        return None
    with _naming(image, photo):
        return paint_label(image, photo, _class_ids(source))


def read_objects(source: PhotoSource, photo: Photo) -> list[tuple[np.ndarray, int]] | None:
    """Each annotated object of a photo, for reporting only: (height, width) bool mask and class id, 255 for a crowd.

    Returns:
        None where ``read_label`` returns None.

    Raises:
        DatasetError: As ``read_label``.
    """
    image = _image_of(source, photo)
    if image is None:
        return None
    with _naming(image, photo):
        return list(draw_objects(image, photo, _class_ids(source)))


def _class_ids(source: PhotoSource) -> dict[str, int]:
    return {name: number for number, name in enumerate(source.classes, start=1)}


def _image_of(source: PhotoSource, photo: Photo) -> CocoImage | None:
    """The photo's annotations; None if there is no ground truth of it."""
    if not 0 < len(source.classes) <= MAX_LABEL:
        return None
    try:
        stamps = tuple(path.stat().st_mtime_ns for path in source.label_paths)
    except OSError as error:
        raise DatasetError(f"Cannot read {error.filename}: {error.strerror}. Put the COCO file back.") from error
    image = _images_by_id(source.label_paths, stamps).get(photo.id)
    return image if image and (source.has_labels or image.annotations or image.problem) else None


@contextmanager
def _naming(image: CocoImage, photo: Photo) -> Iterator[None]:
    try:
        yield
    except AnnotationError as error:
        raise DatasetError(
            f"The ground truth of photo {photo.id} in {image.json_path} cannot be used: {error}. Correct the "
            "annotation, or export it anew."
        ) from error


@lru_cache(maxsize=2)
def _images_by_id(jsons: tuple[Path, ...], stamps: tuple[int, ...]) -> dict[str, CocoImage]:
    """Photo id -> its annotations. Read again on demand: most stages never look at a label.

    Args:
        jsons: The files.
        stamps: Their times of change, so that a changed file is not taken from the cache.
    """
    return {image.photo_id: image for image in read_coco(jsons).images}


def _root_of(path: Path, photos: Sequence[Photo]) -> Path:
    """The folder in which all pictures lie: the one given, or that of the json, or the one above."""
    if path.is_dir():
        return path
    beside = f"{path.parent}{os.sep}"
    return path.parent if all(str(photo.path).startswith(beside) for photo in photos) else path.parent.parent


def _not_named(path: Path, jsons: tuple[Path, ...], named: set[Path]) -> list[LeftOut]:
    """A note on pictures of the folder that no json names, but where COCO's own layout says that this is meant."""
    if path.is_file() or any(json_path.parent == path / "annotations" for json_path in jsons):
        return []
    others = [picture for picture in pictures_below(path) if picture not in named]
    if not others:
        return []
    number = f"the {len(others):,} pictures" if len(others) > 1 else "the picture"
    reason = f"No COCO file names {number} of which this is the first. Give the folder of the photos to use all."
    return [LeftOut(others[0], reason)]


def _choose_classes(content: CocoContent, path: Path) -> tuple[tuple[str, ...], list[LeftOut]]:
    """The classes, with a note if they are more than a label map can hold: then those that annotations have."""
    if len(content.classes) <= MAX_LABEL:
        return content.classes, []
    used = tuple(name for name in content.classes if name in content.used)
    text = f"There are {len(content.classes):,} classes, more than the {MAX_LABEL} of a label map"
    if len(used) <= MAX_LABEL:
        return used, [LeftOut(path, f"{text}; the {len(used)} that annotations have are used.", "label")]
    reason = f"{text}, and annotations have {len(used):,}: no ground truth is used. Merge or remove classes."
    return content.classes, [LeftOut(path, reason, "label")]


def _sum_up(problems: dict[str, AnnotationError], images: dict[str, CocoImage]) -> list[LeftOut]:
    """One entry for each kind of problem of each json."""
    groups: dict[tuple[Path, str], list[str]] = defaultdict(list)
    for photo_id, error in problems.items():
        groups[images[photo_id].json_path, error.kind].append(photo_id)
    found = []
    for (json_path, _), photo_ids in groups.items():
        first = photo_ids[0]
        number = "1 photo" if len(photo_ids) == 1 else f"{len(photo_ids):,} photos"
        reason = f"The ground truth of {number} is left out. The first, {first}: {problems[first]}."
        found.append(LeftOut(json_path, reason, "label"))
    return found
