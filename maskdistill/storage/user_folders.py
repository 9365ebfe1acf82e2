"""Folders that belong to the user and not to a run, also where the user has no name, no home and few rights."""

import importlib.util
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from maskdistill.errors import RunError

_NAME = "maskdistill"


def cache_dir() -> Path:
    """Folder for what can be made again; made by whoever writes there.

    ``$MASKDISTILL_CACHE``, else ``maskdistill`` in the user's cache folder; where that cannot be written, a folder of
    this user alone among the temporary files.

    Raises:
        RunError: If that cannot be written either.
    """
    chosen = _chosen()
    if chosen is not None and is_writable(chosen):
        return chosen
    with suppress(OSError):
        (folder := _temporary()).mkdir(mode=0o700, exist_ok=True)
        if _is_private(folder) and is_writable(folder):
            return folder
    raise RunError("No folder for files that can be made again. Set MASKDISTILL_CACHE to a folder that can be written.")


def find_cached(name: str) -> Path | None:
    """A file of the cache, also of one that can only be read; None if there is none."""
    folders = [folder] if (folder := _chosen()) else []
    with suppress(RunError):
        folders.append(cache_dir())
    return next((folder / name for folder in folders if os.access(folder / name, os.R_OK)), None)


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or the folder itself if it is missing."""
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def redirect_caches(last_resort: Path | None) -> None:
    """Give libraries that keep files in the installation or in the home a folder that can be written.

    For this process and those that it starts; to be called before numba and huggingface_hub are imported.

    Args:
        last_resort: Takes them where the user has no folder that can be written; None leaves all as it is then.
    """
    try:
        folder = cache_dir()
    except RunError:
        if last_resort is None or not is_writable(last_resort):
            return
        folder = last_resort.absolute()
        os.environ["MASKDISTILL_CACHE"] = str(folder)
    for variable, path in _needed(folder).items():
        os.environ.setdefault(variable, str(path))


def _needed(cache: Path) -> Mapping[str, Path]:
    """Environment variables of libraries that would find no place of their own."""
    needed = {}
    if _home() is None:  # Streamlit does not start without one
        needed["HOME"] = cache
    hub = home / ".cache" / "huggingface" if (home := _home()) else None
    if hub is None or not (is_writable(hub) or hub.is_dir()):  # one that is there holds weights, and is only read
        needed["HF_HOME"] = cache / "huggingface"
    spec = importlib.util.find_spec("umap")  # numba keeps what it compiles beside the source
    if spec and spec.origin and not is_writable(Path(spec.origin).parent / "__pycache__"):
        needed["NUMBA_CACHE_DIR"] = cache / "numba"
    return needed


def _chosen() -> Path | None:
    """Where the user, or the system, wants it."""
    if chosen := os.environ.get("MASKDISTILL_CACHE"):
        return Path(chosen).absolute()
    if Path(base := os.environ.get("XDG_CACHE_HOME", "")).is_absolute():
        return Path(base) / _NAME
    return home / ".cache" / _NAME if (home := _home()) else None


def _home() -> Path | None:
    try:
        home = Path.home()
    except RuntimeError:  # neither $HOME nor an entry among the accounts
        return None
    return home if home.is_absolute() else None


def _temporary() -> Path:
    return Path(tempfile.gettempdir()) / f"{_NAME}-{os.getuid() if hasattr(os, 'getuid') else 'user'}"


def _is_private(folder: Path) -> bool:
    """Whether only this user can write there: what numba keeps is code, and everybody may make files beside it."""
    found = folder.lstat()
    return os.name == "nt" or (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.getuid()
        and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )
