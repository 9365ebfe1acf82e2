"""Buttons for the selection: what a person says of all these masks at once, as one step that can be undone."""

import numpy as np
import streamlit as st

from app import selection
from app.clusters.undo_buttons import tell
from app.run_view import DecisionView, RunView
from maskdistill.review import decisions
from maskdistill.review.decisions import Action, Mark, Scope
from maskdistill.review.selections import field_text

_NEW = 0  # in place of a cluster's number


def draw(run_view: RunView, decisions_now: DecisionView, mask_ids: np.ndarray) -> None:
    """The buttons.

    Args:
        run_view: The run.
        decisions_now: What people decided.
        mask_ids: The masks that the buttons act on.
    """
    count = f"{len(mask_ids):,}"
    with st.container(horizontal=True, gap="small"):
        for action, word, icon in (
            (Action.REJECT, "Reject", ":material/close:"),
            (Action.ACCEPT, "Accept", ":material/check:"),
        ):
            st.button(
                f"{word} {count}",
                icon=icon,
                key=f"clusters:{action}",
                help=_HELP[action],
                on_click=_mark,
                args=(run_view, mask_ids, action),
            )
        with st.popover(
            f"Move {count} …", icon=":material/drive_file_move:", help="Into another cluster, or a new one"
        ):
            _move(run_view, decisions_now, mask_ids)


_HELP = {
    Action.REJECT: "Leave these masks out: no model learns from them. It counts from stage 1 on.",
    Action.ACCEPT: "Keep these masks whatever the filter says.",
}


def _move(run_view: RunView, decisions_now: DecisionView, mask_ids: np.ndarray) -> None:
    numbers = [_NEW, *(int(number) for number in np.unique(decisions_now.classes.assigned) if number > 0)]
    target = st.selectbox(
        "Into",
        numbers,
        index=None,
        key=f"clusters:target:{decisions_now.version}",
        format_func=lambda number: decisions_now.name_of(number) if number else "a new cluster",
        placeholder="Choose a cluster",
    )
    name = ""
    if target == _NEW:
        name = st.text_input(
            "Name", key=f"clusters:new name:{decisions_now.version}", placeholder="May be empty", max_chars=60
        )
    st.button(
        f"Move {len(mask_ids):,}",
        key="clusters:move",
        type="primary",
        disabled=target is None,
        on_click=_gather if target == _NEW else _mark,
        args=(run_view, mask_ids, name) if target == _NEW else (run_view, mask_ids, Action.RELABEL, target),
    )


def _gather(run_view: RunView, mask_ids: np.ndarray, name: str) -> None:
    rows = run_view.table.rows_of(mask_ids)
    ids = mask_ids[run_view.frame["vector"].to_numpy()[rows] >= 0].tolist()
    tell(lambda: _select_new(run_view, decisions.gather(run_view.run, selection.reviewer(), ids, name)))


def _select_new(run_view: RunView, _step: int) -> None:
    number = decisions.read_classes(run_view.run).num_classes
    selection.select(picked=field_text("cluster", [number]), cluster=number)


def _mark(run_view: RunView, mask_ids: np.ndarray, action: Action, cluster: int | None = None) -> None:
    rows = run_view.table.rows_of(mask_ids)
    frame = run_view.frame
    boxes = frame[["x", "y", "w", "h"]].to_numpy()[rows].tolist()
    images = frame["image_id"].to_numpy()[rows].tolist()
    marks = [
        Mark(mask_id, image, tuple(box), action, cluster)
        for mask_id, image, box in zip(mask_ids.tolist(), images, boxes, strict=True)
    ]
    tell(decisions.decide, run_view.run, selection.reviewer(), marks, scope=Scope.CLUSTERS)
