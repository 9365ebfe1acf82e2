"""Looking at one job, stopping it, waiting for it."""

import os
import signal
import time
from pathlib import Path

from maskdistill.errors import JobError, RunError
from maskdistill.jobs.processes import Life
from maskdistill.jobs.reconcile import list_jobs
from maskdistill.jobs.records import AT_WORK, Job, JobState
from maskdistill.jobs.table import load_job, note_state
from maskdistill.storage.database import writing
from maskdistill.storage.progress import Progress, is_alive, read_progress_file
from maskdistill.storage.run_lock import is_run_held

_POLL = 0.2  # seconds between two reads while waiting
TYPED = 0  # number of a command that was typed in a terminal


def get_job(run: Path, job_id: int) -> Job:
    """One job, its end included if its process is gone.

    Raises:
        JobError: If there is none of that number.
        RunError: If the database cannot be read.
    """
    for job in list_jobs(run):
        if job.id == job_id:
            return job
    return load_job(run, job_id)  # says which there are


def current_job(run: Path) -> Job | None:
    """What to show of a run in one place.

    Returns:
        The job at work; else the command at work that was typed in a terminal, as a job with number 0; else the next
        job in the queue; else the job that came last. None if nothing was ever started in the background.

    Raises:
        RunError: If the database cannot be read.
    """
    jobs = list_jobs(run)
    working = [job for job in jobs if job.state in AT_WORK]
    if working:
        return working[0]
    typed = typed_command(run)
    if typed is not None:
        return typed
    waiting = [job for job in jobs if job.state.is_active]
    return min(waiting, key=lambda job: job.turn) if waiting else next(iter(jobs), None)


def typed_command(run: Path) -> Job | None:
    """The command at work on a run that is no job; None if there is none.

    Between two stages, and before the first, its progress says "done", or what became of an earlier command. Then the
    run's lock decides.
    """
    progress = read_progress_file(run / "progress.json")
    if progress is None or progress.state != "running":
        if not is_run_held(run):
            return None
        progress = progress if progress is not None and is_alive(progress) else Progress("", 0, 0, 0.0, None, "running")
    where = f" ({progress.host}, process {progress.pid})" if progress.pid else ""
    return Job(
        run=run,
        id=TYPED,
        title="A command typed in a terminal",
        arguments=(),
        state=JobState.RUNNING,
        message=f"It was typed in a terminal{where}: stop it there with Ctrl-C.",
        stage=progress.stage,
        done=progress.done,
        total=progress.total,
        unit=progress.unit,
        rate=progress.rate,
        seconds_left=progress.seconds_left,
    )


def stop_job(run: Path, job_id: int) -> Job:
    """Ask a job to stop, and return at once. What is finished is kept.

    A job that waits is stopped by that. One at work ends its step and writes a checkpoint; what has not ended within
    ``heartbeat.GRACE`` seconds is ended by force, with everything it started.

    Returns:
        The job as it is now: ``stopped``, ``stopping``, or the end it came to before.

    Raises:
        JobError: If there is none of that number.
        RunError: If the database cannot be used.
    """
    job = get_job(run, job_id)
    try:
        with writing(run) as db:
            change = "UPDATE jobs SET state = ?, message = ? WHERE id = ? AND state = ?"
            changed = db.execute(
                change, (JobState.STOPPED, "Stopped before it began.", job_id, JobState.QUEUED)
            ).rowcount
            if changed:
                db.execute("UPDATE jobs SET ended = ? WHERE id = ?", (time.time(), job_id))
                note_state(db, job_id)
            db.execute(change, (JobState.STOPPING, "Asked to stop.", job_id, JobState.RUNNING))
    except RunError:
        if not _interrupt(job):  # a full disk is a reason to stop, and no obstacle
            raise
    return get_job(run, job_id)


def wait_until_ended(job: Job, timeout: float | None = None) -> Job:
    """The job once it has ended.

    Args:
        job: Any job.
        timeout: Seconds; None waits as long as it takes.

    Raises:
        JobError: If it is still under way then.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        job = get_job(job.run, job.id)
        if not job.state.is_active:
            return job
        if deadline is not None and time.monotonic() > deadline:
            raise JobError(f"Job {job.id} of {job.run} is still {job.state} after {timeout:.0f} s.")
        time.sleep(_POLL)


def _interrupt(job: Job) -> bool:
    """Send the job's process the signal that a scheduler would; False if it cannot be reached from here."""
    if job.process is None or job.process.life() is not Life.ALIVE:
        return False
    os.kill(job.process.pid, signal.SIGTERM)
    return True
