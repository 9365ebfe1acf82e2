"""One mask in detail, from any page: what is known of it, the masks most similar to it, and decisions on it.

A page calls ``show_detail`` once, at its end, and gives ``open_mask`` as what a click on a crop does: only the dialog
is drawn then, not the page. After a decision the page is drawn anew when the dialog is closed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app import selection, session, widgets
from app.components.image_grid import Tile, image_grid
from app.images.crops import crop_url
from app.mask_detail import html
from app.mask_detail.facts import Verdict
from app.mask_detail.picture import draw_picture
from app.mask_editor import dialog as mask_editor
from app.run_view import DecisionView, RunView, decision_view
from maskdistill.clustering.neighbors import nearest
from maskdistill.errors import MaskDistillError
from maskdistill.pictures import colors
from maskdistill.review import decisions
from maskdistill.review.decisions import Action, Mark, Scope

Preview = Callable[[RunView, int], Verdict | None]  # a mask's verdict by the thresholds on the page, by its id
FRAGMENT = "detail"
_NUM_NEIGHBORS = 12
_MAX_HEIGHT = 420  # CSS pixels of the photo
_NOTHING = "Nothing to undo."


@dataclass(frozen=True, eq=False)
class _Detail:
    """The mask on show, and where decisions on it go."""

    run_view: RunView
    decisions_now: DecisionView
    row: int  # of the table
    scope: Scope
    key: str  # before the keys of its widgets

    @property
    def undone(self) -> tuple[Scope, ...]:
        """What Undo takes back here: decisions, and the shapes that were mended."""
        return (self.scope, Scope.MASKS)

    @property
    def mask(self) -> Any:
        """The mask's row of the table."""
        return self.run_view.frame.iloc[self.row]


def open_mask(mask_id: int) -> None:
    """Callback: show a mask's detail, without drawing the page again."""
    selection.select(mask=mask_id)
    st.rerun(FRAGMENT)


@st.fragment(key=FRAGMENT)
@widgets.show_errors()
def show_detail(run_view: RunView, scope: Scope, preview: Preview | None = None) -> None:
    """Open the dialog on the selected mask, if there is one; closing it clears the selection.

    Args:
        run_view: The run.
        scope: From where on decisions made here count.
        preview: A mask's verdict by the thresholds on the page, by its id; None where they do not apply to it.
    """
    if mask_editor.is_open():
        mask_editor.draw_dialog(run_view)
    elif selection.current().mask is not None:
        session.remember(session.Key.DETAIL_VERSION, decisions.version(run_view.run))
        _dialog(run_view, scope, preview)
    selection.write_link()


def _dismiss(run_view: RunView) -> None:
    selection.select(mask=None)
    if decisions.version(run_view.run) != session.recall(session.Key.DETAIL_VERSION):
        st.rerun()  # the page beneath shows what was decided


def _dialog(run_view: RunView, scope: Scope, preview: Preview | None) -> None:
    @st.dialog("Mask", width="large", icon=":material/center_focus_strong:", on_dismiss=lambda: _dismiss(run_view))
    def opened() -> None:
        mask_id = selection.current().mask
        if mask_id is None:
            return
        if run_view.table.has(mask_id):  # pages that show photos go to the mask's
            selection.select(photo=run_view.frame["image_id"].iat[run_view.table.rows_of([mask_id])[0]])
        draw_detail(run_view, mask_id, scope=scope, preview=preview)
        selection.write_link()

    opened()


def draw_detail(
    run_view: RunView, mask_id: int, *, scope: Scope, key: str = "detail", preview: Preview | None = None
) -> None:
    """Draw all that is known of a mask, and the buttons to decide on it.

    Args:
        run_view: The run.
        mask_id: The mask.
        scope: From where on decisions made here count.
        key: Before the keys of its widgets.
        preview: As in ``show_detail``.
    """
    if not run_view.table.has(mask_id):
        st.info(f"The run has no mask {mask_id}. The masks may have been made anew: choose another one.")
        return
    try:
        now = decision_view(run_view)
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        return
    row = int(run_view.table.rows_of([mask_id])[0])
    detail = _Detail(run_view, now, row, scope, key)
    st.html(Path(__file__).with_suffix(".css"))
    left, right = st.columns([11, 9], gap="medium")
    with left:
        draw_picture(run_view, mask_id, key=f"{key}:view", max_height=_MAX_HEIGHT)
        _draw_neighbors(detail)
    with right:
        previewed = preview and preview(run_view, mask_id)
        st.html(html.head(run_view, now, row) + html.verdict(run_view, now, row, previewed))
        _draw_buttons(detail)
        _draw_relabel(detail)
        for problem in session.take_notices():  # of the buttons
            st.error(widgets.escape(problem))
        st.html(html.bars(run_view, row) + html.history(run_view, mask_id))


def _draw_buttons(detail: _Detail) -> None:
    effective = detail.decisions_now.effective
    decision, relabeled = int(effective.decision[detail.row]), effective.cluster[detail.row] > 0
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        for action, icon, is_current in (
            (Action.ACCEPT, ":material/check:", decision > 0 and not relabeled),
            (Action.REJECT, ":material/close:", decision < 0),
        ):
            st.button(
                action.capitalize(),
                key=f"{detail.key}:{action}",
                icon=icon,
                type="primary" if is_current else "secondary",
                on_click=_decide,
                args=(detail, action),
            )
        st.button(
            "Mend",
            key=f"{detail.key}:mend",
            icon=":material/draw:",
            help="Another shape, by clicks",
            shortcut="e",
            on_click=partial(mask_editor.open_editor, int(detail.mask["mask_id"]), fragment=FRAGMENT),
        )
        _draw_undo(detail)
        st.caption(f"as {widgets.escape(selection.reviewer())}", width="content")


def _draw_relabel(detail: _Detail) -> None:
    classes = detail.decisions_now.classes
    if classes is None:
        return
    key = f"{detail.key}:relabel"

    def chosen() -> None:
        cluster = session.widget_value(key)
        session.put_widget(key, None)
        if cluster is not None:
            _decide(detail, Action.RELABEL, cluster)

    numbers = np.flatnonzero(np.bincount(np.maximum(classes.cluster, 0))[1:]) + 1
    st.selectbox(
        "Relabel",
        [int(number) for number in numbers if number != detail.decisions_now.cluster[detail.row]],
        index=None,
        key=key,
        format_func=detail.decisions_now.name_of,
        placeholder="Relabel as …",
        label_visibility="collapsed",
        on_change=chosen,
    )


def _draw_undo(detail: _Detail) -> None:
    """Not disabled where nothing is left: Escape, pressed on a disabled button, would not close the dialog."""
    last = decisions.next_undo(detail.run_view.run, selection.reviewer(), scope=detail.undone)
    st.button(
        "Undo",
        key=f"{detail.key}:undo",
        icon=":material/undo:",
        help=_NOTHING if last is None else f"Reverts: {widgets.escape(last.text)}",
        on_click=_undo,
        args=(detail, last),
    )


def _undo(detail: _Detail, last: decisions.Step | None) -> None:
    if last is None:
        session.notify(_NOTHING)
        return
    run, reviewer = detail.run_view.run, selection.reviewer()
    widgets.attempt(lambda: decisions.undo(run, reviewer, scope=detail.undone, expected=last.id))


def _decide(detail: _Detail, action: Action, cluster: int | None = None) -> None:
    mask = detail.mask
    x, y, width, height = (int(mask[name]) for name in "xywh")
    mark = Mark(int(mask["mask_id"]), mask["image_id"], (x, y, width, height), action, cluster)
    widgets.attempt(lambda: decisions.decide(detail.run_view.run, selection.reviewer(), [mark], scope=detail.scope))


def _draw_neighbors(detail: _Detail) -> None:
    st.html(html.heading("Nearest in embedding space"))
    run_view, mask = detail.run_view, detail.mask
    if mask["vector"] < 0 or run_view.vectors is None:
        st.caption(f"This mask has no embedding{' yet' if mask['origin'] == 'proposal' else ': it is no proposal'}.")
        return
    rows, cosines = _nearest(run_view.run.path, run_view.stamp, int(mask["vector"]), run_view)
    image_grid(
        [_tile(detail, int(row), float(cosine)) for row, cosine in zip(rows, cosines, strict=True)],
        key=f"{detail.key}:near",
        size=84,
        label="Nearest masks",
        on_open=lambda mask_id: selection.select(mask=mask_id),
        empty="It is the only mask with an embedding.",
    )


@st.cache_data(max_entries=512, show_spinner=False)
def _nearest(path: Path, stamp: Any, vector: int, _run_view: RunView) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the table, and cosines."""
    assert _run_view.vectors is not None  # they are where a mask has a row of them
    near, cosines = nearest(_run_view.vectors, vector, _NUM_NEIGHBORS)
    return _run_view.row_of_vector[near], cosines


def _tile(detail: _Detail, row: int, cosine: float) -> Tile:
    frame, now = detail.run_view.frame, detail.decisions_now
    mask_id, cluster = int(frame["mask_id"].to_numpy()[row]), int(now.cluster[row])
    name = now.name_of(cluster) if cluster else "no cluster"
    return Tile(
        mask_id,
        crop_url(detail.run_view, mask_id),
        badge=f"{cosine:.2f}",
        color=colors.cluster_color(cluster),
        title=f"photo {frame['image_id'].iat[row]}, {name}, cosine {cosine:.3f}",
    )
