"""The sidebar: which run is on show, its backbone, and the jobs at work."""

from pathlib import Path

import streamlit as st

from app import cache, identity, job_status, page_switch, selection, session, widgets
from maskdistill.errors import MaskDistillError
from maskdistill.jobs import list_jobs
from maskdistill.storage.database import database_path
from maskdistill.storage.run_folder import INFO, Run, list_runs, runs_folder

_NO_RUN = ""
_LOGO = """<svg xmlns="http://www.w3.org/2000/svg" width="190" height="32" viewBox="0 0 190 32">
<rect x="2" y="2" width="28" height="28" rx="7" fill="none" stroke="#1A8CA6" stroke-width="2" stroke-dasharray="5 3"/>
<path d="M9 19c0-6 3-10 8-10 4 0 7 3 7 7 0 5-4 8-9 8-3 0-6-2-6-5z" fill="#1A8CA6"/>
<text x="40" y="22" font-family="'Source Sans', 'Source Sans 3', sans-serif" font-size="19" font-weight="600"
fill="#1A8CA6">MaskDistill</text></svg>"""


def draw() -> None:
    """Everything that is the same on all pages."""
    st.logo(_LOGO, size="large")
    with st.sidebar:
        runs = {run.name: run for run in list_runs(runs_folder())}
        damaged = {name: text for name, run in runs.items() if (text := _problem(run.path, _state(run)))}
        _choose_run(runs, damaged)
        chosen = selection.current().run
        if chosen in damaged:
            st.error(widgets.escape(damaged[chosen]))
        elif chosen in runs:
            _describe(runs[chosen])
        watched = session.recall(session.Key.WATCHED, {})
        for run in (run for name, run in runs.items() if name not in damaged):
            if run.name in watched or _had_active_job(run.path, _state(run)):
                job_status.draw_running(run.path)
        _follow_started(runs)
        identity.draw_logout()


@cache.newest(1000)
def _had_active_job(run: Path, state: str) -> bool:
    """Whether a job waited or worked when the run's files were in this state: others need not be opened again."""
    return job_status.is_running(run)


@cache.newest(1000)
def _problem(run: Path, _state: str) -> str:
    """Why a run in this state cannot be opened, or its jobs and decisions not be read; empty if all is well."""
    try:
        Run(run).info()
        list_jobs(run)
    except MaskDistillError as error:
        return str(error)
    return ""


def _state(run: Run) -> str:
    """Names the state of the files that a job, or a command typed in a terminal, writes its progress to."""
    database = database_path(run.path)
    files = [database, database.with_name(f"{database.name}-wal"), run.progress_path, run.path / INFO]
    return cache.stamp(files)


def _choose_run(runs: dict[str, Run], damaged: dict[str, str]) -> None:
    chosen = selection.current().run
    key = session.sync_widget(session.Key.SIDEBAR_RUN, chosen if chosen in runs else _NO_RUN)
    data = selection.current().data
    nothing = "Sample photos, no run" if data == "sample" else "No run"
    folder = f"Runs live in the folder {runs_folder().absolute()}."
    st.selectbox(
        "Run",
        [_NO_RUN, *runs],
        key=key,
        format_func=lambda name: f"{name} (damaged)" if name in damaged else name or nothing,
        help="\n\n".join([widgets.escape(folder), *map(widgets.escape, damaged.values())]),
        on_change=lambda: _open(session.widget_value(key)),
    )


def _follow_started(runs: dict[str, Run]) -> None:
    """The job that this session started: shown before its run folder is written, and when it is done."""
    name = session.recall(session.Key.STARTED)
    if not name:
        return
    path = runs_folder() / name
    if name not in runs:
        job_status.draw_running(path)
    elif job_status.is_done(path):
        st.success(f"The masks of **{widgets.escape(name)}** are done.", icon=":material/check_circle:")
        if st.button("See them", key="sidebar:arrive", width="stretch"):
            session.remember(session.Key.STARTED, None)
            selection.open_run(name)
            page_switch.go("proposals")


def _open(name: str) -> None:
    if name:
        selection.open_run(name)
    else:
        selection.open_data("sample")


def _describe(run: Run) -> None:
    backbone = run.info().get("backbone") or {}
    if backbone:
        st.caption(f"**{widgets.escape(backbone['name'])}** · {widgets.escape(backbone['weights'])}")
