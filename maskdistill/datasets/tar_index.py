"""Which files a tar holds and where their bytes stand, without unpacking it or trusting it.

Only headers are read. Nothing of a tar is ever written to the disk, so names in it can do no harm; those that lead out
of it are refused all the same, for they would end up in exports.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from maskdistill.datasets.photo_files import size_of

_BLOCK = 512
_MOST_NAME = 64 * 1024  # bytes of a header that holds a long name, or what else pax says of a file
_MOST_HEADERS = 16  # of those before one file
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL, _PAX_SOLARIS, _SPARSE = b"L", b"K", b"x", b"g", b"X", b"S"
_FILES = (b"0", b"\0", b"7")
_LINKS = (b"1", b"2")
_PACKED = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))
UNPACK = {"gzip": "gunzip", "bzip2": "bunzip2", "xz": "unxz", "zstd": "unzstd"}  # what takes the compression away


class DamagedTarError(Exception):
    """From here on nothing more of a tar can be read; the text says why."""


@dataclass(frozen=True)
class TarMember:
    """A file in a tar."""

    name: str  # with "/", as it stands there
    start: int  # bytes before its own
    size: int  # bytes
    problem: str = ""  # a sentence on why it cannot be used


def compression_of(file: BinaryIO) -> str:
    """What a file is compressed with; empty if with nothing that is known here."""
    head = file.read(8)
    file.seek(0)
    return next((name for start, name in _PACKED if head.startswith(start)), "")


def list_members(file: BinaryIO) -> Iterator[TarMember]:
    """The regular files of a tar, and links and the like with their problem; folders are passed over.

    Raises:
        DamagedTarError: Where a header cannot be read, or leads behind the end of the tar.
    """
    end, place = size_of(file), 0
    said: dict[str, str] = {}
    headers = 0
    while place + _BLOCK <= end:
        file.seek(place)
        block = file.read(_BLOCK)
        if not any(block):
            return
        info = _header(block, place)
        start, size = place + _BLOCK, int(said.get("size", info.size))
        place = start + -(-size // _BLOCK) * _BLOCK
        if size < 0:
            raise DamagedTarError(f"the header at byte {start - _BLOCK:,} tells of a negative size")
        if info.type in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL, _PAX_SOLARIS):
            headers += 1
            if size > _MOST_NAME or headers > _MOST_HEADERS:
                raise DamagedTarError(f"a header at byte {start - _BLOCK:,} is larger than any name")
            if info.type not in (_PAX_GLOBAL, _LONG_LINK):
                said |= _read_extra(file.read(size), info.type)
            continue
        name, size_said, headers = said.get("path", info.name), size, 0
        sparse = info.type == _SPARSE or any(key.startswith("GNU.sparse") for key in said)
        said = {}
        if info.type in (*_FILES, *_LINKS, _SPARSE) and not name.endswith("/"):
            yield TarMember(name, start, size_said, _problem_of(name, info.type in _LINKS, sparse, start + size > end))
    if place > end:
        raise DamagedTarError("it ends in the middle of a file: copy it again")


def _header(block: bytes, place: int) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError) as error:
        raise DamagedTarError(f"there is no header at byte {place:,} ({error})") from error


def _read_extra(content: bytes, kind: bytes) -> dict[str, str]:
    """What a header says of the file after it: ``path``, ``size``, and any other key of pax."""
    if kind == _LONG_NAME:
        return {"path": content.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    found: dict[str, str] = {}
    while content:
        length, blank, _ = content.partition(b" ")
        if not (blank and length.isdigit() and len(length) < 8 and len(length) + 1 < int(length) <= len(content)):
            raise DamagedTarError("a pax header is no list of lengths, names and values")
        record, content = content[len(length) + 1 : int(length) - 1], content[int(length) :]
        key, _, value = record.partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
    if not found.get("size", "0").isdecimal():
        raise DamagedTarError("a pax header tells of a size that is no number")
    return found


def _problem_of(name: str, is_link: bool, is_sparse: bool, is_cut: bool) -> str:
    path = PurePosixPath(name)
    if "\0" in name or path.is_absolute() or ".." in path.parts or not path.parts:
        return "Its name leads out of the archive; pack it anew."
    if is_link:
        return "It is a link to another file of the archive; pack the file itself."
    if is_sparse:
        return "It is stored with holes left out; pack it without --sparse."
    return "The archive ends before this file does; copy it again." if is_cut else ""


def member_path(tar: Path, member: TarMember) -> Path:
    """How a file in a tar is named where files are named."""
    return tar / PurePosixPath(member.name)
