"""Uses of the decisions: label maps made with them, a CSV of them, exports of what is kept."""

import streamlit as st

from app import session, stage_jobs, stage_states, widgets
from app.run_view import RunView
from app.stage_names import describe_work
from maskdistill.config import RunConfig
from maskdistill.errors import MaskDistillError
from maskdistill.jobs import list_jobs
from maskdistill.review import decisions
from maskdistill.stages.stage_list import with_needs
from maskdistill.storage.run_folder import Run

_LABEL_MAPS = "pseudo_labels"


def draw(run_view: RunView) -> None:
    """Whether filter and label maps use all decisions, with a button that makes them; downloads and commands."""
    left, right = st.columns(2, gap="large")
    with left:
        _draw_labels(run_view.run)
    with right:
        st.download_button(
            "Decisions as CSV",
            data=lambda: decisions.to_csv(run_view.run),
            file_name=f"{run_view.run.name}-decisions.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
        st.caption("Every decision with its time, name, photo, mask and class, undone ones too. To export kept masks:")
        st.code(
            f"maskdistill export --run {run_view.run.path} --format coco --out DIR --kept-only",
            language=None,
            wrap_lines=True,
        )


def _draw_labels(run: Run) -> None:
    if not run.candidates_path.is_file():
        st.write(
            "The first model has not judged the masks yet, so no filter has run. When it runs, accepted masks are kept "
            "and rejected ones dropped, whatever its thresholds."
        )
        return
    jobs = list_jobs(run.path)
    if any(job.state.is_active for job in jobs):
        st.info("A job of this run is at work; the sidebar shows its progress.", icon=":material/hourglass_top:")
        return
    try:
        config = stage_jobs.coming_configs(run, jobs)[-1]
        with st.spinner("Checking the stages …"):
            work = stage_states.stages_to_make(run, config, with_needs((_LABEL_MAPS,), config))
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        return
    if work:
        _offer_label_maps(run, config, work)
    else:
        st.success("Filter and label maps use all decisions.", icon=":material/check_circle:")
        st.page_link("../pages/training.py", label="Train stage 2 on them", icon=":material/model_training:")


def _offer_label_maps(run: Run, config: RunConfig, work: list[str]) -> None:
    st.warning(
        "The label maps were made with older decisions or settings. Made again, they keep accepted masks, leave out "
        "rejected ones, and give moved ones their new class.",
        icon=":material/update:",
    )
    st.caption(f"{describe_work(work, _LABEL_MAPS)} {stage_states.time_needed(run, config, work)}".rstrip())
    if st.button("Make label maps", key="audit label maps", type="primary", icon=":material/format_paint:"):
        _start(run, config)


def _start(run: Run, config: RunConfig) -> None:
    try:
        stage_jobs.start(run, config, _LABEL_MAPS)
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        return
    session.notify("The label maps are made in the background; the sidebar shows the progress.")
    st.rerun()
