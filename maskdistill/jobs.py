"""Run a stage in a process of its own, from the app: the same command a person would type."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from maskdistill.errors import JobError
from maskdistill.progress import Progress, read_progress_file
from maskdistill.store import Run

STARTING = 60.0  # seconds a started process may take before its first progress
NICENESS = 5  # of a stage started from the app
GRACE = 10.0  # seconds between asking a process to stop and ending it


def start_stage(
    run: Path,
    data: str,
    *,
    until: str = "proposals",
    overrides: Sequence[str] = (),
    preset: str | None = None,
    limit: int | None = None,
) -> int:
    """Start ``maskdistill run`` in the background; it outlives the browser tab and the server.

    Args:
        run: Run folder.
        data: Source of photos.
        until: Last stage.
        overrides: ``section.name=value`` settings.
        preset: Settings to start from; None keeps the run's own, or takes the default.
        limit: At most so many photos.

    Returns:
        The process id.

    Raises:
        JobError: If a stage of this run is already at work, or the process cannot be started.
    """
    current = read_progress(run)
    if current is not None and current.state == "running":
        raise JobError(f"The stage {current.stage} of {run} is running already. Wait for it, or stop it.")
    command = [sys.executable, "-m", "maskdistill", "run", "--data", data, "--run", str(run), "--until", until]
    command += ["--preset", preset] if preset else []
    command += ["--limit", str(limit)] if limit else []
    command += [part for override in overrides for part in ("--set", override)]
    logs = Run(run).logs_path
    try:
        logs.mkdir(parents=True, exist_ok=True)
        Run(run).progress_path.unlink(missing_ok=True)
        with (logs / f"{until}.log").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
    except OSError as error:
        raise JobError(f"Cannot start the stage in {run}: {error.strerror or error}.") from error
    with contextlib.suppress(psutil.Error):  # pages go first while both want the cores; workers inherit it
        psutil.Process(process.pid).nice(NICENESS if psutil.POSIX else psutil.BELOW_NORMAL_PRIORITY_CLASS)
    (logs / f"{until}.pid").write_text(f"{process.pid} {time.time()}", encoding="utf-8")
    return process.pid


def read_progress(run: Path, until: str = "proposals") -> Progress | None:
    """How far the run's stage has come, also in the seconds before its first photo; None if none was started."""
    progress = read_progress_file(Run(run).progress_path)
    if progress is not None:
        return progress
    pid, started = _read_pid(run, until)
    if not pid:
        return None
    base = Progress(until, 0, 0, 0.0, None, "running", "Starting: loading the model.", pid)
    if _running(pid) and time.time() - started < STARTING:
        return base
    return replace(base, state="failed", message=last_log_line(run, until) or "The process ended at once.")


def stop_stage(run: Path, until: str = "proposals") -> None:
    """Ask the stage to stop, wait, and end it and its workers if it does not; finished photos are kept.

    Raises:
        JobError: If the stage runs on another machine.
    """
    progress = read_progress(run, until)
    if progress is None or progress.state != "running" or not _running(progress.pid):
        return
    if progress.host not in ("", socket.gethostname()):
        raise JobError(f"The stage {progress.stage} of {run} runs on {progress.host}: stop it there.")
    process = psutil.Process(progress.pid)
    family = [process, *process.children(recursive=True)]
    process.send_signal(signal.SIGINT)
    try:
        process.wait(GRACE)
    except psutil.TimeoutExpired:
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()


def last_log_line(run: Path, until: str = "proposals") -> str:
    """Last line the stage printed, for people; empty if there is none."""
    path = Run(run).logs_path / f"{until}.log"
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""


def _read_pid(run: Path, until: str) -> tuple[int, float]:
    path = Run(run).logs_path / f"{until}.pid"
    try:
        pid, started = path.read_text(encoding="utf-8").split()
        return int(pid), float(started)
    except (OSError, ValueError):
        return 0, 0.0


def _running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
