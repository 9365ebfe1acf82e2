"""How far a long stage has come: for the terminal, for a log file, and for whoever reads the run folder."""

import json
import socket
import sys
import time
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self

import psutil
from tqdm import tqdm

from maskdistill.files import write_atomically

State = Literal["running", "done", "failed", "stopped", "lost"]
FILE_INTERVAL = 0.5  # seconds between two writes of the progress file
LOG_INTERVAL = 10.0  # seconds between two lines when standard error is not a terminal
HEARTBEAT_LIMIT = 60.0  # seconds of silence after which a process on another machine counts as lost


@dataclass(frozen=True)
class Progress:
    """One moment of a stage."""

    stage: str
    done: int  # units
    total: int  # units
    rate: float  # units per second, 0 while unknown
    seconds_left: float | None  # None while unknown
    state: State
    message: str = ""  # one sentence for people
    pid: int = 0
    pid_started: float = 0.0  # seconds since 1970, so that a reused pid is not taken for ours
    host: str = ""
    heartbeat: float = 0.0  # seconds since 1970, last sign of life
    unit: str = "photos"  # what is counted


class Reporter:
    """Counts what is finished: a bar on a terminal and in a notebook, lines in a log, and a fresh ``progress.json``."""

    def __init__(
        self, path: Path, stage: str, total: int, done: int = 0, *, unit: str = "photos", quiet: bool = False
    ) -> None:
        self._path, self._stage, self._total, self._done, self._unit = path, stage, total, done, unit
        self._last_file = self._last_line = time.monotonic()
        self._began: tuple[float, int] | None = None  # when the first photo was finished, and how many were by then
        self._quiet = quiet
        kind = None if quiet else _bar_kind()
        self._bar = kind(total=total, initial=done, desc=stage, unit=unit.removesuffix("s")) if kind else None
        self._write("running", "")

    def advance(self, count: int = 1) -> None:
        """Note ``count`` more that are finished."""
        self._done += count
        now = time.monotonic()
        if self._began is None:
            self._began = (now, self._done)
        if self._bar is not None:
            self._bar.update(count)
        elif not self._quiet and now - self._last_line >= LOG_INTERVAL:
            self._last_line = now
            sys.stderr.write(self._line() + "\n")
            sys.stderr.flush()
        if now - self._last_file >= FILE_INTERVAL:
            self._last_file = now
            self._write("running", "")

    def reach(self, done: int) -> None:
        """Note that ``done`` are finished by now, those of an earlier call among them."""
        self.advance(done - self._done)

    def finish(self, state: State, message: str) -> None:
        """Close the bar and leave the final state."""
        if self._bar is not None:
            self._bar.close()
        self._write(state, message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if kind is None:
            self.finish("done", "")
        elif issubclass(kind, KeyboardInterrupt):
            self.finish("stopped", "Stopped; start again to go on.")
        else:
            self.finish("failed", str(error))

    @property
    def rate(self) -> float:
        """Units per second since the first was finished, so that loading the model does not count; 0 before."""
        if self._began is None or self._done <= self._began[1]:
            return 0.0
        return (self._done - self._began[1]) / max(time.monotonic() - self._began[0], 1e-9)

    def _line(self) -> str:
        left = self._seconds_left()
        return (
            f"{self._stage}: {self._done}/{self._total} {self._unit}, {self.rate:.2f} {self._unit}/s"
            f"{'' if left is None else f', {format_duration(left)} left'}"
        )

    def _seconds_left(self) -> float | None:
        return (self._total - self._done) / self.rate if self.rate else None

    def _write(self, state: State, message: str) -> None:
        process = psutil.Process()
        progress = Progress(
            self._stage,
            self._done,
            self._total,
            self.rate,
            self._seconds_left(),
            state,
            message,
            process.pid,
            process.create_time(),
            socket.gethostname(),
            time.time(),
            self._unit,
        )
        write_atomically(self._path, json.dumps(asdict(progress)))


def _bar_kind() -> "type[tqdm[Any]] | None":
    """The bar that a terminal, or a notebook, can show; None for a log file."""
    if _in_notebook():
        if find_spec("ipywidgets") is None:
            return tqdm
        from tqdm.notebook import tqdm as notebook_bar

        return notebook_bar
    return tqdm if sys.stderr.isatty() else None


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook: it has IPython already, with a shell that has a kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


def read_progress_file(path: Path) -> Progress | None:
    """The last progress written there, ``lost`` if its process has gone; None if there is none or it is unreadable."""
    try:
        progress = Progress(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    if not _is_sound(progress):
        return None
    if progress.state == "running" and not is_alive(progress):
        message = "The process has ended without finishing. Start again: finished photos are kept."
        return replace(progress, state="lost", message=message)
    return progress


def _is_sound(progress: Progress) -> bool:
    """Whether the values are of their types; pandas, which ``read_files`` loads, would take long here."""
    texts = (progress.stage, progress.state, progress.message, progress.host, progress.unit)
    numbers = (progress.done, progress.total, progress.rate, progress.pid_started, progress.heartbeat)
    return (
        all(isinstance(text, str) for text in texts)
        and all(
            type(number) in (int, float) and abs(number) < 2**63 for number in (*numbers, progress.seconds_left or 0)
        )
        and type(progress.pid) is int
        and 0 <= progress.pid < 2**31
    )


def is_alive(progress: Progress) -> bool:
    """Whether the process that wrote it is still there; of one on another machine, whether it wrote lately."""
    if progress.host != socket.gethostname():
        return time.time() - progress.heartbeat < HEARTBEAT_LIMIT
    try:
        process = psutil.Process(progress.pid)
        started = abs(process.create_time() - progress.pid_started) < 2
        return started and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def format_duration(seconds: float) -> str:
    """Seconds for people: ``45 s``, ``3 min 20 s``, ``1 h 05 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
