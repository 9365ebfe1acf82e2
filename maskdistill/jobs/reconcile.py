"""Rows of jobs compared with their processes: a job whose process is gone does not count as running."""

import time
from dataclasses import replace
from pathlib import Path

from maskdistill.errors import RunError
from maskdistill.jobs.endings import Ending, after_loss
from maskdistill.jobs.logs import attempt_tail
from maskdistill.jobs.processes import Life, end_processes, here
from maskdistill.jobs.records import ACTIVE, Job, JobState, in_states
from maskdistill.jobs.table import load_job, load_jobs, note_state
from maskdistill.storage.database import writing

SILENCE = 60.0  # seconds without a heartbeat after which a process that cannot be reached counts as dead


def list_jobs(run: Path) -> list[Job]:
    """Every job of a run, newest first; those whose process is gone have come to their end.

    Nothing is made on disk for a run without jobs. If the end of a job cannot be written down (a full disk), it is
    returned all the same.

    Raises:
        RunError: If the database cannot be read.
    """
    return [_reconcile(job) if job.state.is_active else job for job in load_jobs(run)]


def _reconcile(job: Job) -> Job:
    if not _is_gone(job):
        return job
    if job.process is None or job.process.is_local:
        end_processes(job.token)
    latest = load_job(job.run, job.id)  # it may have written its end between the two reads
    if latest.token != job.token or not latest.state.is_active:
        return latest
    ending = after_loss(latest, attempt_tail(job.run, job.id))
    try:
        return _record(latest, ending)
    except RunError:
        return replace(latest, state=ending.state, message=ending.message)


def _is_gone(job: Job) -> bool:
    life = job.process.life() if job.process else Life.UNKNOWN
    if life is Life.ALIVE:  # a process that neither stops nor ends itself hangs
        return job.state is JobState.STOPPING and _is_silent(job)
    return life is Life.DEAD or _is_silent(job)


def _is_silent(job: Job) -> bool:
    """Whether this machine has read the same heartbeat for so long that there will be no other.

    Only differences of this machine's own steady clock count: those of other machines, and dates, may be wrong.
    """
    observer, now = f"{here().host} {here().boot}", time.monotonic()
    try:
        with writing(job.run) as db:
            query = "SELECT beat, since FROM observations WHERE job = ? AND observer = ?"
            seen = db.execute(query, (job.id, observer)).fetchone()
            if seen is not None and seen["beat"] == job.beat and seen["since"] <= now:
                return now - seen["since"] > SILENCE
            db.execute("INSERT OR REPLACE INTO observations VALUES (?, ?, ?, ?)", (job.id, observer, job.beat, now))
    except RunError:
        pass
    return False


def _record(job: Job, ending: Ending) -> Job:
    with writing(job.run) as db:
        changed = db.execute(
            "UPDATE jobs SET state = ?, message = ?, ended = ?, seconds_left = NULL "
            f"WHERE id = ? AND token = ? AND beat = ? AND {in_states(ACTIVE)}",
            (ending.state, ending.message, time.time(), job.id, job.token, job.beat),
        ).rowcount
        if changed:
            note_state(db, job.id)
    return load_job(job.run, job.id)
