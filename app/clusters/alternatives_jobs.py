"""Making trials and the curve: small runs here and now, large ones as a job that goes on without the page."""

from collections.abc import Sequence

import streamlit as st

from app import session
from app.job_status import REFRESH, stop
from app.run_view import RunView
from maskdistill.cli.job_command import submit_command
from maskdistill.clustering.alternatives import AlternativeKey, make_alternatives, make_curve
from maskdistill.errors import MaskDistillError
from maskdistill.jobs import Job, list_jobs
from maskdistill.storage.run_folder import Run

IN_PLACE = 1500  # masks up to which one waits for it: a few seconds


def start(run_view: RunView, keys: Sequence[AlternativeKey]) -> None:
    """Make trials, with a bar where they are few seconds' work, else in the background.

    Raises:
        MaskDistillError: If they cannot be made.
    """
    if in_place(run_view):
        bar = st.progress(0.0, "Reading the vectors …")
        make_alternatives(run_view.run, keys, lambda done, total: bar.progress(done / total, "Clustering …"))
        bar.empty()
    else:
        numbers = [str(key.num_classes) for key in keys]
        flags = ["--num-classes", *numbers, "--seed", str(keys[0].seed)]
        submit_command(run_view.run.path, ["try", *flags], title=f"Clusterings into {', '.join(numbers)}")


def start_curve(run_view: RunView) -> None:
    """Make the curve, likewise.

    Raises:
        MaskDistillError: If it cannot be made.
    """
    if in_place(run_view):
        bar = st.progress(0.0, "Clustering samples of the masks …")
        make_curve(run_view.run, lambda done, total: bar.progress(done / total, "Clustering samples of the masks …"))
        bar.empty()
    else:
        submit_command(run_view.run.path, ["try", "--curve"], title="Curve of the number of clusters")


def in_place(run_view: RunView) -> bool:
    """Whether one waits for it."""
    return run_view.vectors is not None and len(run_view.vectors) <= IN_PLACE


def follow(run: Run) -> None:
    """How far the job that makes trials is; nothing if there is none."""
    if _job(run) is not None:
        _draw_live(run)


@st.fragment(run_every=REFRESH)
def _draw_live(run: Run) -> None:
    job = _job(run)
    if job is None:
        st.rerun()  # what it made is there now
    st.progress(job.share, f"{job.title}: {job.how_far or job.message or job.state}")
    st.button("Stop", icon=":material/stop_circle:", key="clusters:stop try", on_click=stop, args=(job,))
    st.caption("It goes on when you leave this page. What is finished is kept.")


def _job(run: Run) -> Job | None:
    try:
        jobs = list_jobs(run.path)
    except MaskDistillError as error:
        session.notify(str(error))
        return None
    return next((job for job in jobs if job.state.is_active and job.arguments[:1] == ("try",)), None)
