"""What stands between the thresholds on show and a trained stage 2, and the button that sends them there."""

import numpy as np
import streamlit as st

from app import stage_jobs, stage_states, widgets
from app.filter.data import overrides
from app.run_view import RunView
from app.stage_names import describe_work, label_of, with_needs
from maskdistill.config import FilterConfig
from maskdistill.errors import MaskDistillError
from maskdistill.jobs import list_jobs
from maskdistill.pseudo_labels.filter import FilterResult
from maskdistill.pseudo_labels.filter_presets import describe
from maskdistill.stages.status import StageState
from maskdistill.storage.run_folder import Run

_STAGE = "stage2"
_JUDGING = ("stage1", "candidates")  # what must be up to date for the numbers on the page to be of now


def draw_doubts(run_view: RunView) -> None:
    """What makes the numbers on the page old: a stage before the filter that is stale, or a job at work."""
    try:
        states = {item.name: item for item in stage_states.judging_states(run_view.run, run_view.photos)}
        at_work = stage_jobs.stage_at_work(list_jobs(run_view.run.path))
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        return
    doubtful = next((states[name] for name in _JUDGING if states[name].state != "done"), None)
    if doubtful is not None:
        st.warning(widgets.escape(_doubt(doubtful)), icon=":material/warning:")
    if at_work:
        st.info(f"A job is at work on this run, at {label_of(at_work)}. What it changes shows here when it is done.")
    if doubtful is not None or at_work:
        st.page_link("../pages/training.py", label="Look in Training", icon=":material/model_training:")


def _doubt(item: StageState) -> str:
    old = "So the scores below are of an earlier state; training makes them anew first."
    if item.state == "stale":
        return f"{label_of(item.name)} is stale: {item.why}. {old}"
    return f"{label_of(item.name)} is {'being made' if item.state == 'running' else 'not finished'}. {old}"


def draw_button(run: Run, config: FilterConfig, result: FilterResult) -> None:
    """The button; a dialog says what will be made and how long that takes."""
    kept = int(result.kept.sum())
    if st.button(
        f"Train stage 2 on {kept:,} mask{'' if kept == 1 else 's'}",
        type="primary",
        icon=":material/send:",
        key="filter:train",
        disabled=not kept,
        help="Says first what will be made, and how long it takes" if kept else "These thresholds keep no mask",
    ):
        _dialog(run, config, kept, result.photos().kept)


@st.dialog("Train stage 2 on what is kept", icon=":material/model_training:")
def _dialog(run: Run, config: FilterConfig, kept: int, photos: int) -> None:
    st.write(f"{kept:,} masks of {photos:,} photos, kept by: {widgets.escape(describe(config))}.")
    try:
        jobs = list_jobs(run.path)
        coming = stage_jobs.coming_configs(run, jobs)[-1].with_overrides(overrides(config))
        with widgets.scan_progress() as on_progress:
            work = stage_states.stages_to_make(run, coming, with_needs(_STAGE), on_progress)
        st.caption(f"{describe_work(work, _STAGE)} {stage_states.time_needed(run, coming, work)}".rstrip())
        if "candidates" in work:
            st.warning("Stage 1 judges the masks anew first, so the filter will see other scores than you do.")
        if any(job.state.is_active for job in jobs):
            st.info("It waits for the job at work.")
        place = st.empty()
        if place.button("Start", type="primary", icon=":material/play_arrow:", width="stretch", disabled=not work):
            job, is_new = stage_jobs.train_on_kept(run, overrides(config))
            under_way = "trains stage 2 in the background" if is_new else "does that already"
            place.success(f"Job {job.id} {under_way}.", icon=":material/check:")
        link = {"run": run.name, "stage": _STAGE}
        st.page_link("../pages/training.py", label="To Training", icon=":material/model_training:", query_params=link)
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))


def draw_disk(kept_on_disk: np.ndarray | None, result: FilterResult) -> None:
    """How what is on show compares with what the run holds, (N,) bool; None if it was never filtered."""
    if kept_on_disk is None:
        st.caption("No filter has gone over this run yet: nothing is written before you train.")
        return
    differing, total = int(np.count_nonzero(kept_on_disk != result.kept)), int(kept_on_disk.sum())
    if differing:
        st.caption(
            f":orange[●] The run itself keeps {total:,} masks, by other thresholds or before the latest decisions: "
            f"{differing:,} differ from what you see. Training writes what you see."
        )
    else:
        st.caption(f":green[●] The run itself keeps just these {total:,} masks.")
