"""The Results page below its title: which part of it is on show, and what holds for all of them."""

from collections.abc import Callable

import streamlit as st

from app import selection, session, widgets
from app.mask_detail.dialog import show_detail
from app.results import cached_reads, choices, classes_view, photos_view, runs_view, stages_view, upload_view
from app.results.names import Names
from app.run_view import RunView
from maskdistill.errors import MaskDistillError
from maskdistill.review.decisions import Scope
from maskdistill.stages.chain import read_record
from maskdistill.storage.run_folder import Run

VIEWS: dict[str, tuple[str, Callable[[RunView, Names], None]]] = {
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
        old = stale_figures(run_view.run) if run_view.metrics else ""
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        view = _choose_view()
        _draw_backbone(run_view)
    if old:
        st.warning(f"The figures are of an earlier state: {old}. The stage Evaluation makes them anew.")
        st.page_link("../pages/training.py", label="Go on in Training", icon=":material/model_training:")
    elif run_view.metrics is None and view != "new":
        _draw_unfinished(run_view)
    VIEWS[view][1](run_view, names)
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
    """Whose features these results come from; some weights are not what the method's name promises."""
    backbone = run_view.info.get("backbone") or {}
    if "not purely self-supervised" in backbone.get("weights", ""):
        st.badge(
            f"{backbone['name']}: not purely self-supervised",
            icon=":material/info:",
            color="orange",
            help=backbone["weights"],
        )


def _draw_unfinished(run_view: RunView) -> None:
    trained = (run_view.run.path / "predictions.json").is_file()
    if trained:
        text = "The stages of this run were not compared yet: Evaluation does it."
    else:
        text = "Nothing of this run is trained yet, so this is what there is so far."
    st.info(f"{text} The Training page makes the stages, each in the background.", icon=":material/model_training:")
    st.page_link("../pages/training.py", label="Go on in Training", icon=":material/model_training:")


def stale_figures(run: Run) -> str:
    """Why metrics.json is not of the label maps that there are now; empty if it is.

    Raises:
        RunError: If a record of the run is damaged.
    """
    record = read_record(run, "evaluation")
    if record is None:
        return "the evaluation is being made, or was stopped"
    needs = record["made_from"].get("from", {})
    changed = next((name for name, made in needs.items() if run.fingerprint_of(name) != made), "")
    return f"{changed} was redone since" if changed else ""
