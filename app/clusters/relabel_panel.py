"""Buttons for the selection: what a person decides about all these masks at once, as one step that can be undone."""

from typing import Any

import numpy as np
import streamlit as st

from app import selection, widgets
from app.clusters.redraw import change_run
from app.run_view import DecisionView, RunView
from maskdistill.review import decisions
from maskdistill.review.decisions import Action, Mark, Scope
from maskdistill.review.selections import field_text

_NEW = 0  # in place of a cluster's number
_BUTTONS = (
    (Action.REJECT, "Reject", "close", "Leave these masks out: no model learns from them, from stage 1 on."),
    (Action.ACCEPT, "Accept", "check", "Keep these masks whatever the filter says."),
)


def draw(run_view: RunView, decisions_now: DecisionView, mask_ids: np.ndarray) -> None:
    """The buttons.

    Args:
        run_view: The run.
        decisions_now: What people decided.
        mask_ids: The masks that the buttons act on.
    """
    count = f"{len(mask_ids):,}"
    with st.container(horizontal=True, gap="small"):
        for action, label, icon, help_text in _BUTTONS:
            st.button(
                f"{label} {count}",
                icon=f":material/{icon}:",
                key=f"clusters:{action}",
                help=help_text,
                on_click=change_run,
                args=(_mark, run_view, decisions_now, mask_ids, action),
            )
        with st.popover(
            f"Move {count} …", icon=":material/drive_file_move:", help="Into another cluster, or a new one"
        ):
            _move(run_view, decisions_now, mask_ids)


def _move(run_view: RunView, decisions_now: DecisionView, mask_ids: np.ndarray) -> None:
    assert decisions_now.classes is not None  # the masks are of its clusters
    numbers = [int(number) for number in np.flatnonzero(np.bincount(decisions_now.classes.assigned)) if number]
    names = {_NEW: "a new cluster"} | {number: decisions_now.name_of(number) for number in numbers}
    target = st.selectbox(
        "Into",
        list(names),
        index=None,
        key=f"clusters:target:{decisions_now.version}",
        format_func=names.__getitem__,  # Streamlit keeps what each key was given last as long as the session lives
        placeholder="Choose a cluster",
    )
    arguments: tuple[Any, ...] = (_mark, run_view, decisions_now, mask_ids, Action.RELABEL, target)
    if target == _NEW:
        key = f"clusters:new name:{decisions_now.version}"
        name = st.text_input("Name", key=key, placeholder="May be empty", max_chars=60)
        arguments = (_make_cluster, run_view, decisions_now, mask_ids, name)
    st.button(
        f"Move {len(mask_ids):,}",
        key="clusters:move",
        type="primary",
        disabled=target is None,
        on_click=change_run,
        args=arguments,
    )


def _make_cluster(run_view: RunView, decisions_now: DecisionView, mask_ids: np.ndarray, name: str) -> None:
    rows = run_view.table.rows_of(mask_ids)
    ids = mask_ids[run_view.frame["vector"].to_numpy()[rows] >= 0].tolist()
    step = decisions.gather(run_view.run, selection.reviewer(), ids, name, seen=decisions_now.seen)
    number, num_masks = decisions.made_cluster(run_view.run, step)
    widgets.notify_left_alone(len(ids) - num_masks)
    selection.select(picked=field_text("cluster", [number]), cluster=number)


def _mark(
    run_view: RunView, decisions_now: DecisionView, mask_ids: np.ndarray, action: Action, cluster: int | None = None
) -> None:
    rows, frame = run_view.table.rows_of(mask_ids), run_view.frame
    boxes = frame[["x", "y", "w", "h"]].take(rows).to_numpy().tolist()
    images = frame["image_id"].to_numpy()[rows].tolist()
    marks = [
        Mark(mask_id, image, tuple(box), action, cluster)
        for mask_id, image, box in zip(mask_ids.tolist(), images, boxes, strict=True)
    ]
    _, written = decisions.decide_unless_changed(
        run_view.run, selection.reviewer(), marks, scope=Scope.CLUSTERS, seen=decisions_now.seen
    )
    widgets.notify_left_alone(len(marks) - len(written))
