"""The folder of an export, with a marker that distinguishes its files from others."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from maskdistill import __version__
from maskdistill.errors import ConfigError
from maskdistill.exports.records import ExportFormat
from maskdistill.files import check_place, require_writable, write_atomically

MARKER = ".maskdistill-export"  # JSON; which files an export has written, so that the next one may replace them
LOCK = f"{MARKER}.lock"  # held while an export writes
PATIENCE = 30.0  # seconds to wait for another export


@contextmanager
def exporting(out: Path, format: ExportFormat, files: Sequence[str]) -> Iterator[None]:
    """Write an export inside of this: what the last one wrote there goes, what anybody else put there stays.

    Two exports into one folder come one after the other.

    Args:
        out: New, empty, or the folder of an earlier export.
        format: For the record.
        files: All that may be written, relative to ``out``, with ``/``.

    Raises:
        ConfigError: If ``out`` is a file, holds files that no export wrote, or another export does not come to its end.
    """
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(out / LOCK).acquire(timeout=PATIENCE)
    except Timeout as error:
        raise ConfigError(f"Another export writes into {out}. Wait for it, or give another folder.") from error
    with held:
        _make_ready(out, format, files)
        yield
        _write_marker(out, format, files, complete=True)


def check_folder(out: Path) -> bool:
    """Whether an export has written the folder.

    Raises:
        ConfigError: If it is a file, or holds files that no export wrote.
        OSError: If it cannot be written.
    """
    check_place(out, "folder")
    require_writable(out)
    # Listed before the marker is looked for: another export, which writes it first, may begin at this moment.
    names = sorted(path.name for path in out.iterdir() if MARKER not in path.name) if out.is_dir() else []
    marked = (out / MARKER).is_file()
    if names and not marked:
        raise ConfigError(
            f"{out} is not empty and no export has written it: it holds {names[0]}. Give a new or an empty folder."
        )
    return marked


def _make_ready(out: Path, format: ExportFormat, files: Sequence[str]) -> None:
    old = _written_files(out) if check_folder(out) else []
    strange = next((name for name in files if name not in set(old) and os.path.lexists(out / name)), None)
    if strange is not None:
        raise ConfigError(f"The export would replace {out / strange}, which no export has written. Move it away.")
    _write_marker(out, format, [*old, *files], complete=False)  # if killed from here on, the next one may clean up
    _remove_files(out, old)
    _write_marker(out, format, files, complete=False)


def _write_marker(out: Path, format: ExportFormat, files: Sequence[str], *, complete: bool) -> None:
    about = {"written_by": f"maskdistill {__version__}", "format": format, "complete": complete, "files": list(files)}
    write_atomically(out / MARKER, json.dumps(about, indent=0))


def _written_files(out: Path) -> list[str]:
    try:
        files = json.loads((out / MARKER).read_text(encoding="utf-8"))["files"]
        paths = [PurePosixPath(name) for name in files]
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f"{out / MARKER} is damaged ({error}). Give another folder, or move this one away."
        ) from error
    if any(path.is_absolute() or ".." in path.parts for path in paths):
        raise ConfigError(f"{out / MARKER} names files outside of {out}. Give another folder.")
    return files


def _remove_files(out: Path, files: Sequence[str]) -> None:
    for name in files:
        (out / name).unlink(missing_ok=True)
    folders = {folder for name in files for folder in PurePosixPath(name).parents if folder.parts}
    for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
        if (out / folder).is_dir() and not any((out / folder).iterdir()):
            (out / folder).rmdir()
