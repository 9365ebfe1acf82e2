"""The part of the Audit page that runs at every action: it answers the annotator, and draws what follows from it."""

import secrets
from functools import partial
from typing import Any

import streamlit as st

from app import selection, session, widgets
from app.audit import export_panel, summaries
from app.audit.annotator import sync
from app.audit.attendance import attendance, connection
from app.audit.label_store import LabelStore
from app.audit.mask_cards import Cards
from app.audit.queue import QueueSettings, queue_of
from app.audit.review_session import ReviewSession
from app.mask_detail.dialog import FRAGMENT, open_mask
from app.mask_editor.dialog import open_editor
from app.run_context import run_config
from app.run_view import RunView
from app.selection import Option
from app.session import Key


def open_session(run_view: RunView, store: LabelStore, settings: QueueSettings) -> ReviewSession:
    """The session's place in the queue: where it was, at the link's mask, or at the first one that is open."""
    before: ReviewSession | None = session.recall(Key.REVIEW)
    cards = Cards(run_view, store, settings, drawn=run_config(run_view.info).labels.masks == "stage1")
    selected = selection.current().mask
    if before is not None and before.cards.key == cards.key:
        before.forget_cached()
        if selected is not None:
            before.start(selected)
        return before
    queue = queue_of(run_view, store.labels, settings)
    name = session.recall(Key.AUDIT_SESSION) or secrets.token_hex(8)
    session.remember(Key.AUDIT_SESSION, name)
    review = ReviewSession(
        store, settings, queue, cards, session=name, connection=connection(), attendance=attendance()
    )
    if before is not None:
        review.take_over(before)
    linked = selection.option(Option.AT)
    review.start(selected if selected is not None else int(linked) if linked.isdecimal() else None)
    session.remember(Key.REVIEW, review)
    return review


@st.fragment
@widgets.show_errors()
def draw(review: ReviewSession) -> None:
    """Answer the annotator; below it, clusters to reject, agreement, and the uses of the decisions."""
    sync(
        review,
        key="audit-sync",
        on_message=partial(_apply, review),
        on_detail=partial(_open, review),
        on_edit=partial(_edit, review),
    )
    with st.container(key="audit-below"):
        _draw_below(review)
    selection.write_link()


def _draw_below(review: ReviewSession) -> None:
    if not review.is_current():
        st.info(
            "A stage of this run was made anew, or its clusters were replaced. "
            "Your decisions stand; the order is the one before."
        )
        if st.button("Use the new order", icon=":material/refresh:"):
            st.rerun()
    summaries.draw_rejected(review)
    agreement = st.expander(
        "Agreement between two people", icon=":material/group:", key=Key.AUDIT_AGREEMENT, on_change="rerun"
    )
    if agreement.open:
        with agreement:
            summaries.draw_agreement(review.store.labels, review.settings.reviewer)
    export = st.expander(
        "Export: label maps, CSV, masks", icon=":material/output:", key=Key.AUDIT_EXPORT, on_change="rerun"
    )
    if export.open:
        with export:
            export_panel.draw(review.cards.run_view)


def _apply(review: ReviewSession, message: dict[str, Any]) -> None:
    review.apply_message(message)
    if message.get("settled") and review.at is not None:  # not at every action: each link is a step of Back
        frame = review.cards.run_view.frame
        selection.set_option(Option.AT, str(frame["mask_id"].iat[review.at]))
        selection.select(photo=str(frame["image_id"].iat[review.at]))


def _open(review: ReviewSession, mask_id: int) -> None:
    if not review.may_see_others(mask_id):
        review.notice = "The details show the labels of others: decide on this mask first."
    else:
        open_mask(mask_id)


def _edit(review: ReviewSession, mask_id: int, drawn: bool) -> None:
    row = int(review.cards.run_view.table.rows_of([mask_id])[0])
    selection.select(photo=str(review.cards.run_view.frame["image_id"].iat[row]))
    open_editor(mask_id, drawn=drawn, fragment=FRAGMENT)
