"""Standard output and standard error, whatever they are tied to: nothing, a pipe that nobody reads, a poor encoding."""

import contextlib
import errno
import io
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:  # in Python since 3.12
    from typing_extensions import Buffer

_GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENOSPC, errno.EDQUOT)


class _Lenient(io.FileIO):
    """A file whose loss is no reason to stop the work: what is said of progress is lost with it."""

    def write(self, data: "Buffer", /) -> int:
        """Write, or drop what can no longer be written."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return memoryview(data).nbytes


def settle_streams() -> None:
    """Give both streams a place to write to, and a way to write every letter; leaves those of a test as they are."""
    sys.stdout, sys.stderr = (stream or _nowhere() for stream in (sys.stdout, sys.stderr))
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        file: io.BufferedWriter[Any] = io.BufferedWriter(_Lenient(sys.stderr.fileno(), "w", closefd=False))
        sys.stderr = io.TextIOWrapper(file, sys.stderr.encoding, "backslashreplace", line_buffering=True)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def write_output(text: str) -> None:
    """Write to standard output; a reader that has gone, as ``head``, has what it wanted.

    Raises:
        OSError: If it cannot be written otherwise, as on a full disk.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()


def drop_output() -> None:
    """Let what is left in the buffer of standard output go nowhere, where Python's end would complain about it."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")
