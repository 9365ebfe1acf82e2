"""Rows of jobs and of their events."""

import json
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskdistill.errors import JobError
from maskdistill.jobs.records import ACTIVE, Job, JobEvent, in_states
from maskdistill.storage.database import reading


def load_jobs(run: Path) -> list[Job]:
    """Every job of a run as its row says, newest first; none if there is no database."""
    with reading(run) as db:
        rows = db.execute("SELECT * FROM jobs ORDER BY id DESC").fetchall() if db else []
    return [Job.from_row(run, row) for row in rows]


def load_job(run: Path, job_id: int) -> Job:
    """One job as its row says.

    Raises:
        JobError: If there is none of that number; the message names those there are.
    """
    jobs = load_jobs(run)
    for job in jobs:
        if job.id == job_id:
            return job
    known = ", ".join(str(job.id) for job in reversed(jobs[:20]))
    there = f"There are: {known}." if jobs else "None was started there yet."
    raise JobError(f"No job {job_id} in {run}. {there}")


def find_active(db: sqlite3.Connection, arguments: str) -> int | None:
    """Number of the job that is under way with these arguments (JSON)."""
    row = db.execute(f"SELECT id FROM jobs WHERE arguments = ? AND {in_states(ACTIVE)}", (arguments,)).fetchone()
    return None if row is None else row["id"]


def next_turn(db: sqlite3.Connection) -> int:
    """The last place of the queue."""
    return db.execute("SELECT coalesce(max(turn), 0) + 1 FROM jobs").fetchone()[0]


def note_event(
    db: sqlite3.Connection, job_id: int, kind: str, value: Mapping[str, Any], key: str | None = None
) -> None:
    """Add an event. One with a key takes the place of its forerunner, unless that says the same already."""
    text = json.dumps(value)
    same = "SELECT 1 FROM events WHERE job = ? AND kind = ? AND key = ? AND value = ?"
    if key is not None and db.execute(same, (job_id, kind, key, text)).fetchone():
        return
    db.execute(
        "INSERT OR REPLACE INTO events (job, time, kind, key, value) VALUES (?, ?, ?, ?, ?)",
        (job_id, time.time(), kind, key, text),
    )


def note_state(db: sqlite3.Connection, job_id: int) -> None:
    """An event that says what the row says now."""
    row = db.execute("SELECT state, message, attempts FROM jobs WHERE id = ?", (job_id,)).fetchone()
    value = {"state": row["state"], "message": row["message"], "attempt": row["attempts"]}
    note_event(db, job_id, "state", value)


def read_events(run: Path, job_id: int, after: int = 0) -> list[JobEvent]:
    """What happened in a job, in order.

    Args:
        run: Run folder.
        job_id: Number of the job.
        after: Only events with a greater number than this.
    """
    query = "SELECT id, time, kind, value FROM events WHERE job = ? AND id > ? ORDER BY id"
    with reading(run) as db:
        rows = db.execute(query, (job_id, after)).fetchall() if db else []
    return [JobEvent(row["id"], row["time"], row["kind"], json.loads(row["value"])) for row in rows]
