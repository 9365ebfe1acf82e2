"""Asking for a job: its row is written first, in one transaction, then its process is started."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskdistill.errors import JobError, RunError
from maskdistill.jobs.logs import heading, log_path
from maskdistill.jobs.processes import MARK, ProcessId, end_processes
from maskdistill.jobs.reconcile import list_jobs
from maskdistill.jobs.records import RESUMABLE, Job, JobState, Submitted, in_states
from maskdistill.jobs.table import find_active, load_job, next_turn, note_state
from maskdistill.machine import device_of
from maskdistill.storage.database import writing

_WORKER = "maskdistill.cli.job_worker"  # the command line in a process of its own; this package knows only its name
# One core is left to the pages. Processes of a pool set their own number.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def submit(run: Path, arguments: Sequence[str], *, title: str, device: str, settings: Mapping[str, Any]) -> Submitted:
    """Have a command of the command line done in the background; it outlives the browser tab and the server.

    Args:
        run: Run folder; made if missing.
        arguments: What a person would type after ``maskdistill``, without ``--run``.
        title: What it does, for people.
        device: ``features.device``, as it is set.
        settings: RunConfig as plain values, to be shown beside the job.

    Returns:
        The job. ``is_new`` is False if the same command was under way in this run already.

    Raises:
        JobError: If its process cannot be started.
        RunError: If the run's database cannot be written.
    """
    run = run.absolute()
    list_jobs(run)  # one that died with the same arguments must not be taken for this one
    text = json.dumps(list(arguments))
    with writing(run) as db:
        known = find_active(db, text)
        if known is None:
            job_id = db.execute(
                "INSERT INTO jobs (title, arguments, folder, device, settings, state, turn, token, created) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    title,
                    text,
                    _working_folder(),
                    device_of(device),
                    json.dumps(settings),
                    JobState.QUEUED,
                    next_turn(db),
                    secrets.token_hex(16),
                    time.time(),
                ),
            ).lastrowid
            if job_id is None:  # sqlite3 tells of every INSERT
                raise JobError("The job has no number.")
            note_state(db, job_id)
        else:
            job_id = known
    job = load_job(run, job_id)
    return Submitted(job, False) if known is not None else Submitted(_launch(job), True)


def resume_job(run: Path, job_id: int) -> Submitted:
    """Put a job that was stopped, failed or was lost into the queue again; it goes on from its last checkpoint.

    Returns:
        The job. ``is_new`` is False if it, or another one with the same command, was under way already.

    Raises:
        JobError: If there is no such job, if it is done, or if its process cannot be started.
        RunError: If the run's database cannot be written.
    """
    run = run.absolute()
    list_jobs(run)
    job = load_job(run, job_id)
    with writing(run) as db:
        known = find_active(db, json.dumps(list(job.arguments)))
        changed = 0
        if known is None:
            changed = db.execute(
                "UPDATE jobs SET state = ?, message = '', turn = ?, token = ?, attempts = attempts + 1, "
                f"process = NULL, ended = NULL, rate = 0, seconds_left = NULL WHERE id = ? AND {in_states(RESUMABLE)}",
                (JobState.QUEUED, next_turn(db), secrets.token_hex(16), job_id),
            ).rowcount
        if changed:
            note_state(db, job_id)
    if known is not None:
        return Submitted(load_job(run, known), False)
    if not changed:
        raise JobError(f"Job {job_id} of {run} is {job.state}: there is nothing to resume. Start a new one.")
    end_processes(job.token)  # of the attempt before, if it left any
    return Submitted(_launch(load_job(run, job_id)), True)


def _working_folder() -> str:
    """Where the command's relative paths begin; empty if that folder was deleted."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _launch(job: Job) -> Job:
    """Start the job's process in a session of its own and note which it is."""
    try:
        process = _start(job)
    except OSError as error:
        message = f"Its process cannot be started: {error.strerror or error} ({error.filename})."
        with writing(job.run) as db:
            db.execute(
                "UPDATE jobs SET state = ?, message = ?, ended = ? WHERE id = ? AND token = ?",
                (JobState.FAILED, message, time.time(), job.id, job.token),
            )
            note_state(db, job.id)
        raise JobError(f"Job {job.id} of {job.run} failed. {message}") from error
    threading.Thread(target=process.wait, daemon=True).start()  # else it ends as a zombie of this process
    known = ProcessId.of(process.pid)
    if known is not None:
        with contextlib.suppress(RunError), writing(job.run) as db:  # else it notes that itself
            note = "UPDATE jobs SET process = ? WHERE id = ? AND token = ? AND process IS NULL"
            db.execute(note, (known.to_json(), job.id, job.token))
    return load_job(job.run, job.id)


def _start(job: Job) -> subprocess.Popen[bytes]:
    from maskdistill.machine import usable_cores

    path = log_path(job.run, job.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    environment = {name: str(max(1, usable_cores() - 1)) for name in _THREADS}
    environment |= {"PYTHONUNBUFFERED": "1", **os.environ, MARK: job.token}
    with path.open("a", encoding="utf-8") as log:
        log.write(heading(job.attempts, job.command))
        log.flush()
        return subprocess.Popen(
            [sys.executable, "-m", _WORKER, str(job.run), str(job.id)],
            cwd=job.folder if job.folder and Path(job.folder).is_dir() else job.run,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
