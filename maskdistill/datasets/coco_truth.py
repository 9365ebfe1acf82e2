"""Ground truth of COCO photos: all annotations checked at once, or those of one photo drawn."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from maskdistill.datasets.coco_content import CocoImage
from maskdistill.datasets.coco_masks import (
    AnnotationError,
    check_mask,
    check_total,
    code_size,
    decode_counts,
    paint_runs,
    run_lengths,
    short_text,
    unwrap,
)
from maskdistill.datasets.images import exif_orientation, turn_upright
from maskdistill.datasets.records import IGNORE_INDEX, Photo
from maskdistill.errors import DatasetError

_NUM_CHARS = 2**16  # of compressed codes that are checked at once; their arrays stay in the processor's cache


class _Mask(NamedTuple):
    """A mask of an annotation, and the size of the pixels it was made on."""

    annotation: int | str
    number: int  # value in the label map
    segmentation: list[Any] | dict[str, Any]
    height: int
    width: int
    orientation: int  # by which those pixels are turned upright, 1 for not at all


class _Code(NamedTuple):
    """A compressed code that is still to be checked."""

    photo_id: str
    annotation: int | str
    text: str
    height: int
    width: int


def find_problems(images: Mapping[str, CocoImage], photos: Sequence[Photo]) -> dict[str, AnnotationError]:
    """Photo id -> the first reason why its ground truth cannot be used, for those that have such a reason.

    Args:
        images: By photo id.
        photos: Some of them.
    """
    problems: dict[str, AnnotationError] = {}
    codes: list[_Code] = []
    num_chars = 0
    for photo in photos:
        try:
            found = _check_photo(images[photo.id], photo)
        except AnnotationError as error:
            problems[photo.id] = error
            continue
        codes += found
        num_chars += sum(len(code.text) for code in found)
        if num_chars > _NUM_CHARS:
            _check_codes(codes, problems)
            codes, num_chars = [], 0
    _check_codes(codes, problems)
    return problems


def paint_label(image: CocoImage, photo: Photo, numbers: Mapping[str, int]) -> np.ndarray:
    """Ground truth of one photo.

    Args:
        image: With its annotations.
        photo: The photo.
        numbers: Class id of each class name.

    Returns:
        (height, width) uint8 class ids, 0 background, 255 ignore.

    Raises:
        AnnotationError: If an annotation cannot be drawn.
    """
    label = np.zeros((photo.height, photo.width), np.uint8)
    for mask, number in draw_objects(image, photo, numbers):
        label[mask] = number
    return label


def draw_objects(image: CocoImage, photo: Photo, numbers: Mapping[str, int]) -> Iterator[tuple[np.ndarray, int]]:
    """Each annotated object of a photo: its (height, width) bool mask and class id.

    Crowd regions, 255, come first, then objects from large to small: the order to paint them in.

    Args:
        image: With its annotations.
        photo: The photo.
        numbers: Class id of each class name.

    Raises:
        AnnotationError: If an annotation cannot be drawn, before the first is given.
    """
    drawn = []
    for mask in _masks_of(image, photo, numbers):
        try:
            drawn.append((run_lengths(mask.segmentation, mask.height, mask.width), mask))
        except AnnotationError as error:
            raise AnnotationError(error.kind, error.detail, mask.annotation) from error
    drawn.sort(key=lambda item: (item[1].number != IGNORE_INDEX, -item[0][1::2].sum()))
    for counts, mask in drawn:
        yield turn_upright(paint_runs(counts, mask.height, mask.width), mask.orientation), mask.number


def _check_photo(image: CocoImage, photo: Photo) -> list[_Code]:
    """Raise ``AnnotationError`` if an annotation cannot be drawn; return what is left to be checked."""
    codes = []
    for mask in _masks_of(image, photo, None):
        try:
            text = check_mask(mask.segmentation, mask.height, mask.width)
        except AnnotationError as error:
            raise AnnotationError(error.kind, error.detail, mask.annotation) from error
        if text is not None:
            codes.append(_Code(photo.id, mask.annotation, text, mask.height, mask.width))
    return codes


def _check_codes(codes: Sequence[_Code], problems: dict[str, AnnotationError]) -> None:
    _, _, totals = decode_counts([code.text for code in codes])
    for code, total in zip(codes, totals.tolist(), strict=True):
        try:
            check_total(total, code.height, code.width)
        except AnnotationError as error:
            problems.setdefault(code.photo_id, AnnotationError(error.kind, error.detail, code.annotation))


def _masks_of(image: CocoImage, photo: Photo, numbers: Mapping[str, int] | None) -> Iterator[_Mask]:
    """The masks of a photo; without numbers all are of number 1."""
    if image.problem is not None:
        raise image.problem
    frame = Frame(image.size if image.annotations else None, photo)
    for annotation in image.annotations:
        number = IGNORE_INDEX if annotation.is_crowd else 1 if numbers is None else numbers.get(annotation.class_name)
        try:
            if number is None:
                what = "its category is not among the classes that the data was opened with"
                raise AnnotationError(what, short_text(annotation.class_name))
            segmentation = unwrap(annotation.segmentation)
            height, width = code_size(segmentation) if isinstance(segmentation, dict) else frame.size_of_polygons
            orientation = frame.orientation_of((height, width))
        except AnnotationError as error:
            raise AnnotationError(error.kind, error.detail, annotation.name) from error
        yield _Mask(annotation.name, number, segmentation, height, width, orientation)


class Frame:
    """The pixels that annotations of a photo were made on: of the upright photo, or as they are stored in its file."""

    def __init__(self, given: tuple[int, int] | None, photo: Photo) -> None:
        self._given = given  # (height, width) that the file says
        self._photo = photo
        self._size = (photo.height, photo.width)
        if given is not None:
            self.orientation_of(given)

    @cached_property
    def size_of_polygons(self) -> tuple[int, int]:
        """(height, width); raises ``AnnotationError`` if it is not known which way up they are."""
        if self._given is not None:
            return self._given
        if self._size != self._size[::-1] and self._exif >= 5:
            what = "EXIF turns the photo, and the file gives no size that says whether polygons are turned too"
            raise AnnotationError(what, f"EXIF orientation {self._exif}")
        return self._size

    def orientation_of(self, size: tuple[int, int]) -> int:
        """How pixels of this (height, width) are turned to be the photo's; ``AnnotationError`` if they cannot be."""
        if size == self._size:
            return 1
        if size == self._size[::-1] and self._exif >= 5:  # 5 to 8 lie on their side
            return self._exif
        raise AnnotationError(
            "it was made for another size than the photo's",
            f"(height, width) {short_text(list(size))}, the photo has {list(self._size)}",
        )

    @cached_property
    def _exif(self) -> int:
        try:
            return exif_orientation(self._photo.path)
        except DatasetError as error:
            raise AnnotationError("its photo cannot be read", f"{error}") from error
