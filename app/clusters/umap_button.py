"""Where there is no UMAP yet: a button that makes it in the background, and how far it is."""

import streamlit as st

from app import session, stage_jobs
from app.job_status import REFRESH
from app.run_view import RunView
from maskdistill.errors import MaskDistillError
from maskdistill.jobs import Job, list_jobs
from maskdistill.storage.run_folder import Run


def draw(run_view: RunView) -> None:
    """A button, or the state of the job that makes the map."""
    if _job(run_view.run) is not None:
        _follow(run_view.run)
        return
    st.caption("The map is PCA.", width="content")
    st.button(
        "Make the UMAP",
        icon=":material/scatter_plot:",
        help="UMAP keeps neighbours together; it is made in the background, in about a minute "
        "for some hundred masks and several for 50,000.",
        on_click=_start,
        args=(run_view.run,),
    )


@st.fragment(run_every=REFRESH)
def _follow(run: Run) -> None:
    job = _job(run)
    if job is None:
        st.rerun()  # it has ended: the page finds the map, or offers it again
    st.caption(f":material/hourglass: UMAP is being made ({job.state}). PCA is shown meanwhile.", width="content")


def _job(run: Run) -> Job | None:
    """The job under way that makes the map."""
    jobs = list_jobs(run.path)
    return next((job for job in jobs if job.state.is_active and job.arguments[:1] == ("project",)), None)


def _start(run: Run) -> None:
    try:
        stage_jobs.start(run, stage_jobs.coming_configs(run, list_jobs(run.path))[-1], stage_jobs.MAP)
    except MaskDistillError as error:
        session.notify(str(error))
    st.rerun()  # the whole page: the sidebar shows the job
