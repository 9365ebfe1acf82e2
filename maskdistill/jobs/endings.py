"""How a job ended, in a state and a sentence that a person can act on."""

import re
from dataclasses import dataclass
from pathlib import Path

from maskdistill.errors import MaskDistillError, OutOfMemoryError
from maskdistill.files import describe_file_error, describe_full_disk, is_disk_full, says_full
from maskdistill.jobs.processes import count_oom_kills
from maskdistill.jobs.records import Job, JobState
from maskdistill.machine import is_out_of_memory, says_no_memory

KEPT = "What is finished is kept: resume to go on from the last checkpoint."
LENGTH = 600  # characters of a sentence
_LESS_MEMORY = (
    "Lower stage1.batch_size and stage2.batch_size, set features.shorter_side lower, or pass --workers 1, then resume."
)


@dataclass(frozen=True)
class Ending:
    """How an attempt ended."""

    state: JobState
    message: str
    code: int = 0  # what the process returns


def after_success(text: str) -> Ending:
    """``text`` is what the command says on standard output."""
    return Ending(JobState.DONE, _shorten(text))


def after_stop(asked: bool) -> Ending:
    """Ctrl-C, SIGTERM, or the button."""
    return Ending(JobState.STOPPED, f"Stopped{'' if asked else ' from outside, by a signal'}. {KEPT}", 130)


def after_force(seconds: float) -> Ending:
    """Asked to stop, it did not within so many seconds."""
    return Ending(JobState.STOPPED, f"Ended by force, since it did not stop within {seconds:.0f} s. {KEPT}", 137)


def after_error(error: BaseException, run: Path) -> Ending:
    """An error that ended the command.

    Args:
        error: What was raised.
        run: Run folder.
    """
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    if is_disk_full(error) and not isinstance(error, OSError):
        return Ending(JobState.FAILED, describe_full_disk(run), 1)
    if isinstance(error, MaskDistillError):
        return Ending(JobState.FAILED, _shorten(str(error)), 1 if isinstance(error, OutOfMemoryError) else 2)
    if is_out_of_memory(error):
        return Ending(JobState.FAILED, _shorten(f"There was not enough memory ({first}). {KEPT} {_LESS_MEMORY}"), 1)
    if isinstance(error, OSError):
        kept = "" if is_disk_full(error) else f" {KEPT}"  # which that sentence says itself
        return Ending(JobState.FAILED, _shorten(f"{describe_file_error(error, run)}{kept}"), 1)
    if isinstance(error, SystemExit):
        return Ending(JobState.FAILED, "The command line is not valid: the log says why.", 2)
    fault = f"{type(error).__name__}: {first}. This is a fault of the program; the log says where."
    return Ending(JobState.FAILED, _shorten(f"{fault} {KEPT}"), 1)


def after_loss(job: Job, log: str) -> Ending:
    """A process that ended without writing down why.

    Args:
        job: As its row says.
        log: What its last attempt printed, or the end of that.
    """
    if job.state is JobState.STOPPING:
        return Ending(JobState.STOPPED, f"Stopped. {KEPT}")
    if says_full(log):
        return Ending(JobState.FAILED, describe_full_disk(job.run))
    if says_no_memory(log):
        return Ending(JobState.FAILED, f"There was not enough memory. {KEPT} {_LESS_MEMORY}")
    return Ending(JobState.LOST, f"{_why_lost(job, log)} {KEPT}")


def _why_lost(job: Job, log: str) -> str:
    process = job.process
    if process is None:
        return "Its process was never started: what should have done so was ended first."
    if process.was_rebooted:
        return f"{process.place.host} was switched off or restarted meanwhile."
    if not process.is_local:
        return f"Its process {process.pid} on {process.place.host} sends no heartbeat any more."
    if job.oom_kills is not None and (count_oom_kills() or 0) > job.oom_kills:
        return f"The system ended it for lack of memory. {_LESS_MEMORY}"
    if crash := re.search(r"Fatal Python error: .*", log):
        return f"Its process crashed: {crash[0]}."
    return f"Its process {process.pid} was ended from outside, or crashed."


def _shorten(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= LENGTH else flat[: LENGTH - 1] + "…"
