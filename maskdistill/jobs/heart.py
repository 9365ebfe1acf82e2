"""The thread of a job's process that tells how far it is and listens for a request to stop."""

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

BEAT = 1.0  # seconds between two signs of life
GRACE = 20.0  # seconds between the request to stop and the end by force: a step and a large checkpoint fit in
_PATIENCE = 15.0  # seconds for a beat that waits for the database


class Heartbeat(threading.Thread):
    """Beats until told to rest. Whatever goes wrong with a beat is no matter of the work."""

    def __init__(self, run: Path, job_id: int, token: str, watch: Watch) -> None:
        super().__init__(name="heart", daemon=True)
        self.run_path, self.job_id, self.token, self.watch = run, job_id, token, watch
        self.asked: float | None = None  # when the work was asked to stop
        self.superseded = False  # whether the row is another attempt's now, or gone
        self.settings: str | None = None  # JSON of RunConfig, to be written down once
        self._resting = threading.Event()
        self._reported = time.monotonic()

    def run(self) -> None:
        """The thread's work."""
        self._reported = time.monotonic()
        with OwnRow(self.run_path, self.job_id, self.token) as row:
            while not self._resting.wait(BEAT):
                self.beat(row)

    def rest(self) -> None:
        """Beat no more."""
        self._resting.set()
        self.join(_PATIENCE)

    def beat(self, row: OwnRow) -> None:
        """One sign of life, and what it brings back."""
        state: JobState | None = JobState.RUNNING
        try:
            state = self.tell(row)
        except (RunError, OSError, ValueError, MemoryError) as error:
            logger.warning("The job's progress was not written down: %s", error)
            self.superseded = not database_path(self.run_path).is_file()  # somebody deleted the run
        self.superseded = self.superseded or state is None
        if (state is JobState.STOPPING or self.superseded) and self.asked is None:
            self._ask()
        if self.asked is not None and time.monotonic() - self.asked > GRACE:
            self._end(row)

    def tell(self, row: OwnRow, ending: Ending | None = None) -> JobState | None:
        """Write down progress and new events, with the last word if there is one.

        Raises:
            RunError: If the database cannot be written; the events wait for the next time.
        """
        progress, now = self.watch.look(), time.monotonic()
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

    def _ask(self) -> None:
        """Ctrl-C in the main thread, which may be waiting inside a system call that only a signal of its own ends."""
        self.asked = time.monotonic()
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        else:
            signal.raise_signal(signal.SIGINT)

    def _end(self, row: OwnRow) -> None:
        """End this process and all that it started."""
        ending = after_force(GRACE)
        with contextlib.suppress(RunError, OSError):  # whoever looks next sees that it was asked to stop, and is gone
            self.tell(row, ending)
            sys.stderr.write(f"maskdistill: {ending.message}\n")
        end_processes(self.token, spare=os.getpid())
        os._exit(ending.code)


def start_guard() -> subprocess.Popen | None:
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
