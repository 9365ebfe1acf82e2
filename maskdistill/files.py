"""Files: written in one step, read with an error that names them; full disks recognized."""

import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from maskdistill.errors import RunError

_FULL = (errno.ENOSPC, errno.EDQUOT)
# How those put it that give no number: the C library, SQLite, safetensors, numpy.
_PHRASES = re.compile(
    r"No space left on device|Disk quota exceeded|disk is full|os error (28|122)\b|\d+ requested and \d+ written"
)


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


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def _free(folder: Path) -> str:
    existing = next((path for path in (folder, *folder.absolute().parents) if path.is_dir()), Path("/"))
    return f"{shutil.disk_usage(existing).free / 1e6:,.1f} MB free"


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader, or a crash, sees the old content or the new, never a part."""
    replace_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def replace_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path`` and rename it there; nothing is left behind on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")  # threads share the pid
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        RunError: If it is damaged, naming it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}). Delete it and run the stage again.") from error


def read_json_if_there(path: Path) -> Any | None:
    """``read_json``; None if there is no such file, also where another process removes it just now."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return None


def write_json(path: Path, value: Any, *, indent: int | None = 1) -> None:
    """Write a JSON file in one step. None as indent writes a large one that nobody reads five times as fast."""
    write_atomically(path, json.dumps(value, indent=indent))
