"""A job's log file: everything its process printed, all attempts in one file."""

import codecs
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_TAIL = 64 * 1024  # bytes read from the end
_HEAD = "----- attempt "  # begins the line that a new attempt writes first
_POLL = 0.3  # seconds between two reads while following


def log_path(run: Path, job_id: int) -> Path:
    """Where a job's log lies; it need not be there yet."""
    return run / "logs" / f"job-{job_id}.log"


def log_tail(run: Path, job_id: int, lines: int = 40) -> str:
    """The last lines that a job printed; empty if there are none."""
    return "\n".join(_read_end(log_path(run, job_id)).splitlines()[-lines:])


def attempt_tail(run: Path, job_id: int, lines: int = 40) -> str:
    """The last lines of the last attempt."""
    text = _read_end(log_path(run, job_id))
    return "\n".join(text.rpartition(_HEAD)[2].splitlines()[-lines:])


def heading(attempt: int, command: str) -> str:
    """First line of an attempt."""
    return f"{_HEAD}{attempt}, {time.strftime('%Y-%m-%d %H:%M:%S')}: {command}\n"


def follow_log(run: Path, job_id: int, is_over: Callable[[], bool]) -> Iterator[str]:
    """What the log holds, then what is added, until ``is_over``; then the rest."""
    path, position = log_path(run, job_id), 0
    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a look may end within a letter
    while True:
        over = is_over()  # asked first: what was printed before the end is then read below
        if path.is_file():
            with path.open("rb") as file:
                file.seek(position)
                added = file.read()
            position += len(added)
            if added:
                yield decoder.decode(added)
        if over:
            return
        time.sleep(_POLL)


def _read_end(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""
