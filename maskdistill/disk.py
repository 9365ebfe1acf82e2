"""Full disks: seen in an error, and said so that a person can act on it."""

import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

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
    """Whether a message, or a log, speaks of a full disk."""
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
