"""What is known of a job, as a page shows it."""

import json
import shlex
import sqlite3
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Self

from maskdistill.errors import printable
from maskdistill.jobs.processes import ProcessId
from maskdistill.storage.progress import format_duration


class JobState(StrEnum):
    """Where a job is between being asked for and its end."""

    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"  # asked to stop, and still at work
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"  # its process ended without writing down why

    @property
    def is_active(self) -> bool:
        """Whether it waits or works."""
        return self in ACTIVE

    @property
    def can_resume(self) -> bool:
        """Whether it ended before its work was done."""
        return self in RESUMABLE


AT_WORK = (JobState.RUNNING, JobState.STOPPING)
ACTIVE = (JobState.QUEUED, *AT_WORK)
RESUMABLE = (JobState.STOPPED, JobState.FAILED, JobState.LOST)


@dataclass(frozen=True)
class Job:
    """One job at one moment. Times are seconds since 1970, for showing only: a clock may be set."""

    run: Path  # run folder
    id: int  # from 1 in each run; 0 for a command that was typed in a terminal
    title: str
    arguments: tuple[str, ...]  # what a person types after ``maskdistill``, without --run
    state: JobState
    message: str = ""  # one sentence for people: why it waits, what came of it, how to go on
    created: float = 0.0
    started: float | None = None  # of the last attempt
    ended: float | None = None
    seconds: float = 0.0  # at work, over all attempts
    stage: str = ""  # at work, or the last that was
    done: int = 0  # units of the stage
    total: int = 0
    unit: str = ""
    rate: float = 0.0  # units per second, 0 while unknown
    seconds_left: float | None = None  # of the stage, None while unknown
    turn: int = 0  # place in the run's queue
    attempts: int = 1
    device: str = ""
    folder: str = ""  # working folder: relative paths among the arguments start there
    process: ProcessId | None = None
    settings: dict[str, Any] = field(default_factory=dict)  # RunConfig as plain values; empty if not known
    token: str = ""  # of the last attempt
    beat: int = 0  # heartbeats, over all attempts
    oom_kills: int | None = None  # the system's count when the last attempt began to work

    @classmethod
    def from_row(cls, run: Path, row: sqlite3.Row) -> Self:
        """A row of the table ``jobs``."""
        values = {name: row[name] for name in row.keys() if name in cls.__dataclass_fields__}  # noqa: SIM118
        values["arguments"] = tuple(json.loads(row["arguments"]))
        values["state"] = JobState(row["state"])
        values["process"] = ProcessId.from_json(row["process"]) if row["process"] else None
        values["settings"] = json.loads(row["settings"])
        return cls(run=run, **values)

    @property
    def pid(self) -> int:
        """Its process on ``host``; 0 if it has none yet."""
        return self.process.pid if self.process else 0

    @property
    def host(self) -> str:
        """The machine that its process is on; empty if it has none yet."""
        return self.process.place.host if self.process else ""

    @property
    def share(self) -> float:
        """Fraction of the stage that is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def command(self) -> str:
        """What a person would type."""
        return printable(shlex.join(("maskdistill", *self.arguments, "--run", str(self.run))))

    @property
    def how_far(self) -> str:
        """Stage, count, rate and time left, for people; empty before the first stage."""
        if not self.stage:
            return ""
        rate = f", {self.rate:.2f} {self.unit}/s" if self.rate and self.state.is_active else ""
        left = "" if self.seconds_left is None else f", {format_duration(self.seconds_left)} left"
        return f"{self.stage} {self.done} of {self.total} {self.unit}{rate}{left}"

    @property
    def text(self) -> str:
        """One line for people."""
        parts = (f"job {self.id} {self.state}: {self.title}", self.how_far, self.message)
        return "; ".join(part for part in parts if part)


@dataclass(frozen=True)
class JobEvent:
    """Something that happened in a job."""

    id: int  # grows over all jobs of the run
    time: float  # seconds since 1970
    kind: str  # "state", "stage" or "epoch"
    value: dict[str, Any]


class Submitted(NamedTuple):
    """Answer to asking for a job."""

    job: Job
    is_new: bool  # False if the same work was under way already: ``job`` is that


def in_states(states: tuple[JobState, ...]) -> str:
    """A condition of SQL."""
    return f"state IN ({', '.join(repr(str(state)) for state in states)})"
