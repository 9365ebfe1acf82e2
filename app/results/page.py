"""The Results page below its title: the choice of a part, and what all parts have."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from app import cache, selection, session, widgets
from app.mask_detail.dialog import show_detail
from app.results import (
    cached_reads,
    choices,
    classes_view,
    photos_view,
    report_button,
    runs_view,
    stages_view,
    upload_view,
)
from app.run_view import RunView
from maskdistill.errors import MaskDistillError
from maskdistill.evaluation.label_names import LabelNames
from maskdistill.review.decisions import Scope
from maskdistill.stages.plan import read_record
from maskdistill.storage.run_folder import Run

VIEWS: dict[str, tuple[str, Callable[[RunView, LabelNames], None]]] = {
    "stages": ("Stages", stages_view.draw),
    "classes": ("Classes", classes_view.draw),
    "photos": ("Photos", photos_view.draw),
    "runs": ("Two runs", runs_view.draw),
    "new": ("New photos", upload_view.draw),
}


def draw(run_view: RunView) -> None:
    """Everything below the title."""
    top = st.container()
    try:
        names = cached_reads.names(run_view)
        outdated = why_outdated(run_view.run) if run_view.metrics else ""
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        view = _choose_view()
        _draw_backbone(run_view)
        report_button.draw_button(run_view.run)
    if outdated:
        st.warning(f"These metrics are out of date: {widgets.escape(outdated)}. Run the stage Evaluation again.")
        st.page_link("../pages/training.py", label="Open Training", icon=":material/model_training:")
    elif run_view.metrics is None and view != "new":
        _draw_unfinished(run_view)
    VIEWS[view][1](run_view, names)
    _draw_left_out(run_view)
    with top:
        widgets.notices()
    show_detail(run_view, Scope.LABELS)
    selection.write_link()


def _choose_view() -> str:
    chosen = selection.option(selection.Option.RESULTS, "stages", tuple(VIEWS))
    st.segmented_control(
        "Part of the page",
        list(VIEWS),
        required=True,
        format_func=lambda name: VIEWS[name][0],
        key=session.sync_widget("results:view", chosen),
        on_change=choices.keep(selection.Option.RESULTS, "results:view"),
        label_visibility="collapsed",
    )
    return chosen


def _draw_backbone(run_view: RunView) -> None:
    """A badge for weights that are not purely self-supervised."""
    backbone = run_view.info.get("backbone") or {}
    if "not purely self-supervised" in backbone.get("weights", ""):
        st.badge(
            f"{backbone['name']}: not purely self-supervised",
            icon=":material/info:",
            color="orange",
            help=backbone["weights"],
        )


@widgets.show_errors()
def _draw_left_out(run_view: RunView) -> None:
    """The ground truth that is in no metric."""
    found = cached_reads.left_out(run_view)
    photos = [(item["photo"], item["why"]) for item in found.get("first", [])]
    notes = [(item["file"], item["why"]) for item in found.get("notes", [])]
    widgets.draw_left_out([*photos, *notes], "label", found.get("count", 0) + len(notes))


def _draw_unfinished(run_view: RunView) -> None:
    trained = (run_view.run.path / "predictions.json").is_file()
    if trained:
        text = "This run is not evaluated yet."
    else:
        text = "No model of this run is trained yet, so only its masks and clusters are shown."
    st.info(f"{text} Run the missing stages on the Training page.", icon=":material/model_training:")
    st.page_link("../pages/training.py", label="Open Training", icon=":material/model_training:")


def why_outdated(run: Run) -> str:
    """Why metrics.json does not belong to the present label maps; empty if it does.

    Raises:
        RunError: If a record of the run is damaged.
    """
    needs = _evaluated_from(run.path, cache.stamp([run.stage_path("evaluation")]))
    if needs is None:
        return "the evaluation is running, or was stopped"
    changed = next((name for name, made in needs.items() if run.fingerprint_of(name) != made), "")
    return f"the stage {changed} was run again since" if changed else ""


@cache.newest(8)
def _evaluated_from(path: Path, stamp: str) -> dict[str, str] | None:
    """Fingerprints of the stages that the evaluation read; None if it is not finished. The file names each photo."""
    record = read_record(Run(path), "evaluation")
    return None if record is None else record["made_from"].get("from", {})
