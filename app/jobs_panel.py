"""How far a run's job has come, refreshed each second while it runs and not at all otherwise."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from app import state
from maskdistill.errors import MaskDistillError
from maskdistill.jobs import Job, JobState, current_job, list_jobs, resume_job, stop_job
from maskdistill.progress import format_duration, read_progress_file
from maskdistill.store import Run

REFRESH = 1.0  # seconds


def is_running(run: Path) -> bool:
    """Whether a job of this run waits or is at work."""
    job = _current(run)
    return job is not None and job.state.is_active


def is_done(run: Path) -> bool:
    """Whether the run's last job came to its end."""
    job = _current(run)
    if job is not None:
        return job.state is JobState.DONE
    progress = read_progress_file(Run(run).progress_path)  # by a command that was typed in a terminal
    return progress is not None and progress.state == "done"


def draw(run: Path, place: str) -> None:
    """Progress of the run's job: a live bar while it is under way, else how it ended and a way to go on.

    Args:
        run: Run folder.
        place: Where on the page, so that keys stay apart.
    """
    job = _current(run)
    if job is None:
        return
    if job.state.is_active:
        st.fragment(_draw_live, run_every=REFRESH)(run, place)
    elif job.state is JobState.DONE:
        st.success(job.message or f"{job.title}: done.", icon=":material/check_circle:")
    else:
        stopped = job.state is JobState.STOPPED
        show, icon = (st.info, ":material/pause_circle:") if stopped else (st.error, ":material/error:")
        show(job.message, icon=icon)
        if st.button("Resume", key=f"resume:{place}:{run.name}", icon=":material/play_arrow:"):
            _try(lambda: resume_job(run, job.id))
            st.rerun()


def draw_running(run: Path) -> None:
    """The same in a few words, for the sidebar; nothing unless a job is under way."""
    job = _current(run)
    if job is not None and job.state.is_active:
        with st.container(border=True):
            st.caption(f"{job.title} · **{run.name}**")
            st.fragment(_draw_live, run_every=REFRESH)(run, "sidebar")


def _draw_live(run: Path, place: str) -> None:
    job = _current(run)
    if job is None or not job.state.is_active:
        st.rerun()  # the whole page: what the job made is there now
        return
    st.progress(job.share, text=_describe(job))
    if waiting := sum(other.state is JobState.QUEUED and other.id != job.id for other in list_jobs(run)):
        st.caption(f"{waiting} more {'waits' if waiting == 1 else 'wait'}.")
    if not job.id or job.state is JobState.STOPPING:
        return
    if st.button("Stop", key=f"stop:{place}:{run.name}", icon=":material/stop_circle:", help="What is done is kept."):
        _try(lambda: stop_job(run, job.id))
        st.rerun()


def _current(run: Path) -> Job | None:
    try:
        return current_job(run)
    except MaskDistillError as error:
        state.notify(str(error))
        return None


def _try(action: Callable[[], object]) -> None:
    try:
        action()
    except MaskDistillError as error:
        state.notify(str(error))


def _describe(job: Job) -> str:
    if not job.total:
        return job.message or "Starting."
    text = f"{job.stage}: {job.done} of {job.total} {job.unit}"
    if job.rate:
        text += f" · {job.rate:.1f} per second"
    if job.seconds_left is not None:
        text += f" · {format_duration(job.seconds_left)} left"
    return f"{text} · {job.message}" if job.message else text
