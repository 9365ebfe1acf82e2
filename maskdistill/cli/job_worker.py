"""``python -m maskdistill.cli.job_worker RUN JOB``: the process of one attempt of one job.

It waits for its turn with little in memory, then calls the command line in this very process: what a job does is what a
person could have typed. Its row in ``run.sqlite`` says how far it is and, at the end, what became of it.
"""

import contextlib
import faulthandler
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import psutil

from maskdistill.cli.job_command import Command, read_command
from maskdistill.cli.main import call
from maskdistill.cli.streams import settle_streams
from maskdistill.errors import MaskDistillError, RunError
from maskdistill.files import is_disk_full
from maskdistill.jobs.control import typed_command
from maskdistill.jobs.endings import Ending, after_error, after_stop, after_success
from maskdistill.jobs.heartbeat import Heartbeat, start_guard
from maskdistill.jobs.processes import MARK, end_processes
from maskdistill.jobs.reconcile import list_jobs
from maskdistill.jobs.records import Job
from maskdistill.jobs.row import OwnRow
from maskdistill.jobs.slots import take_slot
from maskdistill.jobs.table import load_job
from maskdistill.jobs.watch import Watch
from maskdistill.storage.database import database_path
from maskdistill.storage.user_folders import redirect_caches

NICENESS = 5  # pages go first while both want the cores; processes of a pool inherit it
LOOK = 1.0  # seconds between two looks at the queue
_RESERVE = 128 * 1024  # bytes, given back when the last word finds the disk full
_TRIES = 5  # to write the last word
_PAUSE = 2.0  # seconds between them
_STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    run, number = sys.argv[1:] if arguments is None else arguments
    token = os.environ.get(MARK)
    if not token:
        sys.stderr.write("maskdistill: this is started by the app and by: maskdistill jobs resume\n")
        return 2
    settle_streams()
    job = load_job(Path(run), int(number))
    _settle_process()
    redirect_caches(job.run / "cache")
    with OwnRow(job.run, job.id, token) as row:
        if job.token != token or not row.register():
            return 0
        attempt = Attempt(job, row, token)
        try:
            with attempt:
                attempt.work()
        except KeyboardInterrupt:  # a signal in the moment between the end of the work and its being written down
            attempt.conclude()
    return attempt.code


class Attempt:
    """One try at a job's work; whatever ends it is written down on leaving the context."""

    def __init__(self, job: Job, row: OwnRow, token: str) -> None:
        self._job, self._row, self._token = job, row, token
        self._watch = Watch(job.run)
        self._heartbeat = Heartbeat(job.run, job.id, token, self._watch)
        self._reserve = job.run / "logs" / f".job-{job.id}.reserve"
        self._ending: Ending | None = None
        self._guard: subprocess.Popen[bytes] | None = None  # ends this process's group when the pipe to it is closed
        self.code = 0

    def work(self) -> None:
        """Wait for the turn, then do what the command line says."""
        slot = wait_for_turn(self._job, self._row)
        if slot is None:
            return
        with slot:
            self._reserve.write_bytes(os.urandom(_RESERVE))
            (self._job.run / "progress.json").unlink(missing_ok=True)  # of an older stage
            self._guard = start_guard()
            self._heartbeat.start()
            command = read_command(self._job.run, self._job.arguments)
            self._heartbeat.settings = json.dumps(command.settings)
            text = self._call(command)
            self._heartbeat.settings = _settled(self._job.run)
            self._ending = after_success(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        _note_signals_only()
        if error is None and self._ending is None:  # it was stopped while it waited; its row says so
            return True
        if error is not None:
            self._ending = self._explain(error)
            if not isinstance(error, MaskDistillError | OSError | KeyboardInterrupt):
                _say("".join(traceback.format_exception(error)).rstrip())
        self.conclude()
        return True

    def conclude(self) -> None:
        """Write down how it ended, and leave nothing behind."""
        _note_signals_only()
        ending = self._ending or after_stop(self._heartbeat.stop_requested is not None)
        self.code = ending.code
        if ending.code:
            _say(f"maskdistill: {ending.message}")
        if self._heartbeat.is_alive():
            self._heartbeat.stop()
        if not self._heartbeat.superseded:
            self._tell(ending)
        with contextlib.suppress(OSError):
            self._reserve.unlink(missing_ok=True)
        end_processes(self._token, spare=os.getpid())

    def _explain(self, error: BaseException) -> Ending:
        asked = self._heartbeat.stop_requested is not None
        if isinstance(error, KeyboardInterrupt) or asked:  # in the middle of an import it may look like another error
            return after_stop(asked)
        return after_error(error, self._job.run)

    def _call(self, command: Command) -> str:
        command.options.on_stage = self._watch.stage_done
        text = call(command.options)
        sys.stdout.write(f"{text}\n")
        return text

    def _tell(self, ending: Ending) -> None:
        for attempt in range(_TRIES):
            try:
                self._heartbeat.report(self._row, ending)
                return
            except RunError as error:  # full, or held by another program; whoever looks next reads the log
                if is_disk_full(error) or attempt:
                    self._reserve.unlink(missing_ok=True)
                _say(f"maskdistill: {error}")
                time.sleep(_PAUSE if attempt else 0.0)


def wait_for_turn(job: Job, row: OwnRow) -> ExitStack | None:
    """Wait until the job is the run's next and its device is free.

    Returns:
        The device, to be let go of by closing it; None if the job was stopped meanwhile.
    """
    problem = ""
    while database_path(job.run).is_file():  # somebody may delete the run
        try:
            reason = _reason_to_wait(job, row)
            slot = None if reason else take_slot(job.device)
            if slot is not None:
                with slot:
                    return slot.pop_all() if row.begin() else None
            if not row.wait(reason or f"Waits for {job.device}: a job of another run works there."):
                return None
        except RunError as error:  # full, or held by another program: a reason to wait on
            if str(error) != problem:
                problem = str(error)
                _say(f"maskdistill: {problem}")
        time.sleep(LOOK)
    return None


def _reason_to_wait(job: Job, row: OwnRow) -> str:
    list_jobs(job.run)  # a dead job must not hold up the queue
    earlier = row.find_earlier()
    if earlier is not None:
        return f"Waits for job {earlier}."
    typed = typed_command(job.run)
    stage = f" ({typed.stage})" if typed and typed.stage else ""
    return f"Waits for a command that was typed in a terminal{stage}." if typed else ""


def _say(text: str) -> None:
    """Into the log, if that can still be written."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{text}\n")


def _settled(run: Path) -> str | None:
    """The settings that the command left in the run, every choice of "auto" made."""
    from maskdistill.storage.run_folder import Run

    return json.dumps(Run(run).info()["config"]) if Run(run).exists else None


def _settle_process() -> None:
    """Signals stop as Ctrl-C does, even if whoever started this ignores them; crashes are told in the log."""
    for number in _STOPS:
        signal.signal(number, _interrupt)
    faulthandler.enable()
    if psutil.POSIX:
        os.nice(NICENESS)
    else:
        psutil.Process().nice(getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS"))  # noqa: B009  # there on Windows alone
    with contextlib.suppress(OSError):  # a session is scheduled as one, by a niceness of its own
        Path("/proc/self/autogroup").write_text(str(NICENESS), encoding="ascii")


def _note_signals_only() -> None:
    """From here on the end is being written down, which nothing may interrupt."""
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":  # processes of a pool import this module again and must not start over
    sys.exit(main())
