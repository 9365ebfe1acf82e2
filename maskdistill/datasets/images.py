"""Reading a photo file: its upright size from the header, or its pixels as upright 8-bit RGB.

Pillow's readers are called directly instead of through ``Image.open``, which warns about large photos by way of
process-wide state (``warnings``, ``Image.MAX_IMAGE_PIXELS``) and is not safe in threads. No global state is changed.
"""

import mmap
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from maskdistill.datasets.records import Photo
from maskdistill.datasets.views import apply_view
from maskdistill.errors import DatasetError
from maskdistill.machine import explain_lack_of_memory
from maskdistill.roots import OutsideRootsError, may_read, open_inside

MAX_PIXELS = 178_956_970  # height * width; where Pillow too warns of a decompression bomb

_TAIL = 64 * 1024  # bytes at the end of a file that are searched for its end marker
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's readers raise on damaged files, found by its own Image.open and by cutting files short.
_DAMAGE = (
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    OSError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class UnreadablePhotoError(DatasetError):
    """A photo file cannot be used; ``reason`` is the sentence without the file's name."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"Cannot read {path}. {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple:
        return type(self), (self.path, self.reason)


def inspect_image(path: Path) -> tuple[int, int]:
    """Upright (height, width) in pixels, from the header alone, and whether the file seems whole.

    The pixels are not decoded: damage in the middle of a file shows only in ``read_photo``.

    Raises:
        DatasetError: If the file is empty, cut off, not a picture, or above ``MAX_PIXELS``; the message says which.
    """
    with _open_file(path) as file:
        image = _open_image(path, file)
        if not _is_whole(image, file):
            raise UnreadablePhotoError(path, "The file is cut off before the end of the picture; copy it again.")
        return _upright_size(image)


def read_photo(photo: Photo | Path, *, min_short_side: int | None = None) -> Image.Image:
    """Decode a photo to upright 8-bit RGB.

    Transparency is laid over white. 16-bit grey is scaled by its format's range, so that nothing is clipped; floats
    and 32-bit integers by their smallest and largest value.

    Args:
        photo: A photo of a source, whose view is applied if it has one, or the path of a picture file.
        min_short_side: Pixels. If given, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, which is several times
            faster, so long as the shorter side keeps at least this many pixels. Other formats and views come whole.

    Raises:
        DatasetError: If the file cannot be decoded, or has another size than ``photo`` says.
    """
    path = photo if isinstance(photo, Path) else photo.path
    view = None if isinstance(photo, Path) else photo.view
    with _open_file(path) as file:
        image = _open_image(path, file)
        if isinstance(photo, Photo) and view is None and _upright_size(image) != (photo.height, photo.width):
            raise UnreadablePhotoError(path, "Its size is not the one seen first: it was replaced. Open the data anew.")
        orientation = _orientation(image)
        if min_short_side is not None and view is None:
            _decode_smaller(image, min_short_side)
        try:
            with explain_lack_of_memory():  # no fault of the file, which must not count as damaged for ever
                rgb = _to_rgb(image)
        except _DAMAGE as error:
            raise UnreadablePhotoError(path, f"The picture data is damaged or cut off ({error}).") from error
    if orientation in _TRANSPOSE:
        rgb = rgb.transpose(_TRANSPOSE[orientation])
    return rgb if view is None else apply_view(rgb, view)


def exif_orientation(path: Path) -> int:
    """How a file's pixels are to be turned, 1 (not at all) to 8, from the header alone.

    Raises:
        DatasetError: As ``inspect_image``.
    """
    with _open_file(path) as file:
        return _orientation(_open_image(path, file))


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W) values made on a file's pixels as they are stored, turned as ``read_photo`` turns the photo."""
    if orientation not in _TRANSPOSE:
        return pixels
    return np.asarray(Image.fromarray(pixels).transpose(_TRANSPOSE[orientation]))


def _open_file(path: Path) -> BinaryIO:
    try:
        if not may_read(path):
            raise OutsideRootsError
        if not path.is_file():
            what = "The link leads nowhere" if path.is_symlink() else "There is no such file"
            raise UnreadablePhotoError(path, f"{what}; put the file back or leave it out.")
        return open_inside(path)
    except OutsideRootsError as error:
        raise UnreadablePhotoError(path, "It leads out of the folders that this server may use.") from error
    except OSError as error:
        raise UnreadablePhotoError(path, f"The system refuses to open it: {error.strerror}.") from error


def _open_image(path: Path, file: BinaryIO) -> ImageFile.ImageFile:
    """The picture with its header read and its size checked, its pixels not yet decoded."""
    try:
        head = file.read(16)
        reader = _reader(head)
        if reader is None:
            raise UnreadablePhotoError(path, _not_a_picture(head))
        file.seek(0)
        image = reader(file)
    except _DAMAGE as error:
        raise UnreadablePhotoError(path, f"The header is damaged or of an unknown kind ({error}).") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnreadablePhotoError(
            path,
            f"It has {width} x {height} pixels ({width * height / 1e6:.0f} megapixels), more than the limit of "
            f"{MAX_PIXELS / 1e6:.0f} megapixels; save a smaller copy.",
        )
    return image


def _reader(head: bytes) -> type[ImageFile.ImageFile] | None:
    """The reader for the file's first bytes: names often lie about what is inside."""
    if head.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WebPImageFile
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return TiffImageFile
    return BmpImageFile if head.startswith(b"BM") else None


def _not_a_picture(head: bytes) -> str:
    if not head:
        return "The file is empty (0 bytes); copy it again."
    if head[4:8] == b"ftyp":
        return "It is a HEIC, AVIF or video file, whatever its name says; save it as JPEG."
    return "It is not a JPEG, PNG, WebP, BMP or TIFF picture, whatever its name says; save it as JPEG or PNG."


def _is_whole(image: ImageFile.ImageFile, file: BinaryIO) -> bool:
    size = os.fstat(file.fileno()).st_size
    if isinstance(image, JpegImageFile):  # the reader has stopped behind the header, so a thumbnail's end is not seen
        return _has_marker(file, b"\xff\xd9", file.tell(), size)
    if isinstance(image, PngImageFile):
        return _has_marker(file, b"IEND", 8, size)
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
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(marker, start) >= 0


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF orientation, 1 to 8, as the header says."""
    if isinstance(image, TiffImageFile):  # Pillow turns these by itself
        return 1
    try:
        # PngImageFile.getexif would decode the whole picture in search of a tag behind the pixels.
        return Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except _DAMAGE:  # a photo with broken EXIF is still a photo
        return 1


def _upright_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    width, height = image.size
    return (width, height) if _orientation(image) in (5, 6, 7, 8) else (height, width)


def _decode_smaller(image: ImageFile.ImageFile, min_short_side: int) -> None:
    factor = min_short_side / min(image.size)
    if factor < 1:
        image.draft(None, tuple(max(1, int(np.ceil(side * factor))) for side in image.size))


def _to_rgb(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode.startswith("I;16"):
        return _grey_to_rgb(np.asarray(image) / 65535)
    if image.mode in ("I", "F"):
        return _grey_to_rgb(_to_unit_range(np.asarray(image)))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _to_unit_range(values: np.ndarray) -> np.ndarray:
    """(H, W) numbers of an unknown range to [0, 1]; integers that fit in 16 bits count as 16-bit grey."""
    if values.dtype.kind == "i" and values.min() >= 0 and values.max() <= 65535:
        return values / 65535
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape)
    low, high = float(values[finite].min()), float(values[finite].max())
    values = np.where(finite, values, low).astype(np.float64)
    return (values - low) / (high - low) if high > low else np.zeros(values.shape)


def _grey_to_rgb(values: np.ndarray) -> Image.Image:
    return Image.fromarray((values * 255 + 0.5).astype(np.uint8)).convert("RGB")
