"""The thread of a job's process that writes down its progress and looks for a request to stop."""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from maskdistill.errors import RunError
from maskdistill.jobs.endings import Ending, after_force
from maskdistill.jobs.processes import end_processes
from maskdistill.jobs.records import JobState
from maskdistill.jobs.row import OwnRow, Report
from maskdistill.jobs.watch import Watch
from maskdistill.storage.database import database_path

logger = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds between two heartbeats
GRACE = 20.0  # seconds between the request to stop and the end by force: a step and a large checkpoint fit in
_PATIENCE = 15.0  # seconds for a heartbeat that waits for the database


class Heartbeat(threading.Thread):
    """Sends a heartbeat now and then until it is stopped. If one fails, the work goes on all the same."""

    def __init__(self, run: Path, job_id: int, token: str, watch: Watch) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.run_path, self.job_id, self.token, self.watch = run, job_id, token, watch
        self.stop_requested: float | None = None  # when the work was asked to stop, on the monotonic clock
        self.superseded = False  # whether the row is another attempt's now, or gone
        self.settings: str | None = None  # JSON of RunConfig, to be written down once
        self._stopped = threading.Event()
        self._reported = time.monotonic()

    def run(self) -> None:
        """The thread's work."""
        self._reported = time.monotonic()
        with OwnRow(self.run_path, self.job_id, self.token) as row:
            while not self._stopped.wait(INTERVAL):
                self.send(row)

    def stop(self) -> None:
        """Send no more."""
        self._stopped.set()
        self.join(_PATIENCE)

    def send(self, row: OwnRow) -> None:
        """One heartbeat; stops the work if that was asked for meanwhile."""
        state: JobState | None = JobState.RUNNING
        try:
            state = self.report(row)
        except (RunError, OSError, ValueError, MemoryError) as error:
            logger.warning("The job's progress was not written down: %s", error)
            self.superseded = not database_path(self.run_path).is_file()  # somebody deleted the run
        self.superseded = self.superseded or state is None
        if (state is JobState.STOPPING or self.superseded) and self.stop_requested is None:
            self._interrupt()
        if self.stop_requested is not None and time.monotonic() - self.stop_requested > GRACE:
            self._end(row)

    def report(self, row: OwnRow, ending: Ending | None = None) -> JobState | None:
        """Write down progress and new events, and how the job ended if it has.

        Raises:
            RunError: If the database cannot be written; the events wait for the next time.
        """
        progress, now = self.watch.read(), time.monotonic()
        events, settings = tuple(self.watch.pending), self.settings
        report = Report(progress, now - self._reported, settings, events)
        if ending is None:
            state = row.report(report)
        else:
            state = ending.state if row.finish(ending, report) else None
        self._reported = now
        if self.settings == settings:  # and not others meanwhile
            self.settings = None
        del self.watch.pending[: len(events)]
        return state

    def _interrupt(self) -> None:
        """Ctrl-C in the main thread, which may be waiting inside a system call that only a signal of its own ends."""
        self.stop_requested = time.monotonic()
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        else:
            signal.raise_signal(signal.SIGINT)

    def _end(self, row: OwnRow) -> None:
        """End this process and all that it started."""
        ending = after_force(GRACE)
        with contextlib.suppress(RunError, OSError):  # whoever reads the row next sees that it was to stop, and is gone
            self.report(row, ending)
            sys.stderr.write(f"maskdistill: {ending.message}\n")
        end_processes(self.token, spare=os.getpid())
        os._exit(ending.code)


def start_guard() -> subprocess.Popen[bytes] | None:
    """A tiny process that ends this one's whole group as soon as this one is gone, for whatever reason.

    Processes of a pool wait for ever for a parent that was killed. The guard waits for the end of a pipe, which the
    system closes with its owner. None where there is no shell.
    """
    shell = shutil.which("sh")
    if shell is None or os.name == "nt" or os.getpgrp() != os.getpid():
        return None
    return subprocess.Popen(
        [shell, "-c", "trap '' INT TERM HUP; read _; kill -9 0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
