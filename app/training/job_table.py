"""The jobs of a run as a table. No Streamlit in here."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from app.training.curves import Epoch
from maskdistill.jobs import Job
from maskdistill.storage.progress import format_duration

COLUMNS = ("Job", "What", "State", "Began", "Took", "Loss", "Agreement", "Message")


def job_table(jobs: Sequence[Job], epochs: Mapping[int, Sequence[Epoch]]) -> pd.DataFrame:
    """One row a job: number, title, state, when it began, how long it worked, where its last training ended, message.

    Args:
        jobs: In the order of the rows.
        epochs: Of each job, by its number.
    """
    return pd.DataFrame([_row(job, epochs.get(job.id, ())) for job in jobs], columns=list(COLUMNS))


def _row(job: Job, epochs: Sequence[Epoch]) -> tuple[Any, ...]:
    ended = not job.state.is_active  # the table is not drawn again while a job works
    last = epochs[-1] if epochs and ended else None
    began = None if job.started is None else datetime.fromtimestamp(job.started).replace(microsecond=0)
    took = format_duration(job.seconds) if job.seconds and ended else ""
    loss, agreement = (last.loss, last.agreement) if last else (None, None)
    return job.id, job.title, str(job.state), began, took, loss, agreement, short_message(job)


def short_message(job: Job) -> str:
    """A job's message without the path of its run, which the page shows anyway."""
    return job.message.removesuffix(f" {job.run.absolute()}")
