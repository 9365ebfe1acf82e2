"""Which files may be read on a shared server: those below the folders of ``MASKDISTILL_ROOTS``, links resolved.

The variable itself is the state: jobs and the processes of a pool inherit it, and a command that a person types in a
terminal takes it out of its environment. Without it everything is open that the account may read.
"""

import os
import sysconfig
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import BinaryIO

from maskdistill.errors import DatasetError, MaskDistillError

VARIABLE = "MASKDISTILL_ROOTS"
RUNS_VARIABLE = "MASKDISTILL_RUNS"


class OutsideRootsError(DatasetError):
    """A path leads out of the folders that the server may use."""


def roots() -> tuple[Path, ...]:
    """The folders, with their links resolved, that of the runs among them; empty where nothing is confined."""
    if VARIABLE not in os.environ:
        return ()
    named = [part for part in os.environ[VARIABLE].split(os.pathsep) if part.strip()]
    return tuple(Path(os.path.realpath(os.path.expanduser(part))) for part in [*named, str(runs_folder())])


def runs_folder() -> Path:
    """Where the app keeps runs: ``$MASKDISTILL_RUNS``, else ``runs`` in the working folder."""
    folder = Path(os.environ.get(RUNS_VARIABLE, "runs"))
    return Path(os.path.realpath(folder)) if VARIABLE in os.environ else folder


def is_inside(path: Path | str) -> bool:
    """Whether a path, with its links resolved, may be used; says nothing about whether it is there."""
    return _is_below(path, roots())


def confine(path: Path | str, error: type[MaskDistillError] = OutsideRootsError) -> Path:
    """The path to use in place of one that somebody typed or wrote into a file: the same, or its links resolved.

    Raises:
        OutsideRootsError: Or ``error``, if it leads out of the roots. The sentence is the same for what is not there.
    """
    allowed = roots()
    if not allowed:
        return Path(path)
    if not _is_below(path, allowed):
        raise error(outside(path))
    return Path(os.path.realpath(path))


def outside(path: Path | str) -> str:
    """The sentence about a path that leads out of the roots."""
    places = ", ".join(str(root) for root in roots())
    return f"{path} is not in a folder that this server may use. Choose one in: {places}."


def may_read(path: Path | str) -> bool:
    """Whether ``open_inside`` would open it, if it is there."""
    allowed = roots()
    return not allowed or _is_below(path, allowed + _installed())


def leads_out(folder: Path) -> bool:
    """Whether a folder, or a link in it or in a folder of it, leads out of the roots."""
    allowed = roots()
    if not allowed:
        return False
    if not _is_below(folder, allowed):
        return True
    found = list(os.scandir(folder))
    for entry in [item for item in found if item.is_dir(follow_symlinks=False)]:
        found += os.scandir(entry)
    return any(entry.is_symlink() and not _is_below(entry.path, allowed) for entry in found)


def scratch_folder() -> Path | None:
    """Where the app's own short-lived files go, for ``tempfile``: the system's place unless the app is confined."""
    if not roots():
        return None
    runs_folder().mkdir(parents=True, exist_ok=True)
    return runs_folder().absolute()


def open_inside(path: Path) -> BinaryIO:
    """Open a file for reading, and make sure that what was opened lies inside, whatever links are swapped meanwhile.

    The installed packages are open too: the sample photos lie there.

    Raises:
        OutsideRootsError: If it leads out of the roots.
        OSError: If it cannot be opened.
    """
    allowed = roots()
    if not allowed:
        return _open(path)
    allowed += _installed()
    if not _is_below(path, allowed):
        raise OutsideRootsError(outside(path))
    with ExitStack() as opened:
        file = opened.enter_context(_open(os.path.realpath(path)))
        if not _is_below(_place_of(file, path), allowed):
            raise OutsideRootsError(outside(path))
        opened.pop_all()
    return file


def _open(path: Path | str) -> BinaryIO:
    """Without waiting for a writer, should a pipe stand there by now."""
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))


@cache
def _installed() -> tuple[Path, ...]:
    return tuple(Path(os.path.realpath(sysconfig.get_path(name))) for name in ("purelib", "platlib"))


def _place_of(file: BinaryIO, path: Path) -> Path | str:
    """Where the file lies that was opened, as the system knows it; where it does not tell, as the path says now."""
    entry = f"/proc/self/fd/{file.fileno()}"
    return os.readlink(entry) if os.path.islink(entry) else path


def _is_below(path: Path | str, allowed: tuple[Path, ...]) -> bool:
    if not allowed:
        return True
    try:
        real = Path(os.path.realpath(path))
    except (OSError, ValueError):  # a null byte, a name that is too long
        return False
    return any(real == root or root in real.parents for root in allowed)
