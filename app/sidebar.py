"""The sidebar: which run is looked at, its backbone, and the job that is running."""

import streamlit as st

from app import jobs_panel, state
from maskdistill.errors import MaskDistillError
from maskdistill.store import Run, list_runs, runs_folder

_NO_RUN = ""


def draw() -> None:
    """Everything that is the same on all pages."""
    with st.sidebar:
        runs = {run.name: run for run in list_runs(runs_folder())}
        _choose_run(runs)
        chosen = state.selection().run
        if chosen in runs:
            _describe(runs[chosen])
        for run in runs.values():
            jobs_panel.draw_running(run.path)


def _choose_run(runs: dict[str, Run]) -> None:
    chosen = state.selection().run
    key = state.sync_widget("sidebar:run", chosen if chosen in runs else _NO_RUN)
    data = state.selection().data
    nothing = "Sample photos, no run" if data == "sample" else "No run"
    st.selectbox(
        "Run",
        [_NO_RUN, *runs],
        key=key,
        format_func=lambda name: name or nothing,
        help=f"Runs live in the folder {runs_folder().absolute()}.",
        on_change=lambda: _open(state.widget_value(key)),
    )


def _open(name: str) -> None:
    if name:
        state.open_run(name)
    else:
        state.open_data("sample")


def _describe(run: Run) -> None:
    try:
        backbone = run.info().get("backbone") or {}
    except MaskDistillError as error:
        st.error(str(error))
        return
    if backbone:
        st.caption(f"**{backbone['name']}** · {backbone['weights']}")
