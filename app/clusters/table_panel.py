"""The table of clusters, and what can be done with those that are ticked: merge, split, exclude, select."""

from typing import Any

import streamlit as st

from app import mask_selection, selection, session
from app.clusters import splitting, undo_buttons
from app.clusters.cluster_stats import Line, book
from app.clusters.cluster_table import cluster_table
from app.clusters.redraw import Part, chosen_clusters, redraw, redraw_selection
from app.clusters.undo_buttons import tell
from app.images.crops import crop_url
from app.mask_detail.dialog import open_mask
from app.run_view import Decided, Explorer
from maskdistill.review import decisions
from maskdistill.review.selections import field_text


def draw(found: Explorer, done: Decided) -> None:
    """Buttons, then the table."""
    lines = book(found, done).lines
    there = {line.cluster for line in lines}
    ticked = [line for line in lines if line.cluster in _ticked(found)]
    _buttons(found, done, ticked)
    names = found.table.truth_names
    cluster_table(
        lines,
        crop=lambda mask_id: crop_url(found, mask_id),
        truth_name=(lambda number: names[number]) if any(line.purity is not None for line in lines) else None,
        ticked=[line.cluster for line in ticked],
        chosen=there & chosen_clusters(),
        key="clusters:table",
        on_act=lambda act: _act(found, done, act),
    )
    if any(line.purity is not None for line in lines):
        st.caption("Purity is measured with ground truth, for reporting only: no stage sees it.")
    if done.classes is not None and done.classes.dormant:
        st.caption(
            f"{done.classes.dormant} earlier changes speak of another clustering and wait: they count again if that "
            "clustering comes back."
        )


def _ticked(found: Explorer) -> set[int]:
    owner, clusters = session.recall(session.Key.TICKED, ("", set()))
    return clusters if owner == found.run.name else set()


def _tick(found: Explorer, clusters: set[int]) -> None:
    session.remember(session.Key.TICKED, (found.run.name, clusters))


def _act(found: Explorer, done: Decided, act: dict[str, Any]) -> None:
    kind = act.get("kind")
    if kind == "tick":
        _tick(found, {int(cluster) for cluster in act["clusters"]})
        redraw(Part.BELOW)
    if kind == "open":
        open_mask(int(act["mask"]))
    if kind == "rename":
        tell(decisions.rename, found.run, selection.reviewer(), int(act["cluster"]), str(act["name"]))
    if kind == "select":
        before = chosen_clusters()
        mask_selection.pick(found, done, field_text("cluster", [int(act["cluster"])]), add=bool(act.get("add")))
        redraw_selection(before)


def _buttons(found: Explorer, done: Decided, ticked: list[Line]) -> None:
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
            args=(found, numbers),
        )
        if st.button(
            "Split …",
            icon=":material/call_split:",
            key="clusters:split",
            disabled=len(ticked) != 1 or ticked[0].size < 2,
            help="Cluster the masks of the ticked cluster again, and look at the parts before it is done",
        ):
            splitting.show(found, done, numbers[0])
        st.button(
            "Include" if excluded else "Exclude",
            icon=":material/add_circle:" if excluded else ":material/block:",
            key="clusters:exclude",
            disabled=not ticked,
            help="A cluster that is excluded is background to the first model. Each is a step that can be undone",
            on_click=_exclude,
            args=(found, ticked, not excluded),
        )
        st.button(
            "Select masks",
            icon=":material/select_all:",
            key="clusters:select",
            disabled=not ticked,
            on_click=_select,
            args=(found, done, numbers),
        )
        st.caption(_told(ticked), width="content")
        if ticked:
            undo_buttons.draw(found.run, "table")


def _told(ticked: list[Line]) -> str:
    if not ticked:
        return "Tick clusters to merge, split or exclude them. Click a name to change it, a row to select its masks."
    return f"{len(ticked)} ticked, {sum(line.size for line in ticked):,} masks"


def _merge(found: Explorer, numbers: list[int]) -> None:
    _tick(found, {min(numbers)})
    if chosen_clusters() & set(numbers):
        selection.select(picked=field_text("cluster", [min(numbers)]), cluster=min(numbers))
    tell(decisions.merge, found.run, selection.reviewer(), numbers)


def _exclude(found: Explorer, ticked: list[Line], excluded: bool) -> None:
    def all_of_them() -> None:
        for line in ticked:
            if line.excluded != excluded:
                decisions.exclude(found.run, selection.reviewer(), line.cluster, excluded)

    tell(all_of_them)


def _select(found: Explorer, done: Decided, numbers: list[int]) -> None:
    before = chosen_clusters()
    mask_selection.pick(found, done, field_text("cluster", numbers))
    redraw_selection(before)
