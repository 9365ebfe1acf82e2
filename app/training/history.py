"""Below: every job of the run. The curves of those that are ticked are drawn together; two are compared."""

from collections.abc import Sequence
from typing import Any, Literal

import streamlit as st

from app import job_status, selection, session, widgets
from app.settings_difference import differences
from app.training import curves, draft
from app.training.job_table import job_table
from app.training.live import copy_settings
from maskdistill.config import RunConfig
from maskdistill.errors import MaskDistillError
from maskdistill.jobs import Job
from maskdistill.storage.run_folder import Run

_ROWS = 8  # shown without scrolling
_ROW, _HEAD = 35, 35  # pixels


def draw(run: Run, coming: RunConfig, jobs: Sequence[Job]) -> None:
    """Table of jobs, curves of those that are ticked, and the settings in which two differ."""
    if not jobs:
        return
    st.header("Jobs of this run")
    st.caption(
        "Tick one job to see its settings, or two to compare them. The curves of all ticked jobs are drawn together."
    )
    try:
        epochs = {job.id: curves.job_epochs(job) for job in jobs}
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        return
    height: Literal["content"] | int = "content" if len(jobs) <= _ROWS else _HEAD + _ROW * _ROWS
    answer = st.dataframe(
        job_table(jobs, epochs),
        hide_index=True,
        height=height,
        key=f"{session.Key.COMPARED}:{run.name}:{jobs[0].id}",  # ticks are of rows, which a new job moves
        on_select="rerun",
        selection_mode="multi-row",
        column_config=_columns(),
    )
    chosen = [jobs[row] for row in sorted(answer.selection.rows, reverse=True) if row < len(jobs)]
    if len(chosen) == 1:
        _draw_one(chosen[0], coming)
    curves.draw({f"Job {job.id} · ": epochs[job.id] for job in chosen}, key="history")
    if len(chosen) == 1:
        name, preset = draft.preset_of(run)
        _draw_differences(
            f"Settings of job {chosen[0].id}", (f"Preset {name}", preset.to_dict()), _settings_of(chosen[0])
        )
        st.caption(f"As a command: {widgets.as_code(chosen[0].command)}")
    if len(chosen) == 2:
        first, second = chosen
        _draw_differences(
            f"What changed from job {first.id} to job {second.id}", _settings_of(first), _settings_of(second)
        )


def _columns() -> dict[str, Any]:
    columns = st.column_config
    return {
        "Job": columns.NumberColumn(width=60),
        "What": columns.TextColumn(width=170),
        "State": columns.TextColumn(width=90),
        "Began": columns.DatetimeColumn(format="D MMM, HH:mm", width=120),
        "Took": columns.TextColumn(width=110),
        "Loss": columns.NumberColumn(format="%.3f", width=80, help="Of the last epoch that the job finished"),
        "Agreement": columns.NumberColumn(format="%.3f", width=100, help="Share of the targets that is predicted"),
        "Message": columns.TextColumn(width="large"),
    }


def _draw_one(job: Job, coming: RunConfig) -> None:
    with st.container(horizontal=True, gap="small"):
        st.button(
            f"Show job {job.id} above",
            icon=":material/visibility:",
            on_click=selection.select,
            kwargs={"job": job.id},
        )
        if job.settings:
            st.button(
                "Duplicate",
                key="history:Duplicate",
                icon=":material/content_copy:",
                on_click=copy_settings,
                args=(job, coming),
            )
        if job.state.can_resume:
            st.button("Resume", key="history:Resume", icon=":material/resume:", on_click=job_status.resume, args=(job,))


def _settings_of(job: Job) -> tuple[str, dict[str, Any]]:
    return f"Job {job.id}", job.settings


def _draw_differences(title: str, first: tuple[str, dict[str, Any]], second: tuple[str, dict[str, Any]]) -> None:
    st.subheader(title)
    if not (first[1] and second[1]):
        st.info("A job that began before its run had settings cannot be compared.")
        return
    table = differences(first, second)
    if table.empty:
        st.info(f"{first[0]} and {second[0].lower()} have the same settings.")
        return
    st.dataframe(table, hide_index=True, height="content" if len(table) <= _ROWS else _HEAD + _ROW * _ROWS)
