"""Masks of COCO annotations: checked before they are drawn, because pycocotools takes any number for granted.

A coordinate of 1e9 ends the process there, and run lengths that do not add up are painted from memory that nobody set.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from maskdistill.errors import DatasetError

_NUMBERS = frozenset({int, float})  # bool is neither; NaN and Infinity were taken out when the json was read
_MARGIN = 0.1  # of the photo's longer side: how far beyond its edge a polygon may reach; it is cut off there
_MAX_DEPTH = 4  # of lists in one another, points as pairs included
_MAX_OUTLINE = 3_000_000  # pixels along one polygon; pycocotools takes about 80 bytes for each
_MAX_DIGITS = 7  # of five bits, of a number in a compressed code: pycocotools keeps 32 bits


class AnnotationError(DatasetError):
    """An annotation cannot be used.

    Args:
        kind: What is wrong, in words by which such problems are counted.
        detail: What came.
        annotation: Its id, once it is known.
    """

    def __init__(self, kind: str, detail: str, annotation: int | str = "") -> None:
        super().__init__(kind, detail, annotation)
        self.kind, self.detail, self.annotation = kind, detail, annotation

    def __str__(self) -> str:
        which = "" if self.annotation == "" else f"annotation {str(self.annotation)[:60]}: "
        return f"{self.kind} ({which}{self.detail})"


def unwrap(segmentation: object) -> list[Any] | dict[str, Any]:
    """Polygons, or a run-length code; some tools put the code into a list.

    Raises:
        AnnotationError: If it is neither.
    """
    if type(segmentation) is list:
        return segmentation[0] if len(segmentation) == 1 and type(segmentation[0]) is dict else segmentation
    if type(segmentation) is dict:
        return segmentation
    raise AnnotationError("a mask is neither polygons nor RLE", short_text(segmentation))


def has_thin_pieces(segmentation: object) -> bool:
    """Whether pieces of a polygon have less than three points, so that nothing is drawn of them."""
    if type(segmentation) is not list or all(type(piece) is list and len(piece) >= 6 for piece in segmentation):
        return False
    if type(segmentation[0]) is dict:  # a run-length code in a list
        return False
    try:
        polygons = _flat_polygons(segmentation)
    except AnnotationError:  # none of it is drawn
        return False
    return [] in segmentation or any(len(polygon) < 6 for polygon in polygons)


def check_mask(segmentation: list[Any] | dict[str, Any], height: int, width: int) -> str | None:
    """Raise ``AnnotationError`` unless a mask can be drawn at this size, in pixels.

    Returns:
        The counts of an RLE if they are compressed text. They are left to ``decode_counts``: many at once are cheap.
    """
    if isinstance(segmentation, dict):
        return _check_code(segmentation, height, width)
    _check_polygons(_flat_polygons(segmentation), height, width)
    return None


def check_total(total: int, height: int, width: int) -> None:
    """Raise ``AnnotationError`` unless the sum of a code's run lengths, -1 for damaged text, is the photo's pixels."""
    if total < 0:
        raise AnnotationError("the counts of an RLE are damaged", "no text that COCO's compression writes")
    if total != height * width:
        raise AnnotationError(
            "the counts of an RLE do not add up to its size", f"{short_text(total)} pixels, wanted {height * width}"
        )


def code_size(code: dict[str, Any]) -> tuple[int, int]:
    """(height, width) of a run-length code; raises ``AnnotationError`` if it has none."""
    size = code.get("size")
    if type(size) is not list or len(size) != 2 or type(size[0]) is not int or type(size[1]) is not int:
        raise AnnotationError("the size of an RLE is not [height, width]", short_text(size))
    return size[0], size[1]


def decode_counts(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run lengths of compressed codes, many at once.

    COCO writes each number in characters of five bits, from ``0`` on, the lowest first; the sixth bit says that more
    follow, the fifth of the last is the sign. From the fourth on they are differences to the number before the last.

    Returns:
        (M,) int64, the run lengths of all texts one after the other; (N + 1,), the place where each text's begin;
        (N,), the sum of each text's, -1 if it is damaged.

    Source: pycocotools, ``rleFrString`` in maskApi.c.
    """
    whole = np.array([_ends_whole(text) for text in texts], bool)
    texts = [text if ok else "" for text, ok in zip(texts, whole, strict=True)]
    chars = np.frombuffer("".join(texts).encode("ascii"), np.uint8) - np.uint8(48)  # below "0" it is above 63 too
    ends = np.flatnonzero(chars & 32 == 0)  # of the numbers
    digits = np.diff(ends, prepend=-1)
    last_chars = np.cumsum([len(text) for text in texts], dtype=np.int64) - 1
    bounds = np.concatenate([[0], np.searchsorted(ends, last_chars, side="right")])
    values = (chars[ends] & 31).astype(np.int64)
    values -= (values & 16) << 1
    longer = np.flatnonzero(digits > 1)
    for place in range(1, _MAX_DIGITS):
        values[longer] = (values[longer] << 5) + (chars[ends[longer] - place] & 31)
        longer = longer[digits[longer] > place + 1]
    bad = digits > _MAX_DIGITS
    if len(chars) and chars.max() > 63:
        bad |= np.maximum.reduceat(chars, ends - digits + 1) > 63
    counts = _undo_differences(np.where(bad, 0, values), bounds)
    damaged = _sum_groups(bad | (counts < 0), bounds) > 0
    return counts, bounds, np.where(damaged | ~whole, -1, _sum_groups(counts, bounds))


def run_lengths(segmentation: list[Any] | dict[str, Any], height: int, width: int) -> np.ndarray:
    """(M,) int64 lengths of the runs of pixels that are off, on, off, … column by column, of a mask of this size.

    Raises:
        AnnotationError: If the mask cannot be drawn at this size.
    """
    if isinstance(segmentation, dict) and _check_code(segmentation, height, width) is None:
        return np.array(segmentation["counts"], np.int64)
    counts, _, totals = decode_counts([compress(segmentation, height, width)])
    check_total(int(totals[0]), height, width)
    return counts


def compress(segmentation: list[Any] | dict[str, Any], height: int, width: int) -> str:
    """The compressed counts of a mask of this size; those that come compressed are left to ``decode_counts``.

    Raises:
        AnnotationError: If the mask cannot be drawn at this size.
    """
    if isinstance(segmentation, list):
        polygons = _flat_polygons(segmentation)
        _check_polygons(polygons, height, width)
        drawn = [polygon for polygon in polygons if len(polygon) >= 6]
        return coco_mask.merge(coco_mask.frPyObjects(drawn, height, width))["counts"].decode("ascii")
    text = _check_code(segmentation, height, width)
    if text is None:
        plain = {"size": [height, width], "counts": segmentation["counts"]}
        text = coco_mask.frPyObjects(plain, height, width)["counts"].decode("ascii")
    return text


def paint_runs(counts: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width) bool mask of run lengths that add up to its pixels."""
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def _flat_polygons(segmentation: list[Any], depth: int = _MAX_DEPTH) -> list[list[Any]]:
    """Polygons as lists x1, y1, x2, y2, … out of any nesting whose meaning is plain.

    Tools write one flat list, a list of them, points as pairs, and each of these a level deeper.

    Raises:
        AnnotationError: If lists and numbers are mixed, or the nesting may mean holes.
    """
    nested = [type(item) is list for item in segmentation]
    if not any(nested):
        return [segmentation]
    if not all(nested) or not depth:
        raise AnnotationError("a polygon is neither a list of numbers nor of points", short_text(segmentation))
    items = [item for item in segmentation if item]
    if not any(type(item[0]) is list for item in items):
        points = len(items) > 2 and all(len(item) == 2 for item in items)
        return [[value for point in items for value in point]] if points else items
    polygons = [_flat_polygons(item, depth - 1) for item in items]
    if depth < _MAX_DEPTH and len(polygons) > 1:
        raise AnnotationError("polygons are nested so deep that some may be holes", short_text(segmentation))
    return [polygon for group in polygons for polygon in group]


def _check_polygons(polygons: Sequence[list[Any]], height: int, width: int) -> None:
    """Raise ``AnnotationError`` unless these can be drawn on a photo of this size, in pixels.

    Pieces of less than three points are no error where another piece has more: they have no area.
    """
    reach = _MARGIN * max(height, width)
    drawn, largest = False, 0.0
    for polygon in polygons:
        if not _NUMBERS.issuperset(map(type, polygon)):
            raise AnnotationError("a polygon holds something that is no number", short_text(polygon))
        if len(polygon) % 2:
            raise AnnotationError("a polygon has an odd number of coordinates", f"{len(polygon)}")
        if len(polygon) < 6:
            continue
        drawn = True
        for name, side, values in (("x", width, polygon[::2]), ("y", height, polygon[1::2])):
            low, high = min(values), max(values)
            if low < -reach or high > side + reach:
                raise AnnotationError(
                    "a polygon lies outside of the photo",
                    f"{name} from {short_text(low)} to {short_text(high)} pixels, wanted 0 to {side}",
                )
            largest = max(largest, high)
        if len(polygon) * max(height, width) > _MAX_OUTLINE and _outline(polygon) > _MAX_OUTLINE:
            raise AnnotationError("the outline of a polygon is too long", f"{len(polygon) // 2} points")
    if not drawn:
        raise AnnotationError("a polygon has less than three points", short_text(list(polygons)))
    if largest <= 1 < min(height, width) and any(value % 1 for polygon in polygons for value in polygon):
        raise AnnotationError("coordinates are fractions of the photo, wanted pixels", f"none is above {largest}")


def _check_code(code: dict[str, Any], height: int, width: int) -> str | None:
    counts = code.get("counts")
    if type(counts) is str:
        return counts
    if type(counts) is not list:
        raise AnnotationError("the counts of an RLE are neither a list nor text", f"{type(counts).__name__}")
    if not {int}.issuperset(map(type, counts)) or min(counts, default=0) < 0:
        raise AnnotationError("the counts of an RLE are no whole numbers from 0 on", short_text(counts))
    check_total(sum(counts), height, width)
    return None


def _undo_differences(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Within each text, numbers from the fourth on are differences to the one two places before."""
    firsts = bounds[:-1][np.diff(bounds) > 0]
    chained = values.copy()
    chained[firsts] = 0  # the third is no difference to the first
    counts = np.empty_like(values)
    for parity in (0, 1):
        sums = np.cumsum(chained[parity::2])
        places = (bounds - parity + 1) // 2  # of the texts among the numbers of this parity
        before = np.concatenate([[0], sums])[places[:-1]]
        counts[parity::2] = sums - np.repeat(before, np.diff(places))
    counts[firsts] = values[firsts]
    return counts


def _sum_groups(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    return np.diff(np.concatenate([[0], np.cumsum(values)])[bounds])


def _ends_whole(text: str) -> bool:
    return text.isascii() and not (text and (ord(text[-1]) - 48) & 32)


def _outline(polygon: list[Any]) -> float:
    points = np.array(polygon, np.float64).reshape(-1, 2)
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())


def short_text(value: object, depth: int = 2) -> str:
    """A value of any kind, length and depth, for a sentence."""
    if type(value) is int:  # Python refuses to print one of thousands of digits
        return str(value) if abs(value) < 10**15 else f"a number of {value.bit_length()} bits"
    if type(value) is list:
        inner = ", ".join(short_text(item, depth - 1) for item in value[:4]) if depth else "…"
        return f"[{inner}, …]" if depth and len(value) > 4 else f"[{inner}]"
    text = f"an object with {len(value)} keys" if type(value) is dict else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
