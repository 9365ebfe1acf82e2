"""How far a run's job has come, refreshed each second while it runs and not at all otherwise."""

from pathlib import Path

import streamlit as st

from app import state
from maskdistill.errors import JobError
from maskdistill.jobs import read_progress, stop_stage
from maskdistill.progress import Progress, format_duration

REFRESH = 1.0  # seconds


def is_running(run: Path) -> bool:
    """Whether a job of this run is at work."""
    progress = read_progress(run)
    return progress is not None and progress.state == "running"


def is_done(run: Path) -> bool:
    """Whether the run's last job came to its end."""
    progress = read_progress(run)
    return progress is not None and progress.state == "done"


def draw(run: Path, place: str) -> None:
    """Progress of the run's last job: a live bar while it runs, else how it ended.

    Args:
        run: Run folder.
        place: Where on the page, so that keys stay apart.
    """
    progress = read_progress(run)
    if progress is None:
        return
    if progress.state == "running":
        st.fragment(_draw_live, run_every=REFRESH)(run, place)
    elif progress.state == "done":
        st.success(progress.message or f"{progress.done} photos done.", icon=":material/check_circle:")
    elif progress.state == "stopped":
        st.info(f"Stopped at {progress.done} of {progress.total} photos. {_KEPT}", icon=":material/pause_circle:")
    else:
        st.error(f"{progress.message or 'The job failed.'} {_KEPT}", icon=":material/error:")


_KEPT = "Press Find masks to go on: finished photos are kept."


def draw_running(run: Path) -> None:
    """The same in a few words, for the sidebar; nothing unless a job runs."""
    if is_running(run):
        with st.container(border=True):
            st.caption(f"Finding masks · **{run.name}**")
            st.fragment(_draw_live, run_every=REFRESH)(run, "sidebar")


def _draw_live(run: Path, place: str) -> None:
    progress = read_progress(run)
    if progress is None or progress.state != "running":
        st.rerun()  # the whole page: what the job made is there now
        return
    share = progress.done / progress.total if progress.total else 0.0
    st.progress(min(1.0, share), text=_describe(progress))
    key = f"stop:{place}:{run.name}"
    if st.button("Stop", key=key, icon=":material/stop_circle:", help="What is finished is kept."):
        try:
            stop_stage(run)
        except JobError as error:
            state.notify(str(error))
        st.rerun()


def _describe(progress: Progress) -> str:
    if not progress.total:
        return progress.message or "Starting: loading the model."
    text = f"{progress.done} of {progress.total} photos"
    if progress.rate:
        text += f" · {progress.rate:.1f} per second"
    if progress.seconds_left is not None:
        text += f" · {format_duration(progress.seconds_left)} left"
    return text
