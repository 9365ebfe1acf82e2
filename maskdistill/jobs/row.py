"""A job's row in the hands of the process that does the work."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from maskdistill.errors import RunError
from maskdistill.jobs.endings import Ending
from maskdistill.jobs.processes import ProcessId, count_oom_kills
from maskdistill.jobs.records import AT_WORK, JobState, in_states
from maskdistill.jobs.table import note_event, note_state
from maskdistill.storage.database import connect, database_path, transaction
from maskdistill.storage.progress import Progress


@dataclass(frozen=True)
class NewEvent:
    """Something to be written down."""

    kind: str
    value: Mapping[str, Any]
    key: str | None = None  # what must not come twice in a job


@dataclass(frozen=True)
class Report:
    """How far a job is, and what is new of it."""

    progress: Progress | None = None
    seconds: float = 0.0  # at work in this attempt, since the last report that arrived
    settings: str | None = None  # JSON of RunConfig, if it became known
    events: Sequence[NewEvent] = field(default_factory=tuple)


class OwnRow:
    """The row of the job that this process works on. Once the row belongs to another attempt nothing is written.

    An object belongs to one thread.
    """

    def __init__(self, run: Path, job_id: int, token: str) -> None:
        self.run, self.job_id, self.token = run, job_id, token
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def register(self) -> bool:
        """Note this process as the job's. False if another one is that, or if the job no longer waits."""
        process = ProcessId.of(os.getpid())
        if process is None:  # the system does not tell, so nobody could stop it
            return False
        me = process.to_json()
        with self._transaction() as db:
            return self._change(
                db, "process = ?", f"{in_states((JobState.QUEUED,))} AND (process IS NULL OR process = ?)", me, me
            )

    def wait(self, message: str) -> bool:
        """A heartbeat while waiting, and why it waits; False if the job no longer waits."""
        with self._transaction() as db:
            return self._change(db, "beat = beat + 1, message = ?", in_states((JobState.QUEUED,)), message)

    def find_earlier(self) -> int | None:
        """Number of the job that comes before this one; None if it is this one's turn."""
        with self._transaction() as db:
            row = db.execute(
                f"SELECT id FROM jobs WHERE id != ? AND ({in_states(AT_WORK)} OR (state = 'queued' AND turn < "
                "(SELECT turn FROM jobs WHERE id = ?))) ORDER BY turn LIMIT 1",
                (self.job_id, self.job_id),
            ).fetchone()
        return None if row is None else row["id"]

    def begin(self) -> bool:
        """From waiting to working; False if it was stopped meanwhile."""
        with self._transaction() as db:
            begun = self._change(
                db,
                "state = ?, message = '', started = ?, oom_kills = ?, stage = '', done = 0, total = 0, unit = '', "
                "beat = beat + 1",
                in_states((JobState.QUEUED,)),
                JobState.RUNNING,
                time.time(),
                count_oom_kills(),
            )
            if begun:
                note_state(db, self.job_id)
        return begun

    def report(self, report: Report) -> JobState | None:
        """A heartbeat while at work; returns the state, None if the row is no longer this attempt's."""
        with self._transaction() as db:
            self._write(db, report)
            row = db.execute("SELECT state FROM jobs WHERE id = ? AND token = ?", (self.job_id, self.token)).fetchone()
        return JobState(row["state"]) if row is not None and row["state"] in AT_WORK else None

    def finish(self, ending: Ending, report: Report) -> bool:
        """How it ended; False if the row is no longer this attempt's."""
        with self._transaction() as db:
            self._write(db, report)
            finished = self._change(
                db,
                "state = ?, message = ?, ended = ?, seconds_left = NULL",
                in_states((JobState.QUEUED, *AT_WORK)),
                ending.state,
                ending.message,
                time.time(),
            )
            if finished:
                note_state(db, self.job_id)
        return finished

    def _write(self, db: sqlite3.Connection, report: Report) -> None:
        if not self._change(db, "beat = beat + 1, seconds = seconds + ?", in_states(AT_WORK), report.seconds):
            return
        if report.settings is not None:
            self._change(db, "settings = ?", "1", report.settings)
        if (progress := report.progress) is not None:
            values = (progress.stage, progress.done, progress.total, progress.unit, progress.rate)
            assignments = "stage = ?, done = ?, total = ?, unit = ?, rate = ?, seconds_left = ?"
            self._change(db, assignments, "1", *values, progress.seconds_left)
        for event in report.events:
            note_event(db, self.job_id, event.kind, event.value, event.key)

    def _change(self, db: sqlite3.Connection, assignments: str, condition: str, *values: Any) -> bool:
        """Change the row if it is this attempt's and the condition holds; ``values`` fill the question marks."""
        first, rest = values[: assignments.count("?")], values[assignments.count("?") :]
        statement = f"UPDATE jobs SET {assignments} WHERE id = ? AND token = ? AND {condition}"
        return db.execute(statement, (*first, self.job_id, self.token, *rest)).rowcount > 0

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """On a connection that is kept; after an error a new one is made the next time."""
        if not database_path(self.run).is_file():
            raise RunError(f"{database_path(self.run)} was deleted.")
        try:
            if self._connection is None:
                self._connection = connect(self.run, durable=False)
            with transaction(self._connection) as db:
                yield db
        except (RunError, sqlite3.Error):
            self._close()
            raise

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
