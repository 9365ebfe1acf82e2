"""The part of the Audit page that runs at every stroke: it answers the desk, and draws what follows from it."""

from functools import partial
from typing import Any

import streamlit as st

from app import selection, session
from app.audit import export_panel, summaries
from app.audit.annotator import wire
from app.audit.label_store import ReviewLabels
from app.audit.mask_cards import Cards
from app.audit.queue import QueueSettings, queue_of
from app.audit.review_session import ReviewSession
from app.mask_detail.dialog import open_mask
from app.run_context import run_config
from app.run_view import RunView
from app.selection import Option
from app.session import Key


def open_session(run_view: RunView, labels: ReviewLabels, settings: QueueSettings) -> ReviewSession:
    """The session's place in the queue: where it was, or where one stopped, or at the link's mask."""
    before: ReviewSession | None = session.recall(Key.REVIEW)
    cards = Cards(run_view, labels, settings, drawn=run_config(run_view.info).labels.masks == "stage1")
    selected = selection.current().mask
    if before is not None and before.cards.key == cards.key:
        before.forget()
        if selected is not None:
            before.start(selected)
        return before
    review = ReviewSession(labels, settings, queue_of(run_view, labels, settings), cards)
    if before is not None:
        review.follow(before)
    linked = selection.option(Option.AT)
    review.start(selected if selected is not None else int(linked) if linked.isdecimal() else None)
    session.remember(Key.REVIEW, review)
    return review


@st.fragment
def draw(review: ReviewSession) -> None:
    """Answer the desk; below it, clusters that go wrong as a whole, agreement, and what becomes of the decisions."""
    wire(review, key="wire", on_say=partial(_listen, review), on_detail=partial(_open, review))
    with st.container(key="audit-below"):
        _draw_below(review)
    selection.write_link()


def _draw_below(review: ReviewSession) -> None:
    if not review.is_current():
        st.info("A stage of this run was made anew meanwhile. Your decisions stand; the order is of before.")
        if st.button("Take the new order", icon=":material/refresh:"):
            st.rerun()
    summaries.draw_rejected(review)
    agreement = st.expander(
        "Agreement between two people", icon=":material/group:", key=Key.AUDIT_AGREEMENT, on_change="rerun"
    )
    if agreement.open:
        with agreement:
            summaries.draw_agreement(review.ledger, review.way.reviewer)
    hand_over = st.expander(
        "Hand over: label maps, CSV, exports", icon=":material/output:", key=Key.AUDIT_EXPORT, on_change="rerun"
    )
    if hand_over.open:
        with hand_over:
            export_panel.draw(review.cards.found)


def _listen(review: ReviewSession, message: dict[str, Any]) -> None:
    review.hear(message)
    if message.get("rest") and review.at is not None:  # not at every stroke: each link is a step of Back
        frame = review.cards.found.frame
        selection.set_option(Option.AT, str(frame["mask_id"].iat[review.at]))
        selection.select(photo=str(frame["image_id"].iat[review.at]))


def _open(review: ReviewSession, mask_id: int) -> None:
    if not review.may_see_others(mask_id):
        review.notice = "Its details tell what others said of it: say your word first."
    else:
        open_mask(mask_id)
