"""A small disk of its own, and filling it."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FILLER = "filler"


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk in memory, mounted at ``folder``; the test is skipped where none can be mounted."""
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("A disk can be mounted by root only.")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> None:
    """Leave so many bytes, rounded up to whole pages of memory, or not a single one."""
    (folder / FILLER).write_bytes(b"")
    with (folder / FILLER).open("ab", buffering=0) as file:
        for size in (2**20, 4096, 1):
            while shutil.disk_usage(folder).free - size >= leave:
                try:
                    file.write(b"x" * size)
                except OSError:
                    break


def free(folder: Path) -> None:
    """Make space again."""
    (folder / FILLER).unlink()
