"""The header of a picture file, cut down to what the pixels need, and the orientation that it states.

Pillow's readers give up a sound picture over a large text or color profile, warn of odd tags by way of process-wide
state, and read what nobody here asks for. So they are given the file without those parts. No global state is changed.
"""

import os
import re
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from maskdistill.datasets.photo_files import size_of
from maskdistill.datasets.spliced_file import Piece, splice

_ORIENTATION = 0x0112
_MAX_TEXT = 1 << 20  # bytes of a text that may hold the orientation
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")
_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_INTEGER_SIZES = {1: 1, 3: 2, 4: 4, 16: 8}  # bytes of TIFF's types of whole numbers
# TIFF's tags that decide about pixels; those that have one value, and those that are no whole numbers.
_SINGLE_TAGS = frozenset({254, 256, 257, 259, 262, 266, 277, 278, 284, 292, 293, 317, 322, 323, 332})
_LIST_TAGS = frozenset({258, 273, 279, 320, 324, 325, 338, 339, 530})
_OTHER_TAGS = {347: {7: 1}, 529: {5: 8}, 532: {5: 8}}  # JPEG tables; what YCbCr means


@dataclass(frozen=True)
class Header:
    """What a reader is given."""

    file: BinaryIO
    orientation: int = 1  # EXIF, 1 to 8; of the kinds in ``HEADERS``, others state it elsewhere
    start: int = 0  # byte of the given file behind the header


def read_header(kind: str, file: BinaryIO) -> Header:
    """The file for Pillow's reader of this kind, and the orientation if it stands in the header.

    Raises:
        SyntaxError: If the header is damaged; ``struct.error`` or ``OSError`` if it is cut off.
    """
    file.seek(0)
    return HEADERS[kind](file) if kind in HEADERS else Header(file)


def orientation_of_exif(exif: bytes) -> int:
    """Orientation, 1 to 8, of an EXIF block; 1 where it states none, or none that exists."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        if order is None:
            return 1
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for number in range(count):
            tag, kind, values = struct.unpack_from(f"{order}HHI", exif, start + 2 + 12 * number)
            if tag == _ORIENTATION and kind in (1, 3, 4) and values >= 1:
                code = {1: "B", 3: "H", 4: "I"}[kind]
                return _valid(struct.unpack_from(f"{order}{code}", exif, start + 10 + 12 * number)[0])
    except struct.error:  # a photo with broken EXIF is still a photo
        return 1
    return 1


def _valid(orientation: int) -> int:
    return orientation if 1 <= orientation <= 8 else 1


def _xmp_orientation(xmp: bytes) -> int:
    found = _XMP_ORIENTATION.search(xmp)
    return int(found[1]) if found else 1


def _exactly(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise OSError("the header is cut off")
    return content


def _read_jpeg(file: BinaryIO) -> Header:
    """Without comments and application segments, except those that say how colors are coded."""
    kept, exif, xmp = [_exactly(file, 2)], 1, 1
    while True:
        marker = _next_marker(file)
        if marker == 0xDA:  # the scan begins
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # stand alone
            continue
        if marker == 0xD9:
            raise SyntaxError("it ends before the picture begins")
        length = _exactly(file, 2)
        size = int.from_bytes(length, "big") - 2
        if size < 0:
            raise SyntaxError(f"a segment of {size + 2} bytes")
        if marker == 0xFE or (0xE0 <= marker <= 0xEF and marker not in (0xE0, 0xE1, 0xEE)):
            file.seek(size, os.SEEK_CUR)
            continue
        content = _exactly(file, size)
        if marker == 0xE1:
            exif = orientation_of_exif(content) if exif == 1 and content.startswith(b"Exif\0\0") else exif
            xmp = _xmp_orientation(content) if content.startswith(_XMP_IN_JPEG) else xmp
        elif marker not in (0xE0, 0xEE) or (content.startswith((b"JFIF\0", b"Adobe")) and size >= 12):
            kept.append(bytes((0xFF, marker)) + length + content)
    start = file.tell() - 2
    return Header(splice(file, [b"".join(kept), (start, size_of(file))]), exif if exif != 1 else xmp, start)


def _next_marker(file: BinaryIO) -> int:
    """The next marker of a JPEG's header; what stands before it is no part of a segment and counts for nothing."""
    before = 0
    while True:
        (byte,) = _exactly(file, 1)
        if before == 0xFF and byte not in (0, 0xFF):
            return byte
        before = byte


def _read_png(file: BinaryIO) -> Header:
    """Without text, color profile and further frames: of the chunks before the pixels those that decide about them."""
    kept, size = [_exactly(file, 8)], size_of(file)
    orientation: dict[bytes, int] = {}
    while True:
        start = file.tell()
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or kind == b"IDAT" or not kind.isalpha() or start + length + 12 > size:
            break  # the pixels, or damage, of which Pillow will speak
        if kind[:1].isupper() or kind == b"tRNS":
            kept.append(head + _exactly(file, length + 4))
        elif kind in (b"eXIf", b"zTXt", b"tEXt", b"iTXt") and length <= _MAX_TEXT:
            orientation[kind] = max(orientation.get(kind, 1), _png_orientation(kind, _exactly(file, length)))
        file.seek(start + length + 12)
    stated = (orientation[kind] for kind in (b"eXIf", b"zTXt", b"tEXt", b"iTXt") if orientation.get(kind, 1) != 1)
    return Header(splice(file, [b"".join(kept), (start, size)]), next(stated, 1), start)


def _png_orientation(kind: bytes, content: bytes) -> int:
    """Of an EXIF chunk, of EXIF written as text (ImageMagick), or of XMP."""
    if kind == b"eXIf":
        return orientation_of_exif(content)
    keyword, _, rest = content.partition(b"\0")
    if kind == b"iTXt":
        packed, text = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
        return _xmp_orientation(_unpacked(text) if packed else text) if keyword == b"XML:com.adobe.xmp" else 1
    if keyword not in (b"Raw profile type exif", b"Raw profile type APP1"):
        return 1
    lines = (_unpacked(rest[1:]) if kind == b"zTXt" else rest).split(b"\n")
    try:
        return orientation_of_exif(bytes.fromhex(b"".join(lines[3:]).decode("ascii", "replace")))
    except ValueError:
        return 1


def _unpacked(content: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(content, _MAX_TEXT)
    except zlib.error:
        return b""


def _read_tiff(file: BinaryIO) -> Header:
    """The first page alone, with the tags that decide about its pixels, as far as they can be true."""
    head, size = _exactly(file, 8), size_of(file)
    order, big = "<" if head[:2] == b"II" else ">", head[2:4] in (b"+\0", b"\0+")
    if big:
        (start,) = struct.unpack(f"{order}Q", _exactly(file, 8))
    else:
        (start,) = struct.unpack(f"{order}I", head[4:])
    count_code, entry_code, next_code = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    entry_size, offset_code = (20, "Q") if big else (12, "I")
    if start >= size:
        raise OSError("the directory of tags lies behind the end of the file")
    file.seek(start)
    first = struct.calcsize(f"{order}{count_code}")
    (count,) = struct.unpack(f"{order}{count_code}", _exactly(file, first))
    length = first + count * entry_size + struct.calcsize(f"{order}{next_code}")
    if start + first + count * entry_size > size:
        raise OSError("the directory of tags is cut off")
    raw = _exactly(file, count * entry_size)
    kept: dict[int, bytes] = {}
    orientation, budget = 1, size
    for number in range(count):
        entry = raw[number * entry_size : (number + 1) * entry_size]
        tag, kind, values, data = struct.unpack(f"{order}{entry_code}", entry)
        if tag == _ORIENTATION and kind == 3 and values == 1:
            orientation = _valid(struct.unpack(f"{order}H", data[:2])[0])
        taken = _tag_size(tag, kind, values)
        if taken > len(data) and (struct.unpack(f"{order}{offset_code}", data)[0] + taken > size or taken > budget):
            continue
        if taken and tag not in kept:
            kept[tag] = entry
            budget -= taken if taken > len(data) else 0
    directory = struct.pack(f"{order}{count_code}", len(kept)) + b"".join(kept[tag] for tag in sorted(kept))
    pieces: list[Piece] = [(0, start), directory.ljust(length, b"\0"), (min(start + length, size), size)]
    return Header(splice(file, pieces), orientation)


def _tag_size(tag: int, kind: int, count: int) -> int:
    """Bytes of a tag's values; 0 if it is not needed, or cannot be true."""
    if tag in _OTHER_TAGS:
        return _OTHER_TAGS[tag].get(kind, 0) * count
    if tag in _SINGLE_TAGS:
        return _INTEGER_SIZES.get(kind, 0) if count == 1 else 0
    return _INTEGER_SIZES.get(kind, 0) * count if tag in _LIST_TAGS else 0


HEADERS = {"JPEG": _read_jpeg, "PNG": _read_png, "TIFF": _read_tiff}
