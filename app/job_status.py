"""How far a run's job is, and how it ended. Drawn again each second while a job waits or works, and only then."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import streamlit as st

from app import page_switch, selection, session, widgets
from app.stage_names import label_of
from maskdistill.errors import MaskDistillError
from maskdistill.jobs import Job, JobState, current_job, list_jobs, resume_job, stop_job
from maskdistill.storage.progress import format_duration, read_progress_file
from maskdistill.storage.run_folder import Run

REFRESH = 1.0  # seconds


def is_running(run: Path) -> bool:
    """Whether a job of this run waits or works."""
    job = _current(run)
    return job is not None and job.state.is_active


def is_done(run: Path) -> bool:
    """Whether the run's last job is done."""
    job = _current(run)
    if job is not None:
        return job.state is JobState.DONE
    progress = read_progress_file(Run(run).progress_path)  # by a command that was typed in a terminal
    return progress is not None and progress.state == "done"


def draw(run: Path, place: str) -> None:
    """Progress of the run's job: a live bar while it waits or works, else how it ended and a button to resume it.

    Args:
        run: Run folder.
        place: Where on the page, so that keys stay apart.
    """
    job = _current(run)
    if job is None:
        return
    if job.state.is_active:
        _follow(run, place, _current)
    elif job.state is JobState.DONE:
        st.success(widgets.escape(job.message or f"{job.title}: done."), icon=":material/check_circle:")
    else:
        stopped = job.state is JobState.STOPPED
        show, icon = (st.info, ":material/pause_circle:") if stopped else (st.error, ":material/error:")
        show(widgets.escape(job.message), icon=icon)
        key = f"resume:{place}:{run.name}"
        st.button("Resume", key=key, icon=":material/play_arrow:", on_click=resume, args=(job,))


def follow(run: Path, place: str, command: str) -> bool:
    """Progress of the job that waits or works on a command; nothing if there is none.

    Args:
        run: Run folder.
        place: Where on the page, so that keys stay apart.
        command: First word of its command line, as ``project``.

    Returns:
        Whether there is such a job.
    """
    find = partial(_active, command=command)
    if find(run) is None:
        return False
    _follow(run, place, find)
    return True


def draw_running(run: Path) -> None:
    """The same for the sidebar: while a job waits or works, and then how it ended, until that is dismissed."""
    job = _current(run)
    if job is None:
        return
    watched = session.recall(session.Key.WATCHED, {})
    if job.state.is_active:
        session.remember(session.Key.WATCHED, {**watched, run.name: job.id})
        with st.container(border=True):
            st.caption(f"{widgets.escape(job.title)} · **{widgets.escape(run.name)}**")
            _follow(run, "sidebar", _current)
    elif watched.get(run.name) == job.id:
        started_here = session.recall(session.Key.STARTED) == run.name
        if not (started_here and job.state is JobState.DONE):  # the sidebar announces that
            _draw_end(run, job)


def describe(job: Job, speed: str = "") -> str:
    """How far a job at work is: stage, count, speed, time left; empty as long as it has counted nothing.

    Args:
        job: Any job.
        speed: In place of the speed in the job's own unit, as "12 photos per second".
    """
    if not job.total:
        return ""
    parts = [f"{label_of(job.stage) if job.stage else job.title}: {job.done:,} of {job.total:,} {job.unit}"]
    if speed or job.rate:
        parts.append(speed or f"{job.rate:.3g} {job.unit} per second")
    if job.seconds_left is not None:
        parts.append(f"{format_duration(job.seconds_left)} left")
    return " · ".join(parts)


def stop(job: Job) -> None:
    """Ask a job to stop; if it cannot be stopped, a notice says why. For ``on_click``: no redraw loses such a click."""
    widgets.attempt(lambda: stop_job(job.run, job.id))


def resume(job: Job) -> None:
    """Put a job into the queue again, likewise."""
    widgets.attempt(lambda: resume_job(job.run, job.id))


def _draw_end(run: Path, job: Job) -> None:
    """How a job ended that this session saw at work."""
    done = job.state is JobState.DONE
    show, icon = (st.success, ":material/check_circle:") if done else (st.warning, ":material/error:")
    show(f"{widgets.escape(job.title)} · **{widgets.escape(run.name)}**: {job.state}.", icon=icon)
    see, dismiss = st.columns(2)
    dismiss.button("Dismiss", key=f"dismiss:{run.name}", width="stretch", on_click=_dismiss, args=(run.name,))
    if see.button("See", key=f"see:{run.name}", width="stretch"):
        _dismiss(run.name)
        selection.open_run(run.name)
        page_switch.go("training")


def _dismiss(name: str) -> None:
    watched = session.recall(session.Key.WATCHED, {})
    session.remember(session.Key.WATCHED, {run: job for run, job in watched.items() if run != name})


def _follow(run: Path, place: str, find: Callable[[Path], Job | None]) -> None:
    st.fragment(widgets.show_errors()(_draw_live), run_every=None if page_switch.is_under_way() else REFRESH)(
        run, place, find
    )


def _draw_live(run: Path, place: str, find: Callable[[Path], Job | None]) -> None:
    job = find(run)
    if job is None or not job.state.is_active:
        st.rerun()  # the whole page: what the job made is there now
        return
    text = " · ".join(part for part in (describe(job), job.message) if part)
    st.progress(job.share, text=widgets.escape(text) or "Starting.")
    if waiting := sum(other.state is JobState.QUEUED and other.id != job.id for other in _jobs(run)):
        st.caption(f"{waiting} more {'waits' if waiting == 1 else 'wait'}.")
    if not job.id or job.state is JobState.STOPPING:
        return
    key = f"stop:{place}:{run.name}"
    st.button("Stop", key=key, icon=":material/stop_circle:", help="What is done is kept.", on_click=stop, args=(job,))


def _current(run: Path) -> Job | None:
    try:
        return current_job(run)
    except MaskDistillError as error:
        session.notify(str(error))
        return None


def _active(run: Path, command: str) -> Job | None:
    return next((job for job in _jobs(run) if job.state.is_active and job.arguments[:1] == (command,)), None)


def _jobs(run: Path) -> list[Job]:
    try:
        return list_jobs(run)
    except MaskDistillError as error:
        session.notify(str(error))
        return []
