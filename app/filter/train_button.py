"""Training stage 2 on the masks that the thresholds on show keep: the button, and what speaks against it."""

import numpy as np
import streamlit as st

from app import stage_jobs, stage_states, widgets
from app.filter.data import overrides
from app.run_view import RunView
from app.stage_names import describe_work, label_of
from maskdistill.config import FilterConfig
from maskdistill.errors import MaskDistillError
from maskdistill.jobs import list_jobs
from maskdistill.pseudo_labels.filter import FilterResult
from maskdistill.pseudo_labels.filter_presets import describe
from maskdistill.stages.stage_list import with_needs
from maskdistill.stages.status import StageState
from maskdistill.storage.run_folder import Run

_STAGE = "stage2"
_JUDGING = ("stage1", "candidates")  # stages that the numbers on the page come from


def draw_warnings(run_view: RunView) -> None:
    """Why the numbers on the page may be old: a stage before the filter is stale, or a job is running."""
    try:
        states = {item.name: item for item in stage_states.judging_states(run_view.run, run_view.photos)}
        at_work = stage_jobs.stage_at_work(list_jobs(run_view.run.path))
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        return
    outdated = next((states[name] for name in _JUDGING if states[name].state != "done"), None)
    if outdated is not None:
        st.warning(widgets.escape(_explain(outdated)), icon=":material/warning:")
    if at_work:
        st.info(f"A job is running at {label_of(at_work)} of this run. Its results show here when it is done.")
    if outdated is not None or at_work:
        st.page_link("../pages/training.py", label="Look in Training", icon=":material/model_training:")


def _explain(item: StageState) -> str:
    consequence = "The scores below are of an earlier state. Training makes them anew first."
    if item.state == "stale":
        return f"{label_of(item.name)} is stale: {item.why}. {consequence}"
    return f"{label_of(item.name)} is {'being made' if item.state == 'running' else 'not finished'}. {consequence}"


def draw_button(run: Run, config: FilterConfig, result: FilterResult) -> None:
    """The button; a dialog says which stages will be made and how long they take."""
    kept = int(result.kept.sum())
    if st.button(
        f"Train stage 2 on {kept:,} mask{'' if kept == 1 else 's'}",
        type="primary",
        icon=":material/send:",
        key="filter:train",
        disabled=not kept,
        help="Shows what will be made and how long it takes before it starts"
        if kept
        else "These thresholds keep no mask",
    ):
        _dialog(run, config, kept, result.photos().kept)


@st.dialog("Train stage 2 on what is kept", icon=":material/model_training:")
def _dialog(run: Run, config: FilterConfig, kept: int, photos: int) -> None:
    st.write(f"{kept:,} masks of {photos:,} photos, kept by: {widgets.escape(describe(config))}.")
    try:
        jobs = list_jobs(run.path)
        coming = stage_jobs.coming_configs(run, jobs)[-1].with_overrides(overrides(config))
        with widgets.scan_progress() as on_progress:
            work = stage_states.stages_to_make(run, coming, with_needs((_STAGE,), coming), on_progress)
        st.caption(f"{describe_work(work, _STAGE)} {stage_states.time_needed(run, coming, work)}".rstrip())
        if "candidates" in work:
            st.warning("Stage 1 judges the masks anew first, so the scores will differ from those on show.")
        if any(job.state.is_active for job in jobs):
            st.info("It starts when the running job has ended.")
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
    """Compare what is on show with the run's own kept masks, (N,) bool; None if it was never filtered."""
    if kept_on_disk is None:
        st.caption("This run was not filtered yet. Nothing is written before you train.")
        return
    differing, total = int(np.count_nonzero(kept_on_disk != result.kept)), int(kept_on_disk.sum())
    if differing:
        st.caption(
            f":orange[●] The run itself keeps {total:,} masks, with other thresholds or before the latest decisions. "
            f"{differing:,} masks differ from what is shown. Training uses what is shown."
        )
    else:
        st.caption(f":green[●] The run itself keeps the same {total:,} masks.")
