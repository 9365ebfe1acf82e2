"""Right column: the job at work or else the last one, drawn again as long as a job of the run waits or works."""

import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import streamlit as st

from app import job_status, photo_cache, selection, session, widgets
from app.stage_names import LABELS, TRAINED, label_of
from app.training import curves, draft, machine
from app.training.curves import Epoch, last_of, saved_epochs
from app.training.epoch_player import epoch_player
from app.training.job_table import short_message
from maskdistill.config import RunConfig
from maskdistill.errors import MaskDistillError
from maskdistill.jobs import Job, JobState, current_job, get_job, list_jobs, log_tail
from maskdistill.stages.samples import read_samples
from maskdistill.storage.run_folder import Run

REFRESH = 1.5  # seconds
LOG_LINES = 60
_LOG_HEIGHT = 280  # pixels
_TRAINING = (*TRAINED, "rounds")
BADGES: dict[JobState, tuple[str, str, Literal["gray", "blue", "orange", "green", "red"]]] = {
    JobState.QUEUED: ("waiting", "schedule", "gray"),
    JobState.RUNNING: ("running", "progress_activity", "blue"),
    JobState.STOPPING: ("stopping", "pending", "orange"),
    JobState.DONE: ("done", "check_circle", "green"),
    JobState.FAILED: ("failed", "cancel", "red"),
    JobState.STOPPED: ("stopped", "stop_circle", "orange"),
    JobState.LOST: ("lost", "help", "red"),
}


def shown_job(run: Run) -> Job | None:
    """The job that was chosen, else the one at work, else the last; None if there never was one.

    Raises:
        JobError: If the chosen one is not there.
    """
    chosen = selection.current().job
    return get_job(run.path, chosen) if chosen else current_job(run.path)


def draw(run: Run, coming: RunConfig, jobs: Sequence[Job]) -> None:
    """Everything about one job, its curves and its predictions on photos."""
    try:
        job = shown_job(run)
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        st.button("Show the current job", on_click=selection.select, kwargs={"job": 0})
        return
    active = any(item.state.is_active for item in jobs) or (job is not None and job.state.is_active)
    st.fragment(widgets.show_errors()(_draw), run_every=REFRESH if active else None)(
        run, coming, _page_state(job, jobs)
    )


def _page_state(job: Job | None, jobs: Sequence[Job]) -> tuple[Any, ...]:
    """What the rest of the page depends on: if it changes, the whole page is drawn again."""
    shown = None if job is None else (job.id, job.state, job.stage, job.attempts)
    return (
        shown,
        tuple((item.id, item.state) for item in jobs),
        selection.current(),
        session.recall(session.Key.DUPLICATE),
    )


@widgets.show_errors()
def _draw(run: Run, coming: RunConfig, drawn: tuple[Any, ...]) -> None:
    jobs, job = list_jobs(run.path), shown_job(run)
    if _page_state(job, jobs) != drawn or session.has_notices():
        st.rerun()
    epochs = curves.job_epochs(job) if job is not None and job.id else saved_epochs(run.path)
    if job is None and not epochs:
        _draw_empty()
        return
    if job is None:
        st.caption("The models of this run were trained by a command typed in a terminal.")
    else:
        _draw_job(job, coming, last_of(epochs, job.stage))
    _draw_queue([item for item in reversed(jobs) if item.state is JobState.QUEUED and (not job or item.id != job.id)])
    is_newest = job is None or not job.id or all((item.started or 0) <= (job.started or 0) for item in jobs)
    if not epochs and is_newest and job is not None and not job.state.is_active:
        epochs = saved_epochs(run.path)  # it trained nothing: the models on disk
    curves.draw({"": epochs}, key="live")
    if epochs or (job is not None and job.stage in _TRAINING):
        _draw_predictions(run, epochs, job, is_newest)
    if job is not None:
        _draw_log(job)


def _draw_empty() -> None:
    st.info(
        "Nothing has been trained yet. **Start** makes the chosen stage, and first the stages that it needs. "
        "The loss, and the predictions on six photos after each epoch, will show here.",
        icon=":material/school:",
    )


def _draw_job(job: Job, coming: RunConfig, last: Epoch | None) -> None:
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            word, icon, color = BADGES[job.state]
            st.markdown(f"**{widgets.escape(job.title)}**{f' · job {job.id}' if job.id else ''}", width="content")
            st.badge(word, icon=f":material/{icon}:", color=color)
            _draw_controls(job, coming)
        if job.state in (JobState.RUNNING, JobState.STOPPING):
            speed = f"{last.samples_per_second:.3g} photos per second" if last and last.samples_per_second else ""
            st.progress(job.share, text=widgets.escape(job_status.describe(job, speed)) or "Starting")
        if job.message:
            st.markdown(f":small[{widgets.escape(short_message(job))}]")
        if job.state in (JobState.RUNNING, JobState.STOPPING) and job.host == socket.gethostname():
            _draw_machine(job)


def _draw_controls(job: Job, coming: RunConfig) -> None:
    """Buttons with callbacks: these run first, whatever else has changed; ``_page_state`` then differs."""
    if job.id and job.state in (JobState.QUEUED, JobState.RUNNING):  # number 0 was typed in a terminal
        _button("Stop", "stop_circle", "What is finished is kept.", partial(job_status.stop, job))
    if job.state.can_resume:
        _button("Resume", "resume", "Goes on from the last checkpoint.", partial(job_status.resume, job))
    if job.settings:
        help = "Copy its settings into the forms on the left, to change them and start again."
        _button("Duplicate", "content_copy", help, partial(copy_settings, job, coming))
    if selection.current().job:
        _button("Current job", "undo", "Back to the job at work, or the last one.", partial(selection.select, job=0))


def _button(label: str, icon: str, help: str, action: Callable[[], None], key: str = "job") -> None:
    st.button(label, icon=f":material/{icon}:", key=f"{key}:{label}", help=help, on_click=action)


def copy_settings(job: Job, coming: RunConfig) -> None:
    """Put a job's settings into the forms, and show the form of the stage it was for."""
    try:
        draft.duplicate(job, coming)
    except MaskDistillError as error:
        session.notify(f"The settings of job {job.id} cannot be used. {error}")
        return
    if job.stage in LABELS:
        selection.select(stage=job.stage)


def _draw_queue(waiting: Sequence[Job]) -> None:
    for job in waiting:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f":material/schedule: :small[**{widgets.escape(job.title)}** · job {job.id}]", width="content")
            st.caption(widgets.escape(job.message) or "Waits in the queue.")
            _button("Stop", "close", "Take it out of the queue.", partial(job_status.stop, job), key=f"queue:{job.id}")


def _draw_machine(job: Job) -> None:
    """Memory now, and cores busy since the last reading; each reading is kept for the next."""
    now = machine.read_processes(job.pid)
    before = session.recall(session.Key.READING)
    session.remember(session.Key.READING, now)
    if now.cpu_seconds:
        st.caption(f":material/memory: {machine.describe(before or now, now, machine.gpus())}")


def _draw_predictions(run: Run, epochs: Sequence[Epoch], job: Job | None, is_newest: bool) -> None:
    """Predictions on a few photos by the model that is being trained, or was last; kept of the newest training only."""
    models = curves.trained_models(run.path)
    found = {stage: samples for stage in models if (samples := read_samples(run, stage)) and samples.epochs}
    if not found:
        return
    if not is_newest:
        st.caption("Predictions on photos are kept for the newest training only.")
        return
    stage = list(found)[-1]
    if job is not None and job.state.is_active and job.stage in models:
        stage = job.stage
        if stage not in found or (last_of(epochs, stage) is None and found[stage].epochs[-1] > 1):
            return  # these are still of the training before
    if len(found) > 1:
        stage = _choose_model(list(found), stage)
    else:
        st.markdown(f":small[**Predictions of {label_of(stage)}**]")
    agreement = {item.epoch: item.agreement for item in epochs if item.stage == stage and item.agreement is not None}
    try:
        source = photo_cache.source(run.info()["data"], seen=run.seen_path)
    except MaskDistillError:
        source = None
    epoch_player(found[stage], source, agreement, key=f"predictions:{stage}")


def _choose_model(models: list[str], suggested: str) -> str:
    """One of several models; each new suggestion is followed at first."""
    key = f"{session.Key.EPOCHS_STAGE}:{suggested}"
    picked = st.segmented_control(
        "Predictions of", models, default=suggested, required=True, format_func=label_of, key=key
    )
    return picked if picked in models else suggested


def _draw_log(job: Job) -> None:
    if not job.id:
        return
    log = st.expander("Log", icon=":material/terminal:", key=session.Key.LOG_OPEN, on_change="rerun")
    if log.open:
        with log:
            st.caption(widgets.as_code(job.command))
            with st.container(height=_LOG_HEIGHT, border=False, autoscroll=True):
                st.code(log_tail(job.run, job.id, LOG_LINES) or "Nothing printed yet.", language=None, wrap_lines=True)
