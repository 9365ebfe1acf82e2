"""The one place where the bytes of a photo are opened: a file, a piece of one, an object on another machine."""

import errno
import io
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from maskdistill.datasets.addresses import is_address
from maskdistill.datasets.records import Place
from maskdistill.datasets.remote import SIZE_VARIABLE, RemoteError, fetch, open_piece
from maskdistill.datasets.spliced_file import splice
from maskdistill.errors import DatasetError, printable
from maskdistill.roots import OutsideRootsError, may_read, open_inside

_SPECIAL = (
    (stat.S_ISDIR, "It is a folder, whatever its name says; give the pictures in it"),
    (stat.S_ISFIFO, "It is a named pipe, not a file; leave it out"),
    (stat.S_ISSOCK, "It is a socket, not a file; leave it out"),
    (stat.S_ISCHR, "It is a device, not a file; leave it out"),
    (stat.S_ISBLK, "It is a device, not a file; leave it out"),
)


class UnreadablePhotoError(DatasetError):
    """A photo file cannot be used; ``reason`` is the sentence without the file's name."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"Cannot read {path}. {reason}")
        self.path = path
        self.reason = printable(reason)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.reason)


def open_photo_file(path: Path, place: Place | None = None) -> BinaryIO:
    """The bytes of a photo, to read and to seek in.

    Args:
        path: The photo's, for messages; the file itself where there is no ``place``.
        place: Where the bytes stand, if that is no file of their own.

    Raises:
        UnreadablePhotoError: If there is no such file, or it is none that can be read; the message says why.
    """
    if place is None:
        return open_regular(path)
    if is_address(place.file):
        return _open_remote(path, place)
    file = open_regular(Path(place.file))
    try:
        if place.start + place.size > size_of(file):
            raise UnreadablePhotoError(path, f"{place.file} is shorter than it was: copy it again, or open it anew.")
        return splice(file, [(place.start, place.start + place.size)], owned=True)
    except BaseException:
        file.close()
        raise


def _open_remote(path: Path, place: Place) -> BinaryIO:
    for _ in range(2):
        try:
            return fetch(place.file).open("rb") if place.size < 0 else open_piece(place.file, place.start, place.size)
        except RemoteError as error:
            raise UnreadablePhotoError(path, error.reason) from error
        except FileNotFoundError:  # it went from the cache just now
            continue
    raise UnreadablePhotoError(path, f"The cache is too small to keep it; raise {SIZE_VARIABLE}.")


def open_regular(path: Path) -> BinaryIO:
    """Open a plain file to read. What would block or act when it is opened (a pipe, a device) never is.

    Raises:
        UnreadablePhotoError: If there is no such file, or it is none that can be read; the message says why.
    """
    try:
        if not may_read(path):
            raise OutsideRootsError
        _require_file(path, path.stat().st_mode)
        file = open_inside(path)
    except OutsideRootsError as error:
        raise UnreadablePhotoError(path, "It leads out of the folders that this server may use.") from error
    except FileNotFoundError as error:
        what = "The link leads nowhere" if path.is_symlink() else "There is no such file"
        raise UnreadablePhotoError(path, f"{what}; put the file back or leave it out.") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnreadablePhotoError(path, "The link leads back to itself; leave it out.") from error
        raise UnreadablePhotoError(path, f"The system refuses to open it: {error.strerror}.") from error
    except ValueError as error:
        raise UnreadablePhotoError(path, f"No file can have this name ({error}).") from error
    try:
        _require_file(path, os.fstat(file.fileno()).st_mode)  # another may stand there by now
    except UnreadablePhotoError:
        file.close()
        raise
    return file


def size_of(file: BinaryIO) -> int:
    """Bytes of an open file, whose place is the same afterwards."""
    place = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(place)
    return size


def _require_file(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        reason = next((text for test, text in _SPECIAL if test(mode)), "It is no file; leave it out")
        raise UnreadablePhotoError(path, f"{reason}.")
