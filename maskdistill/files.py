"""Files: written in one step; full disks recognized."""

import contextlib
import csv
import errno
import functools
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Literal

import psutil

from maskdistill.errors import ConfigError

_DEVICES = Path("/dev")
_TEMPORARY = re.compile(r"\..+\.(?:(?P<place>[0-9a-f]{8})-)?(?P<pid>\d+)-[0-9a-f]{8}\.tmp")
_ABANDONED = 86400.0  # seconds without a change after which the temporary file of an unknown process is left over
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # how spreadsheets know one
# How those put it that give no number: the C library, SQLite, safetensors, numpy.
_PHRASES = re.compile(
    r"No space left on device|Disk quota exceeded|disk is full|os error (28|122)\b|\d+ requested and \d+ written"
)

_REMEDIES = {
    errno.EROFS: "It lies on a file system that can only be read: make it writable, or choose a folder elsewhere.",
    errno.EACCES: "Check the rights of the file and of its folder.",
    errno.EPERM: "Check the rights of the file and of its folder.",
    errno.EFBIG: "The file would be larger than is allowed: raise the limit (ulimit -f), then start again.",
    errno.EMFILE: "Too many files are open: raise the limit (ulimit -n), then start again.",
    errno.EIO: "The disk fails: check it.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}


def is_disk_full(error: BaseException | None) -> bool:
    """Whether a full disk, or a used-up quota, is behind an error or behind what it came from."""
    numbers = (getattr(cause, "errno", None) in _FULL for cause in _causes(error))
    return any(numbers) or any(says_full(str(cause)) for cause in _causes(error))


def says_full(text: str) -> bool:
    """Whether a message, or a log, is about a full disk."""
    return _PHRASES.search(text) is not None


def describe_full_disk(folder: Path) -> str:
    """The sentence for people."""
    return (
        f"The disk of {folder} is full ({_free(folder)}). What is finished is kept, the last good checkpoint too: "
        "free some space, then resume."
    )


def describe_file_error(error: OSError, folder: Path) -> str:
    """The sentences for people: which file, what is wrong with it, what to do.

    Args:
        error: What the system said.
        folder: Where the work writes, if the error names no file.
    """
    if is_disk_full(error):
        named = isinstance(error.filename, str) and error.filename
        return describe_full_disk(Path(error.filename).parent if named else folder)
    reason = (error.strerror or str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"{reason} ({error.filename or folder}). {_REMEDIES.get(error.errno or 0, 'Correct that, then start again.')}"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def _free(folder: Path) -> str:
    existing = next((path for path in (folder, *folder.absolute().parents) if path.is_dir()), Path("/"))
    return f"{shutil.disk_usage(existing).free / 1e6:,.1f} MB free"


def expand_user(path: Path | str) -> Path:
    """A path with its ``~`` replaced; as it is where that names no known user, or this one has no home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader, or a crash, sees the old content or the new, never a part."""
    replace_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def replace_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path`` and rename it there; nothing is left behind on failure.

    A device, such as /dev/null or /dev/stdout, is written to and stays what it is.
    """
    if path.parent == _DEVICES or path.is_char_device():
        with tempfile.TemporaryDirectory() as folder:
            write(part := Path(folder) / "part")
            path.write_bytes(part.read_bytes())
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    name = os.fsdecode(os.fsencode(path.name)[:190])  # systems stop at 255 bytes
    temporary = path.with_name(f".{name}.{_place()}-{os.getpid()}-{secrets.token_hex(4)}.tmp")  # threads share both
    try:
        write(temporary)
        temporary.replace(path)
    except Exception as error:
        number = errno.ENOSPC if is_disk_full(error) else getattr(error, "errno", None)
        if number is None or getattr(error, "filename", None) not in (None, str(temporary)):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error  # a write names no file; others no number
    finally:
        with contextlib.suppress(OSError):  # of a folder that is gone, or can be written no more
            temporary.unlink(missing_ok=True)


def link_file(source: Path | str, target: Path | str) -> None:
    """Make a file that nobody changes known under another name too; a copy where the disk can have no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def check_place(path: Path, wanted: Literal["file", "folder"]) -> None:
    """Refuse what can be no file, or no folder, because something of another kind stands there or above it.

    Raises:
        ConfigError: Naming what stands there.
    """
    there = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
    found = "folder" if there.is_dir() else "file" if os.path.exists(there) else "link that leads nowhere"
    if there == path and found != wanted:
        raise ConfigError(f"{path} is a {found}, wanted a {wanted}. Give another {wanted}.")
    if there != path and found != "folder":
        raise ConfigError(f"{there} is a {found}, so that {path} can be no {wanted}. Give another {wanted}.")


def require_writable(folder: Path, depth: int = 0) -> None:
    """Find out before long work whether files can be written in a folder, which need not be there yet.

    Args:
        folder: The folder.
        depth: How far its subfolders are looked at too.

    Raises:
        OSError: Naming the folder that cannot be written.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        return  # what writes there says what is wrong
    if not os.access(there, os.W_OK | os.X_OK):
        is_read_only = hasattr(os, "statvfs") and os.statvfs(there).f_flag & os.ST_RDONLY
        number = errno.EROFS if is_read_only else errno.EACCES
        raise OSError(number, os.strerror(number), str(there))
    if depth and there == folder:
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                require_writable(folder / entry.name, depth - 1)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes left below a folder, and none that may still be written."""
    for root, _, names in os.walk(folder):
        for name in names:
            found = _TEMPORARY.fullmatch(name)
            if found and _is_left(Path(root) / name, found["place"], int(found["pid"])):
                with contextlib.suppress(OSError):
                    (Path(root) / name).unlink(missing_ok=True)


def _is_left(path: Path, place: str | None, pid: int) -> bool:
    if place == _place():
        return not psutil.pid_exists(pid)
    try:  # of another machine or container, or of an earlier version, which named no place
        return time.time() - path.stat().st_mtime > _ABANDONED
    except OSError:
        return False


@functools.cache
def _place() -> str:
    """Where numbers of processes mean something: this machine, and this container of it."""
    namespace = ""
    with contextlib.suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")
    return hashlib.blake2b(f"{socket.gethostname()} {namespace}".encode(), digest_size=4).hexdigest()


def set_aside(path: Path) -> None:
    """Clear the way for a new file: a file goes, a folder is renamed, for it may hold what somebody needs."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        rename_aside(path)


def rename_aside(path: Path) -> None:
    """Give a file or folder that is in the way another name beside its place."""
    names = (f"{path.name}.aside{number or ''}" for number in count())
    path.rename(next(free for name in names if not os.path.lexists(free := path.with_name(name))))


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV. A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns, *([_cell(value) for value in row] for row in rows)])
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str):
        value = value.replace("\r\n", "\n").replace("\r", "\n")  # the writer would not quote a lone one
    return f"'{value}" if isinstance(value, str) and value.lstrip(" \xa0\u3000\ufeff").startswith(_FORMULA) else value


def write_json(path: Path, value: Any, *, indent: int | None = 1) -> None:
    """Write a JSON file in one step. None as indent writes a large one that nobody reads five times as fast."""
    write_atomically(path, json.dumps(value, indent=indent))
