"""One picture of ground truth: from its file to class ids, or a sentence that says why not.

A wrong class is worse than none: what could mean two things is refused, not guessed.
"""

import struct
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import ExifTags, Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from maskdistill.datasets.images import MAX_PIXELS, turn_upright
from maskdistill.datasets.photo_files import UnreadablePhotoError, open_regular
from maskdistill.datasets.picture_headers import read_header
from maskdistill.datasets.records import IGNORE_INDEX, MAX_LABEL
from maskdistill.errors import DatasetError, printable
from maskdistill.machine import explain_lack_of_memory

LABEL_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif")  # of formats that keep every value, the usual one first
Color = tuple[int, int, int]
LabelProblem = Literal["file", "format", "color", "size", "value"]

WHITE = (255, 255, 255)
VOID = (224, 224, 192)  # VOC's outlines: color 255 of its palette

# What Pillow's readers raise on damaged files.
_DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, EOFError, OverflowError, struct.error,
    zlib.error, Image.DecompressionBombError,
)  # fmt: skip


class _PngReader(PngImageFile):
    """Passes over text behind the pixels that it cannot read."""

    def load_end(self) -> None:
        with suppress(*_DAMAGE):
            super().load_end()


_READERS: tuple[tuple[bytes, type[ImageFile.ImageFile]], ...] = (
    (b"\x89PNG\r\n\x1a\n", _PngReader),
    (b"BM", BmpImageFile),
    (b"GIF8", GifImageFile),
    (b"II*\0", TiffImageFile),
    (b"MM\0*", TiffImageFile),
)
_SURELY_PICTURE = 100  # values in one file from which it is a picture or a mask with soft borders, not a label map


class LabelError(DatasetError):
    """A label file cannot be used; ``problem`` is of which kind that is."""

    def __init__(self, path: Path, problem: LabelProblem, reason: str) -> None:
        super().__init__(f"The label {path} {reason}")
        self.path, self.problem, self.reason = path, problem, printable(reason)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.problem, self.reason)


@dataclass(frozen=True)
class LabelRule:
    """What the values of a set's label files mean."""

    binary: bool = False  # 255 is the one class, not "ignored"
    one_class: bool = False  # so that what is white in one bit can only be of that class
    by_color: bool = False  # in palette files too, whose palettes do not give every color its place
    colors: Mapping[Color, int] | None = None  # color -> class id; None: VOC's palette


@dataclass(frozen=True, eq=False)
class LabelPicture:
    """A decoded label file."""

    path: Path
    pixels: np.ndarray  # (H, W) values, or (H, W, 3) uint8 colors
    palette: np.ndarray | None = None  # (P, 3) uint8, of a palette file: the color of each value
    one_bit: bool = False  # black and white, as 0 and 255: no tool writes class ids like that

    @cached_property
    def used(self) -> np.ndarray:
        """The values that occur, rising."""
        return values_in(self.pixels)

    @property
    def distinct(self) -> "LabelPicture":
        """The same with each value, or color, once: pixels (1, N) or (1, N, 3)."""
        values = np.unique(self.pixels.reshape(-1, 3), axis=0) if self.pixels.ndim == 3 else self.used
        return replace(self, pixels=values[None].astype(self.pixels.dtype))


def values_in(pixels: np.ndarray) -> np.ndarray:
    """The values that occur in (H, W) integers, rising."""
    if pixels.dtype != np.uint8:
        return np.unique(pixels)
    return np.flatnonzero(Image.fromarray(pixels).histogram())  # several times as fast as numpy's counts


def plain_values(picture: LabelPicture, rule: LabelRule) -> set[int] | None:
    """The values of a picture that may be black and white; None if it is in colors."""
    picture = _as_mask(picture, colors_of(rule))
    pixels = picture.pixels if picture.pixels.ndim == 2 else _as_grey(picture.pixels, colors_of(rule))
    return None if pixels is None else set(values_in(pixels).tolist())


def palette() -> np.ndarray:
    """(256, 3) uint8 colours of PASCAL VOC's label pictures: black background, light 255, neighbours far apart.

    Bits 0, 3, 6 of the label are the highest bits of red, from the top down; bits 1, 4, 7 of green; 2 and 5 of blue.

    Source: VOC development kit, function ``VOClabelcolormap`` (Everingham et al., IJCV 2010).
    """
    labels = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        colours[:, bit % 3] |= ((labels >> bit & 1) << (7 - bit // 3)).astype(np.uint8)
    return colours


@cache
def voc_colors() -> dict[Color, int]:
    """Color -> class id, of VOC's palette; do not change it."""
    return {tuple(color): label for label, color in enumerate(palette().tolist())}


def inspect_label(path: Path) -> tuple[int, int]:
    """(height, width) in pixels as stored, from the header alone.

    Raises:
        LabelError: If the file is missing, no lossless picture, or above ``MAX_PIXELS``.
    """
    with _open_file(path) as file:
        width, height = _open_image(path, file).size
        return height, width


def load_label(path: Path) -> LabelPicture:
    """Decode a label file.

    Raises:
        LabelError: As ``inspect_label``, or if it is cut off or damaged, holds several pictures, or is of a kind whose
            values cannot be class ids.
    """
    with _open_file(path) as file:
        image = _open_image(path, file)
        try:
            if getattr(image, "n_frames", 1) > 1:
                raise LabelError(path, "format", "holds several pictures; wanted one. Save it as a plain PNG.")
            with explain_lack_of_memory():
                image.load()
                picture = _to_picture(path, image)
                return replace(picture, pixels=turn_upright(picture.pixels, _orientation(image)))
        except _DAMAGE as error:
            raise LabelError(path, "file", f"is damaged or cut off ({error}). Copy it again.") from error


def to_ids(picture: LabelPicture, rule: LabelRule) -> np.ndarray:
    """(H, W) uint8 class ids, 255 for ignored; how many classes there are is not looked at.

    Raises:
        LabelError: If a value or color has no meaning.
    """
    colors = colors_of(rule)
    picture = _as_mask(picture, colors)
    if picture.one_bit and not rule.binary:
        if not rule.one_class:
            reason = "is black and white, so that its classes cannot be told. Save the class ids as 8-bit PNG."
            raise LabelError(picture.path, "value", reason)
        return (picture.pixels > 0).astype(np.uint8)
    if picture.pixels.ndim == 3:
        grey = _as_grey(picture.pixels, colors)
        if grey is None:
            return _ids_of_colors(picture, colors)
        picture = LabelPicture(picture.path, grey)
    elif rule.by_color and picture.palette is not None and picture.used.max() < len(picture.palette):
        return _ids_of_colors(LabelPicture(picture.path, picture.palette[picture.pixels]), colors)
    return _ids_of_values(picture, rule)


def colors_of(rule: LabelRule) -> Mapping[Color, int]:
    """Color -> class id, background and what is ignored among them."""
    return voc_colors() if rule.colors is None else {VOID: IGNORE_INDEX, (0, 0, 0): 0, **rule.colors}


def _as_mask(picture: LabelPicture, colors: Mapping[Color, int]) -> LabelPicture:
    """A palette picture in black and white as 0 and 255, unless white is the color of a class."""
    if picture.palette is None or WHITE in colors or picture.used.max() >= len(picture.palette):
        return picture
    shown = picture.palette[picture.used]
    white, black = (shown == 255).all(axis=1), (shown == 0).all(axis=1)
    if not white.any() or not (white | black).all():
        return picture
    return LabelPicture(picture.path, picture.palette[picture.pixels][..., 0], one_bit=True)


def _as_grey(pixels: np.ndarray, colors: Mapping[Color, int]) -> np.ndarray | None:
    """The (H, W) values of a grey picture that was saved in colors, unless its greys are colors of classes."""
    if not (pixels == pixels[..., :1]).all():
        return None
    used = np.unique(pixels[..., 0]).tolist()
    return None if any(used) and all((value, value, value) in colors for value in used) else pixels[..., 0]


def _ids_of_colors(picture: LabelPicture, colors: Mapping[Color, int]) -> np.ndarray:
    codes = picture.pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    used, places = np.unique(codes, return_inverse=True)
    if len(used) > _SURELY_PICTURE and len(used) > len(colors):
        raise LabelError(picture.path, "color", _SOFT.format(f"{len(used):,} colors"))
    found = [(int(code) >> 16, int(code) >> 8 & 255, int(code) & 255) for code in used]
    unknown = next((color for color in found if color not in colors), None)
    if unknown is not None:
        red, green, blue = unknown
        raise LabelError(
            picture.path,
            "color",
            f"is in colors, and {red},{green},{blue} is of no class; wanted VOC's colors, or a labelmap.txt with a "
            f"line for each class. Add 'name:{red},{green},{blue}' there, or save class ids.",
        )
    return np.array([colors[color] for color in found], np.uint8)[places].reshape(codes.shape)


_SOFT = (
    "holds {}: that is a photo, or a mask whose borders were smoothed. Save the class ids as PNG, scaled without "
    "interpolation."
)


def _ids_of_values(picture: LabelPicture, rule: LabelRule) -> np.ndarray:
    used = picture.used
    if len(used) > _SURELY_PICTURE:
        raise LabelError(picture.path, "value", _SOFT.format(f"{len(used):,} values"))
    table = {int(value): int(value) for value in used}
    if max(table) == 65535:  # "ignored" where 16 bits are used
        table[65535] = IGNORE_INDEX
    if rule.binary:
        table |= {1: 1, IGNORE_INDEX: 1}
        bad = next((value for value in table if value not in (0, 1, IGNORE_INDEX)), None)
        wanted = "0 and 255, as in the other masks"
    else:
        bad = next((value for value, label in table.items() if not 0 <= label <= IGNORE_INDEX), None)
        wanted = f"0 to {MAX_LABEL}, or {IGNORE_INDEX} for ignored"
    if bad is not None:
        raise LabelError(picture.path, "value", f"holds the value {bad}; wanted {wanted}. Number the classes anew.")
    if all(value == label for value, label in table.items() if value in used):
        return picture.pixels.astype(np.uint8, copy=False)
    places = np.searchsorted(used, picture.pixels)
    return np.array([table[int(value)] for value in used], np.uint8)[places]


def _open_file(path: Path) -> BinaryIO:
    try:
        return open_regular(path)
    except UnreadablePhotoError as error:
        raise LabelError(path, "file", f"cannot be read. {error.reason}") from error


def _read(reader: type[ImageFile.ImageFile], file: BinaryIO) -> ImageFile.ImageFile:
    try:
        return reader(file)
    except ValueError:
        if reader is not _PngReader:
            raise
        return reader(read_header("PNG", file).file)  # without a text that is larger than the reader takes


def _open_image(path: Path, file: BinaryIO) -> ImageFile.ImageFile:
    """The picture with its header read and its size checked, its pixels not yet decoded."""
    try:
        head = file.read(16)
        reader = next((reader for start, reader in _READERS if head.startswith(start)), None)
        if reader is None:
            raise LabelError(path, "format", _no_label(head))
        file.seek(0)
        image = _read(reader, file)
    except _DAMAGE as error:
        raise LabelError(path, "file", f"has a damaged header ({error}). Copy it again.") from error
    width, height = image.size
    if not 0 < width * height <= MAX_PIXELS:
        megapixels = f"{width * height / 1e6:.0f} megapixels, more than {MAX_PIXELS / 1e6:.0f}"
        raise LabelError(path, "size", f"has {width} x {height} pixels ({megapixels}). Save it at its photo's size.")
    return image


def _no_label(head: bytes) -> str:
    if not head:
        return "is empty (0 bytes). Copy it again."
    if head.startswith(b"\xff\xd8\xff"):
        return "is a JPEG, which changes values a little, so that classes cannot be told. Save it as PNG."
    return "is no PNG inside. Save the class ids as PNG."


def _orientation(image: Image.Image) -> int:
    """As the label's own header has it, copied from the photo; most have none."""
    if isinstance(image, TiffImageFile):  # Pillow turns these by itself
        return 1
    return Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)


def _to_picture(path: Path, image: Image.Image) -> LabelPicture:
    if isinstance(image, GifImageFile):  # whose writers number the colors as they like
        return LabelPicture(path, np.array(image.convert("RGB")))
    if image.mode == "P":
        colors = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        return LabelPicture(path, np.array(image), colors)
    if image.mode == "1":
        return LabelPicture(path, np.array(image.convert("L")), one_bit=True)
    if image.mode in ("L", "I", "F") or image.mode.startswith("I;16"):
        values = np.array(image)
        if values.dtype.kind == "f" and not ((abs(values) <= 65535) & (values == np.round(values))).all():
            raise LabelError(path, "value", "holds fractions; wanted whole class ids. Save the class ids as PNG.")
        return LabelPicture(path, values.astype(np.uint8 if image.mode == "L" else np.int32))
    if image.mode in ("LA", "PA", "RGBA"):
        return LabelPicture(path, _without_alpha(path, image))
    if image.mode == "RGB":
        return LabelPicture(path, np.array(image))
    raise LabelError(path, "format", f"is in the color mode {image.mode}; wanted class ids. Save them as PNG.")


def _without_alpha(path: Path, image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8; what is transparent is black, as background is."""
    pixels = np.array(image.convert("RGBA"))
    alpha = pixels[..., 3:]
    if ((alpha > 0) & (alpha < 255)).any():
        reason = "is transparent in part, so that its classes cannot be told. Save the class ids as PNG."
        raise LabelError(path, "color", reason)
    return np.where(alpha > 0, pixels[..., :3], 0)
