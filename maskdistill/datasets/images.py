"""Reading a photo file: its upright size from the header, or its pixels as upright 8-bit RGB.

Pillow's readers are called directly instead of through ``Image.open``, which warns about large photos by way of
process-wide state (``warnings``, ``Image.MAX_IMAGE_PIXELS``) and is not safe in threads. No global state is changed.
Of a file with several pictures (pages, frames, a camera's MPO) the first is read.
"""

import re
import struct
import sys
import threading
import zlib
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from maskdistill.datasets.photo_files import UnreadablePhotoError, open_photo_file, size_of
from maskdistill.datasets.picture_headers import HEADERS, Header, orientation_of_exif, read_header
from maskdistill.datasets.picture_kinds import HEAD_BYTES, OtherKind, kind_of_content
from maskdistill.datasets.pixels import Decoded, needs_low_bytes, to_rgb
from maskdistill.datasets.records import Photo, Place
from maskdistill.datasets.views import apply_view
from maskdistill.machine import explain_lack_of_memory

MAX_PIXELS = 178_956_970  # height * width; where Pillow too warns of a decompression bomb
LARGE_PIXELS = 32_000_000  # above it, pictures are decoded one after the other, and made smaller where that will do

_TAIL = 64 * 1024  # bytes at the end of a file that are searched for its end marker
_BLOCK = 1024 * 1024  # bytes that are searched together
_large_lock = threading.Lock()
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What readers raise on damaged files, found by Pillow's own Image.open, by cutting files short and by changing bytes.
_DAMAGE = (
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    RuntimeError,
    EOFError,
    OSError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_SIXTEEN_BIT_COLORS = re.compile(r"(RGB|RGBA|RGBX);16([BLN])")
_GREY_ALPHA = "RGBA"  # how grey with alpha, 16 bits each, gives its four bytes


class _PngReader(PngImageFile):
    """Stops behind the pixels: text there is not looked at."""

    def load_end(self) -> None:
        pass


class _TiffReader(TiffImageFile):
    """Neither turns the picture, which is done here for all kinds, nor warns of its size, which is checked."""

    def load_prepare(self) -> None:
        ImageFile.ImageFile.load_prepare(self)

    def load_end(self) -> None:
        pass


_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": _PngReader,
    "WEBP": WebPImageFile,
    "TIFF": _TiffReader,
    "BMP": BmpImageFile,
    "AVIF": AvifImageFile,
}


def inspect_image(path: Path, place: Place | None = None, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Upright (height, width) in pixels, from the header alone, and whether the file seems whole.

    The pixels are not decoded: damage in the middle of a file shows only in ``read_photo``.

    Args:
        path: The picture's, which is its file where there is no ``place``.
        place: Where its bytes stand, if that is no file of their own.
        max_pixels: Height times width that may not be exceeded.

    Raises:
        DatasetError: If the file is empty, cut off, not a picture, or above ``max_pixels``; the message says which.
    """
    with open_photo_file(path, place) as file:
        image, header = _open_image(path, file, max_pixels)
        try:
            whole = _is_whole(image, file, header.start)
        except _DAMAGE as error:
            raise _header_error(path, image.format or "picture", error) from error
        if not whole:
            raise UnreadablePhotoError(path, "The file is cut off before the end of the picture; copy it again.")
        return _upright_size(image, header.orientation)


def read_photo(photo: Photo | Path, *, min_short_side: int | None = None) -> Image.Image:
    """Decode a photo to upright 8-bit RGB.

    Transparency is laid over white. Numbers of more than 8 bits are scaled by the depth that holds the largest of them,
    so that nothing is clipped and 12 bits in a file of 16 can be seen; floats and other integers by their smallest and
    largest value.

    Args:
        photo: A photo of a source, whose view is applied if it has one, or the path of a picture file.
        min_short_side: Pixels. If given, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, which is several times
            faster, and a picture of another kind with more than ``LARGE_PIXELS`` be made smaller, so long as the
            shorter side keeps at least this many pixels. Others and views come whole.

    Raises:
        DatasetError: If the file cannot be decoded, or has another size than ``photo`` says.

    Example:
        ```python
        import maskdistill as md

        photo = md.open_source("sample").photos[0]
        assert md.read_photo(photo).size == (photo.width, photo.height)
        ```
    """
    path = photo if isinstance(photo, Path) else photo.path
    view = None if isinstance(photo, Path) else photo.view
    with open_photo_file(path, None if isinstance(photo, Path) else photo.place) as file:
        image, header = _open_image(path, file)
        upright = _upright_size(image, header.orientation)
        if isinstance(photo, Photo) and view is None and upright != (photo.height, photo.width):
            raise UnreadablePhotoError(path, "Its size is not the one seen first: it was replaced. Open the data anew.")
        factor = 1
        if min_short_side is not None and view is None:
            factor = _decode_smaller(image, min_short_side)
        with _large_lock if image.width * image.height > LARGE_PIXELS else nullcontext():
            try:
                with explain_lack_of_memory():  # no fault of the file, which must not count as damaged for ever
                    rgb = to_rgb(_decode(path, file, image), factor=factor)
            except _DAMAGE as error:
                raise UnreadablePhotoError(
                    path, f"The picture data is damaged or cut off ({_one_line(error)})."
                ) from error
    if header.orientation in _TRANSPOSE:
        rgb = rgb.transpose(_TRANSPOSE[header.orientation])
    return rgb if view is None else apply_view(rgb, view)


def exif_orientation(path: Path, place: Place | None = None) -> int:
    """How a file's pixels are to be turned, 1 (not at all) to 8, from the header alone.

    Raises:
        DatasetError: As ``inspect_image``.
    """
    with open_photo_file(path, place) as file:
        return _open_image(path, file)[1].orientation


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W) values made on a file's pixels as they are stored, turned as ``read_photo`` turns the photo."""
    if orientation not in _TRANSPOSE:
        return pixels
    return np.asarray(Image.fromarray(pixels).transpose(_TRANSPOSE[orientation]))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _header_error(path: Path, kind: str, error: BaseException) -> UnreadablePhotoError:
    reason = f"The header of this {kind} file is damaged or of an unknown kind ({_one_line(error)})."
    return UnreadablePhotoError(path, reason)


def _open_image(path: Path, file: BinaryIO, max_pixels: int = MAX_PIXELS) -> tuple[ImageFile.ImageFile, Header]:
    """The picture with its header read and its size checked, its pixels not yet decoded."""
    kind: str | OtherKind | None = "picture"
    try:
        file.seek(0)
        head = file.read(HEAD_BYTES)
        kind = kind_of_content(head)
        if not isinstance(kind, str):
            raise UnreadablePhotoError(path, _not_a_picture(head, kind))
        if kind == "WEBP" and head[12:16] == b"VP8X" and len(head) >= 30:  # its reader asks for memory at once
            width, height = (int.from_bytes(head[start : start + 3], "little") + 1 for start in (24, 27))
            _check_pixels(path, width, height, max_pixels)
        header = read_header(kind, file)
        image = _reader(kind)(header.file)
        if kind not in HEADERS:
            header = replace(header, orientation=orientation_of_exif(_exif(image)))
    except _DAMAGE as error:
        raise _header_error(path, str(kind), error) from error
    _check_pixels(path, *image.size, max_pixels)
    return image, header


def _reader(kind: str) -> type[ImageFile.ImageFile]:
    if kind == "HEIC":
        from pillow_heif.as_plugin import HeifImageFile  # an extra

        return HeifImageFile
    return _READERS[kind]


def _exif(image: ImageFile.ImageFile) -> bytes:
    exif = image.info.get("exif", b"")
    return exif if isinstance(exif, bytes) else b""


def _check_pixels(path: Path, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise UnreadablePhotoError(
            path,
            f"It has {width} x {height} pixels ({width * height / 1e6:.0f} megapixels), more than the limit of "
            f"{max_pixels / 1e6:.0f} megapixels; save a smaller copy.",
        )


def _not_a_picture(head: bytes, kind: OtherKind | None) -> str:
    if not head:
        return "The file is empty (0 bytes); copy it again."
    if kind is not None:
        return kind.reason()
    if not any(head):
        return "It holds zeros only, as after a copy or a download that broke off; copy it again."
    return "It is not a JPEG, PNG, WebP, BMP or TIFF picture, whatever its name says; save it as JPEG or PNG."


def _is_whole(image: ImageFile.ImageFile, file: BinaryIO, start: int) -> bool:
    size = size_of(file)
    if isinstance(image, JpegImageFile):  # what stands before the scan is not searched: a thumbnail's end is there
        return _has_marker(file, b"\xff\xd9", start, size)
    if isinstance(image, PngImageFile):
        return _has_marker(file, b"IEND", start, size)
    if isinstance(image, WebPImageFile):
        file.seek(4)
        return int.from_bytes(file.read(4), "little") + 8 <= size
    if isinstance(image, TiffImageFile):
        tags = image.tag_v2
        parts = ((273, 279), (324, 325))  # offsets and byte counts of strips and of tiles
        ends = [
            a + b for where, length in parts for a, b in zip(tags.get(where, ()), tags.get(length, ()), strict=False)
        ]
        return max(ends, default=0) <= size
    return True


def _has_marker(file: BinaryIO, marker: bytes, start: int, size: int) -> bool:
    """Whether the marker stands between ``start`` and the end; usually the last bytes are enough to see it.

    The whole file is searched only if not: phones append videos and depth maps of megabytes to a sound JPEG.
    """
    start = min(start, size)
    file.seek(max(start, size - _TAIL))
    if marker in file.read():
        return True
    file.seek(start)
    kept = b""
    while some := file.read(_BLOCK):
        if marker in kept + some:
            return True
        kept = some[1 - len(marker) :]  # where a block ends inside a marker
    return False


def _upright_size(image: ImageFile.ImageFile, orientation: int) -> tuple[int, int]:
    width, height = image.size
    return (width, height) if orientation in (5, 6, 7, 8) else (height, width)


def _decode_smaller(image: ImageFile.ImageFile, min_short_side: int) -> int:
    """Ask the reader for a smaller picture; returns by what the decoded one can be divided still."""
    share = min_short_side / min(image.size)
    if share < 1 and isinstance(image, JpegImageFile):  # a HEIC would hand out its thumbnail
        width, height = (max(1, int(np.ceil(side * share))) for side in image.size)
        image.draft(None, (width, height))
    if image.width * image.height <= LARGE_PIXELS:
        return 1
    return max(1, min(image.size) // max(1, min_short_side))


def _decode(path: Path, file: BinaryIO, image: ImageFile.ImageFile) -> Decoded:
    other = [tile for tile in map(_other_bytes, image.tile) if tile]
    image.load()
    if other and needs_low_bytes(image):
        low, _ = _open_image(path, file)
        low.tile = other
        low.load()
        if other[0].args != _GREY_ALPHA:
            return Decoded(image, low)
        _, grey, _, alpha = low.split()
        return Decoded(image, Image.merge("RGBA", (grey, grey, grey, alpha)))
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    inverted = tags.get(262) == 0
    unsigned = image.mode == "I" and tags.get(258) == (32,) and tags.get(339, (1,))[0] == 1
    return Decoded(image, inverted=inverted, unsigned=unsigned)


def _other_bytes(tile: ImageFile._Tile) -> ImageFile._Tile | None:
    """The tile under which a reader gives the low bytes of colors of 16 bits; None for other pictures.

    Pillow has no mode for such colors and keeps the high bytes. Read in the other order of bytes they are the low ones.
    """
    mode = tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0]
    if mode == "LA;16B":
        return tile._replace(args=_GREY_ALPHA)
    found = _SIXTEEN_BIT_COLORS.fullmatch(str(mode))
    if found is None:
        return None
    little = found[2] == "L" or (found[2] == "N" and sys.byteorder == "little")
    swapped = f"{found[1]};16{'B' if little else 'L'}"
    return tile._replace(args=swapped if isinstance(tile.args, str) else (swapped, *(tile.args or ())[1:]))
