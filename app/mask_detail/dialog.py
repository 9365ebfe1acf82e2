"""One mask in detail, the same wherever it is met: what is known of it, what lies near it, and what people say of it.

A page calls ``show_detail`` once, at its end, and gives ``open_mask`` as what a click on a crop does: only the dialog
is drawn then, not the page. After a decision the page is drawn anew when the dialog is closed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app import selection, session, widgets
from app.components.image_grid import Tile, image_grid
from app.components.mask_view import mask_view
from app.images import colors
from app.images.crops import crop_url
from app.mask_detail import html
from app.mask_detail.facts import Verdict
from app.run_view import DecisionView, RunView, decision_view
from maskdistill.clustering.neighbors import nearest
from maskdistill.errors import MaskDistillError
from maskdistill.review import decisions
from maskdistill.review.decisions import Action, Mark, Scope

OnShow = Callable[[RunView, int], Verdict | None]  # what a page's own thresholds say of a mask, by its id
_FRAGMENT = "detail"
_NUM_NEIGHBOURS = 12
_MAX_HEIGHT = 420  # CSS pixels of the photo
_NOTHING = "Nothing of yours is left to undo."
_STEPS_BACK = 30  # within which the step that Undo takes back is looked for


def open_mask(mask_id: int) -> None:
    """Callback: show a mask's detail, without drawing the page again."""
    selection.select(mask=mask_id)
    st.rerun(_FRAGMENT)


@st.fragment(key=_FRAGMENT)
def show_detail(run_view: RunView, scope: Scope, on_show: OnShow | None = None) -> None:
    """Open the dialog on the selected mask, if there is one; closing it forgets the selection.

    Args:
        run_view: The run.
        scope: From where on decisions made here count.
        on_show: What the page's own thresholds say of a mask, by its id; None where they do not reach it.
    """
    if selection.current().mask is not None:
        session.remember(session.Key.DETAIL_VERSION, decisions.version(run_view.run))
        _dialog(run_view, scope, on_show)
    selection.write_link()


def _dismiss(run_view: RunView) -> None:
    selection.select(mask=None)
    if decisions.version(run_view.run) != session.recall(session.Key.DETAIL_VERSION):
        st.rerun()  # the page beneath shows what was decided


def _dialog(run_view: RunView, scope: Scope, on_show: OnShow | None) -> None:
    @st.dialog("Mask", width="large", icon=":material/center_focus_strong:", on_dismiss=lambda: _dismiss(run_view))
    def opened() -> None:
        mask_id = selection.current().mask
        if mask_id is None:
            return
        if run_view.table.has(mask_id):  # the photo follows to pages that show photos
            selection.select(photo=run_view.frame["image_id"].iat[run_view.table.rows_of([mask_id])[0]])
        draw_detail(run_view, mask_id, scope=scope, on_show=on_show)
        selection.write_link()

    opened()


def draw_detail(
    run_view: RunView,
    mask_id: int,
    *,
    scope: Scope,
    key: str = "detail",
    on_show: OnShow | None = None,
) -> None:
    """Draw everything there is to know of a mask, and the buttons to decide on it.

    Args:
        run_view: The run.
        mask_id: The mask.
        scope: From where on decisions made here count.
        key: Before the keys of its widgets.
        on_show: As ``show_detail`` has it.
    """
    if not run_view.table.has(mask_id):
        st.info(f"The run has no mask {mask_id}. The masks may have been made anew: choose another one.")
        return
    try:
        found = decision_view(run_view)
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        return
    st.html(Path(__file__).with_suffix(".css"))
    row = int(run_view.table.rows_of([mask_id])[0])
    left, right = st.columns([11, 9], gap="medium")
    with left:
        mask_view(run_view, mask_id, key=f"{key}:view", max_height=_MAX_HEIGHT)
        _neighbours(run_view, found, row, key)
    with right:
        st.html(
            html.head(run_view, found, row) + html.verdict(run_view, found, row, on_show and on_show(run_view, mask_id))
        )
        _buttons(run_view, found, row, scope, key)
        st.html(html.bars(run_view, row) + html.history(run_view, mask_id))


def _buttons(run_view: RunView, found: DecisionView, row: int, scope: Scope, key: str) -> None:
    decision, label = int(found.effective.decision[row]), int(found.effective.cluster[row])
    looks = {True: "primary", False: "secondary"}
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.button(
            "Accept",
            key=f"{key}:accept",
            icon=":material/check:",
            type=looks[decision > 0 and not label],
            on_click=lambda: _decide(run_view, row, Action.ACCEPT, scope),
        )
        st.button(
            "Reject",
            key=f"{key}:reject",
            icon=":material/close:",
            type=looks[decision < 0],
            on_click=lambda: _decide(run_view, row, Action.REJECT, scope),
        )
        _undo_button(run_view, scope, key)
        st.caption(f"as {widgets.escape(selection.reviewer())}", width="content")
    _relabel(run_view, found, row, scope, key)
    error = session.recall(session.Key.DETAIL_ERROR)
    if error:
        st.error(widgets.escape(error))
        session.remember(session.Key.DETAIL_ERROR, None)


def _relabel(run_view: RunView, found: DecisionView, row: int, scope: Scope, key: str) -> None:
    if found.classes is None:
        return
    box = f"{key}:relabel"

    def chosen() -> None:
        cluster = session.widget_value(box)
        session.put_widget(box, None)
        if cluster is not None:
            _decide(run_view, row, Action.RELABEL, scope, cluster)

    there = np.flatnonzero(np.bincount(np.maximum(found.classes.cluster, 0))[1:]) + 1
    st.selectbox(
        "Relabel",
        [int(cluster) for cluster in there if cluster != found.cluster[row]],
        index=None,
        key=box,
        format_func=found.name_of,
        placeholder="Relabel as …",
        label_visibility="collapsed",
        on_change=chosen,
    )


def _undo_button(run_view: RunView, scope: Scope, key: str) -> None:
    """Not disabled where nothing is left: Escape, pressed on a disabled button, would not close the dialog."""
    own = decisions.steps(run_view.run, reviewer=selection.reviewer(), scope=scope, limit=_STEPS_BACK)
    last = next((step for step in own if not step.undone), None)
    st.button(
        "Undo",
        key=f"{key}:undo",
        icon=":material/undo:",
        help=_NOTHING if last is None else f"Takes back: {widgets.escape(last.text)}",
        on_click=lambda: _undo(run_view, scope),
    )


def _undo(run_view: RunView, scope: Scope) -> None:
    if _try(lambda: decisions.undo(run_view.run, selection.reviewer(), scope=scope)) is None:
        session.remember(session.Key.DETAIL_ERROR, session.recall(session.Key.DETAIL_ERROR) or _NOTHING)


def _decide(run_view: RunView, row: int, action: Action, scope: Scope, cluster: int | None = None) -> None:
    mask = run_view.frame.iloc[row]
    box = tuple(int(mask[name]) for name in "xywh")
    mark = Mark(int(mask["mask_id"]), mask["image_id"], box, action, cluster)
    _try(lambda: decisions.decide(run_view.run, selection.reviewer(), [mark], scope=scope))


def _try(act: Callable[[], Any]) -> Any:
    """Do it; what goes wrong is told in place at the next drawing, and None comes back."""
    try:
        return act()
    except MaskDistillError as error:
        session.remember(session.Key.DETAIL_ERROR, str(error))
        return None


def _neighbours(run_view: RunView, found: DecisionView, row: int, key: str) -> None:
    st.markdown("###### Nearest in embedding space")
    vector = int(run_view.frame["vector"].iat[row])
    if vector < 0 or run_view.vectors is None:
        seen = run_view.frame["origin"].iat[row] != "proposal"
        why = "Stage 1 sees it itself, and only proposals are embedded." if seen else "Its vector is not made yet."
        st.caption(f"This mask has no place there. {why}")
        return
    rows, cosines = _nearest(run_view.run.path, run_view.stamp, vector, run_view)
    tiles = [_tile(run_view, found, int(near), float(cosine)) for near, cosine in zip(rows, cosines, strict=True)]
    image_grid(
        tiles,
        key=f"{key}:near",
        size=84,
        label="Nearest masks",
        on_open=lambda mask_id: selection.select(mask=mask_id),
        empty="It is the only mask with a vector.",
    )


@st.cache_data(max_entries=512, show_spinner=False)
def _nearest(path: Path, stamp: Any, vector: int, _run_view: RunView) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the table, and cosines."""
    near, cosines = nearest(_run_view.vectors, vector, _NUM_NEIGHBOURS)
    return _run_view.row_of_vector[near], cosines


def _tile(run_view: RunView, found: DecisionView, row: int, cosine: float) -> Tile:
    mask_id, cluster = int(run_view.frame["mask_id"].iat[row]), int(found.cluster[row])
    name = found.name_of(cluster) if cluster else "no cluster"
    return Tile(
        mask_id,
        crop_url(run_view, mask_id),
        badge=f"{cosine:.2f}",
        color=colors.cluster_color(cluster),
        title=f"photo {run_view.frame['image_id'].iat[row]}, {name}, cosine {cosine:.3f}",
    )
