"""The part of the Audit page that runs at every stroke: it answers the desk, and draws what follows from it."""

from functools import partial
from typing import Any

import streamlit as st

from app import selection, session
from app.audit import export_panel, summaries
from app.audit.annotator import wire
from app.audit.label_store import Ledger
from app.audit.mask_cards import Cards
from app.audit.queue import Way, queue_of
from app.audit.review_session import Sitting
from app.mask_detail.dialog import open_mask
from app.run_context import run_config
from app.run_view import Explorer
from app.selection import Option
from app.session import Key


def sit_down(found: Explorer, ledger: Ledger, way: Way) -> Sitting:
    """The session's place in the queue: where it was, or where one stopped, or at the link's mask."""
    before: Sitting | None = session.recall(Key.REVIEW)
    cards = Cards(found, ledger, way, drawn=run_config(found.info).labels.masks == "stage1")
    selected = selection.current().mask
    if before is not None and before.cards.key == cards.key:
        before.forget()
        if selected is not None:
            before.start(selected)
        return before
    sitting = Sitting(ledger, way, queue_of(found, ledger, way), cards)
    if before is not None:
        sitting.follow(before)
    linked = selection.option(Option.AT)
    sitting.start(selected if selected is not None else int(linked) if linked.isdecimal() else None)
    session.remember(Key.REVIEW, sitting)
    return sitting


@st.fragment
def draw(sitting: Sitting) -> None:
    """Answer the desk; below it, clusters that go wrong as a whole, agreement, and what becomes of the decisions."""
    wire(sitting, key="wire", on_say=partial(_listen, sitting), on_detail=partial(_open, sitting))
    with st.container(key="audit-below"):
        _draw_below(sitting)
    selection.write_link()


def _draw_below(sitting: Sitting) -> None:
    if not sitting.is_current():
        st.info("A stage of this run was made anew meanwhile. Your decisions stand; the order is of before.")
        if st.button("Take the new order", icon=":material/refresh:"):
            st.rerun()
    summaries.draw_rejected(sitting)
    agreement = st.expander(
        "Agreement between two people", icon=":material/group:", key=Key.AUDIT_AGREEMENT, on_change="rerun"
    )
    if agreement.open:
        with agreement:
            summaries.draw_agreement(sitting.ledger, sitting.way.reviewer)
    hand_over = st.expander(
        "Hand over: label maps, CSV, exports", icon=":material/output:", key=Key.AUDIT_EXPORT, on_change="rerun"
    )
    if hand_over.open:
        with hand_over:
            export_panel.draw(sitting.cards.found)


def _listen(sitting: Sitting, message: dict[str, Any]) -> None:
    sitting.hear(message)
    if message.get("rest") and sitting.at is not None:  # not at every stroke: each link is a step of Back
        frame = sitting.cards.found.frame
        selection.set_option(Option.AT, str(frame["mask_id"].iat[sitting.at]))
        selection.select(photo=str(frame["image_id"].iat[sitting.at]))


def _open(sitting: Sitting, mask_id: int) -> None:
    if not sitting.may_see_others(mask_id):
        sitting.notice = "Its details tell what others said of it: say your word first."
    else:
        open_mask(mask_id)
