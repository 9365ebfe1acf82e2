"""The table of clusters, and what can be done with those that are ticked: merge, split, exclude, select."""

from typing import Any

import streamlit as st

from app import selection, session
from app.clusters import mask_selection, splitting, undo_buttons
from app.clusters.cluster_stats import ClusterRow, read_cluster_stats
from app.clusters.cluster_table import cluster_table
from app.clusters.redraw import Part, change_run, change_selection, redraw, selected_clusters
from app.images.crops import crop_url
from app.mask_detail.dialog import open_mask
from app.run_view import DecisionView, RunView
from maskdistill.review import decisions
from maskdistill.review.selections import field_text


def draw(run_view: RunView, decisions_now: DecisionView) -> None:
    """Buttons, then the table."""
    rows = read_cluster_stats(run_view, decisions_now).rows
    ticked = [row for row in rows if row.cluster in _ticked(run_view)]
    has_truth = any(row.purity is not None for row in rows)
    _buttons(run_view, decisions_now, ticked)
    cluster_table(
        rows,
        crop=lambda mask_id: crop_url(run_view, mask_id),
        truth_name=run_view.table.truth_names.__getitem__ if has_truth else None,
        ticked=[row.cluster for row in ticked],
        selected={row.cluster for row in rows} & selected_clusters(),
        key="clusters:table",
        on_action=lambda action: _act(run_view, decisions_now, action),
    )
    _name_doubtful(run_view, decisions_now, {row.cluster for row in rows})
    if has_truth:
        st.caption("Purity is measured with ground truth, for reporting only: no stage sees it.")
    if decisions_now.classes is not None and decisions_now.classes.dormant:
        st.caption(
            f"{decisions_now.classes.dormant} earlier changes belong to another clustering. They count again if that "
            "clustering is used again."
        )


def _name_doubtful(run_view: RunView, decisions_now: DecisionView, shown: set[int]) -> None:
    """Say which clusters look like bad masks, unless people took over another clustering."""
    classes = decisions_now.classes
    found = (run_view.clusters or {}).get("doubtful", {}) if classes is None or not classes.numbering.base else {}
    doubtful = [int(number) for number in found if int(number) in shown]
    if not doubtful:
        return
    named = ", ".join(f"{decisions_now.name_of(number)} ({found[str(number)]:.0%})" for number in doubtful)
    left_out = classes is not None and classes.left_out.issuperset(doubtful)
    after = "They are left out of the classes; *Include* takes them back." if left_out else "*Exclude* leaves them out."
    st.caption(
        f":material/warning: These look like bad masks: {named}. Given is how far their masks stand out from what is "
        f"around them and keep off the photo's border, compared with the run's median mask. {after}"
    )


def _ticked(run_view: RunView) -> set[int]:
    owner, clusters = session.recall(session.Key.TICKED, ("", set()))
    return clusters if owner == run_view.run.name else set()


def _tick(run_view: RunView, clusters: set[int]) -> None:
    session.remember(session.Key.TICKED, (run_view.run.name, clusters))


def _act(run_view: RunView, decisions_now: DecisionView, action: dict[str, Any]) -> None:
    kind = action.get("kind")
    if kind == "tick":
        _tick(run_view, {int(cluster) for cluster in action["clusters"]})
        redraw(Part.BELOW)
    if kind == "open":
        open_mask(int(action["mask"]))
    if kind == "rename":
        cluster, name = int(action["cluster"]), str(action["name"])
        change_run(decisions.rename, run_view.run, selection.reviewer(), cluster, name, seen=decisions_now.seen)
    if kind == "select":
        _select(run_view, decisions_now, [int(action["cluster"])], add=bool(action.get("add")))


def _buttons(run_view: RunView, decisions_now: DecisionView, ticked: list[ClusterRow]) -> None:
    numbers = [row.cluster for row in ticked]
    excluded = bool(ticked) and all(row.excluded for row in ticked)
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.button(
            "Merge",
            icon=":material/merge:",
            key="clusters:merge",
            disabled=len(ticked) < 2,
            help="Merge the ticked clusters into the one of the lowest number",
            on_click=_merge,
            args=(run_view, decisions_now, numbers),
        )
        if st.button(
            "Split …",
            icon=":material/call_split:",
            key="clusters:split",
            disabled=len(ticked) != 1 or ticked[0].size < 2,
            help="Cluster the masks of the ticked cluster again. You see the parts before anything is changed",
        ):
            splitting.show(run_view, decisions_now, numbers[0])
        st.button(
            "Include" if excluded else "Exclude",
            icon=":material/add_circle:" if excluded else ":material/block:",
            key="clusters:exclude",
            disabled=not ticked,
            help="An excluded cluster is background to the first model. It can be undone",
            on_click=change_run,
            args=(_exclude, run_view, decisions_now, ticked, not excluded),
        )
        st.button(
            "Select masks",
            icon=":material/select_all:",
            key="clusters:select",
            disabled=not ticked,
            on_click=_select,
            args=(run_view, decisions_now, numbers),
        )
        st.caption(_summary(ticked), width="content")
        if ticked:
            undo_buttons.draw(run_view.run, "table")


def _summary(ticked: list[ClusterRow]) -> str:
    if not ticked:
        return "Tick clusters to merge, split or exclude them. Click a name to change it, a row to select its masks."
    return f"{len(ticked)} ticked, {sum(row.size for row in ticked):,} masks"


def _merge(run_view: RunView, decisions_now: DecisionView, numbers: list[int]) -> None:
    _tick(run_view, {min(numbers)})
    if selected_clusters() & set(numbers):
        selection.select(picked=field_text("cluster", [min(numbers)]), cluster=min(numbers))
    change_run(decisions.merge, run_view.run, selection.reviewer(), numbers, seen=decisions_now.seen)


def _exclude(run_view: RunView, decisions_now: DecisionView, ticked: list[ClusterRow], excluded: bool) -> None:
    for row in ticked:
        if row.excluded != excluded:
            decisions.exclude(run_view.run, selection.reviewer(), row.cluster, excluded, seen=decisions_now.seen)


def _select(run_view: RunView, decisions_now: DecisionView, numbers: list[int], *, add: bool = False) -> None:
    text = field_text("cluster", numbers)
    change_selection(lambda: mask_selection.select_masks(run_view, decisions_now, text, add=add))
