"""The table of clusters, and what can be done with those that are ticked: merge, split, exclude, select."""

from typing import Any

import streamlit as st

from app import selection, session
from app.clusters import mask_selection, splitting, undo_buttons
from app.clusters.cluster_stats import ClusterRow, book
from app.clusters.cluster_table import cluster_table
from app.clusters.redraw import Part, chosen_clusters, redraw, redraw_selection
from app.clusters.undo_buttons import tell
from app.images.crops import crop_url
from app.mask_detail.dialog import open_mask
from app.run_view import DecisionView, RunView
from maskdistill.review import decisions
from maskdistill.review.selections import field_text


def draw(run_view: RunView, decisions_now: DecisionView) -> None:
    """Buttons, then the table."""
    lines = book(run_view, decisions_now).lines
    there = {line.cluster for line in lines}
    ticked = [line for line in lines if line.cluster in _ticked(run_view)]
    _buttons(run_view, decisions_now, ticked)
    names = run_view.table.truth_names
    cluster_table(
        lines,
        crop=lambda mask_id: crop_url(run_view, mask_id),
        truth_name=(lambda number: names[number]) if any(line.purity is not None for line in lines) else None,
        ticked=[line.cluster for line in ticked],
        chosen=there & chosen_clusters(),
        key="clusters:table",
        on_act=lambda act: _act(run_view, decisions_now, act),
    )
    if any(line.purity is not None for line in lines):
        st.caption("Purity is measured with ground truth, for reporting only: no stage sees it.")
    if decisions_now.classes is not None and decisions_now.classes.dormant:
        st.caption(
            f"{decisions_now.classes.dormant} earlier changes speak of another clustering and wait: they count again "
            "if that clustering comes back."
        )


def _ticked(run_view: RunView) -> set[int]:
    owner, clusters = session.recall(session.Key.TICKED, ("", set()))
    return clusters if owner == run_view.run.name else set()


def _tick(run_view: RunView, clusters: set[int]) -> None:
    session.remember(session.Key.TICKED, (run_view.run.name, clusters))


def _act(run_view: RunView, decisions_now: DecisionView, act: dict[str, Any]) -> None:
    kind = act.get("kind")
    if kind == "tick":
        _tick(run_view, {int(cluster) for cluster in act["clusters"]})
        redraw(Part.BELOW)
    if kind == "open":
        open_mask(int(act["mask"]))
    if kind == "rename":
        tell(decisions.rename, run_view.run, selection.reviewer(), int(act["cluster"]), str(act["name"]))
    if kind == "select":
        before = chosen_clusters()
        mask_selection.pick(
            run_view, decisions_now, field_text("cluster", [int(act["cluster"])]), add=bool(act.get("add"))
        )
        redraw_selection(before)


def _buttons(run_view: RunView, decisions_now: DecisionView, ticked: list[ClusterRow]) -> None:
    numbers = [line.cluster for line in ticked]
    excluded = bool(ticked) and all(line.excluded for line in ticked)
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.button(
            "Merge",
            icon=":material/merge:",
            key="clusters:merge",
            disabled=len(ticked) < 2,
            help="Put the ticked clusters into the one of the lowest number",
            on_click=_merge,
            args=(run_view, numbers),
        )
        if st.button(
            "Split …",
            icon=":material/call_split:",
            key="clusters:split",
            disabled=len(ticked) != 1 or ticked[0].size < 2,
            help="Cluster the masks of the ticked cluster again, and look at the parts before it is done",
        ):
            splitting.show(run_view, decisions_now, numbers[0])
        st.button(
            "Include" if excluded else "Exclude",
            icon=":material/add_circle:" if excluded else ":material/block:",
            key="clusters:exclude",
            disabled=not ticked,
            help="A cluster that is excluded is background to the first model. Each is a step that can be undone",
            on_click=_exclude,
            args=(run_view, ticked, not excluded),
        )
        st.button(
            "Select masks",
            icon=":material/select_all:",
            key="clusters:select",
            disabled=not ticked,
            on_click=_select,
            args=(run_view, decisions_now, numbers),
        )
        st.caption(_told(ticked), width="content")
        if ticked:
            undo_buttons.draw(run_view.run, "table")


def _told(ticked: list[ClusterRow]) -> str:
    if not ticked:
        return "Tick clusters to merge, split or exclude them. Click a name to change it, a row to select its masks."
    return f"{len(ticked)} ticked, {sum(line.size for line in ticked):,} masks"


def _merge(run_view: RunView, numbers: list[int]) -> None:
    _tick(run_view, {min(numbers)})
    if chosen_clusters() & set(numbers):
        selection.select(picked=field_text("cluster", [min(numbers)]), cluster=min(numbers))
    tell(decisions.merge, run_view.run, selection.reviewer(), numbers)


def _exclude(run_view: RunView, ticked: list[ClusterRow], excluded: bool) -> None:
    def all_of_them() -> None:
        for line in ticked:
            if line.excluded != excluded:
                decisions.exclude(run_view.run, selection.reviewer(), line.cluster, excluded)

    tell(all_of_them)


def _select(run_view: RunView, decisions_now: DecisionView, numbers: list[int]) -> None:
    before = chosen_clusters()
    mask_selection.pick(run_view, decisions_now, field_text("cluster", numbers))
    redraw_selection(before)
