"""Where there is no UMAP yet: a button that makes it in the background, and how far it is."""

import streamlit as st

from app import job_status, stage_jobs, widgets
from app.run_view import RunView
from maskdistill.jobs import list_jobs
from maskdistill.storage.run_folder import Run


def draw(run_view: RunView) -> None:
    """A button, or how far the job is that makes the map."""
    if job_status.follow(run_view.run.path, "map", "project"):
        return
    st.caption("The map is PCA.", width="content")
    st.button(
        "Make the UMAP",
        icon=":material/scatter_plot:",
        help="UMAP keeps neighbours together. It is made in the background, in about a minute for some hundred masks "
        "and several for 50,000.",
        on_click=_start,
        args=(run_view.run,),
    )


def _start(run: Run) -> None:
    widgets.attempt(
        lambda: stage_jobs.start(run, stage_jobs.coming_configs(run, list_jobs(run.path))[-1], stage_jobs.MAP)
    )
    st.rerun()  # the whole page: the sidebar shows the job
