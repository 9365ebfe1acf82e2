"""Below the desk: clusters that go wrong as a whole, how far two people agree, and what becomes of the decisions."""

import numpy as np
import pandas as pd
import streamlit as st

from app import widgets
from app.audit import controls
from app.audit.label_store import ReviewLabels
from app.audit.review_session import ReviewSession
from app.session import Key
from maskdistill.errors import MaskDistillError
from maskdistill.review.audit import Agreement, ClusterTally, Order, compare, most_rejected
from maskdistill.review.audit.agreement import ACTIONS
from maskdistill.review.decisions import Action

_MOST_CLUSTERS = 3


def draw_rejected(review: ReviewSession) -> None:
    """Clusters most of whose decided masks were rejected, each with a button that rejects the rest."""
    words = review.ledger.everyone.words[review.queue]
    found = most_rejected(words, review.ledger.decided.cluster[review.queue])
    found = [tally for tally in found if len(tally.rows)][:_MOST_CLUSTERS]
    if not found:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="audit-rejected"):
        for tally in found:
            _offer_rest(review, tally)


def _offer_rest(review: ReviewSession, tally: ClusterTally) -> None:
    name, number = widgets.escape(review.cards.name_of(tally.cluster)), len(tally.rows)
    st.markdown(f"**{name}**: {tally.rejected} of {tally.decided} rejected.", width="content")
    with st.popover(f"Reject the other {number:,} …", key=f"audit reject {tally.cluster}"):
        st.write(f"{number:,} masks of {name} are not decided. To reject them is one step, and one undo.")
        st.button(
            f"Reject {number:,} masks",
            key=f"audit confirm {tally.cluster}",
            type="primary",
            on_click=_reject_all,
            args=(review, review.queue[tally.rows], name),
        )


def _reject_all(review: ReviewSession, rows: np.ndarray, name: str) -> None:
    try:
        review.ledger.decide(review.way.reviewer, rows, Action.REJECT, note=f"all of {name} that was not decided")
    except MaskDistillError as error:
        review.error = str(error)
        return
    review.notice = f"Rejected {len(rows):,} masks of {name}. Undo takes it back."
    review.at = None


def draw_agreement(labels: ReviewLabels, reviewer: str) -> None:
    """How far two people agree on what both judged.

    Args:
        labels: What everyone said.
        reviewer: Who looks: offered as the first of the two.
    """
    names = labels.names
    if len(names) < 2:
        st.write(
            "Two people are needed. Give a colleague this page's address: with a name of their own and **Second "
            "opinion** they judge the same masks without seeing what you said."
        )
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        index = names.index(reviewer) if reviewer in names else 0
        first = st.selectbox("First", names, index=index, key=Key.AUDIT_FIRST, width=200)
        others = [name for name in names if name != first]
        second = st.selectbox("Second", others, key=Key.AUDIT_SECOND, width=200)
    found = compare(labels.voice(first).words, labels.voice(second).words)
    if not found.num_both:
        st.write("No mask was judged by both yet.")
        return
    left, right = st.columns([3, 2], gap="large")
    with left:
        _draw_figures(found)
        number = len(found.rows)
        if number and st.button(f"Go through the {number:,} disagreements", icon=":material/compare_arrows:"):
            controls.go_through(Order.DISAGREEMENTS, (first, second))
            st.rerun()
    with right:
        table = pd.DataFrame(found.confusion, index=ACTIONS, columns=ACTIONS)
        st.dataframe(table.rename_axis(f"{first} ↓  {second} →"), width="stretch")


def _draw_figures(found: Agreement) -> None:
    figures = st.columns(3)
    figures[0].metric("Judged by both", f"{found.num_both:,} masks")
    figures[1].metric("The same word", f"{found.share:.0%}")
    figures[2].metric("Cohen's kappa", "–" if np.isnan(found.kappa) else f"{found.kappa:.2f}")
    st.caption(
        f"Kappa: {found.meaning}. 0 is what two people reach who say each thing as often as these do without looking, "
        "1 is always the same word. Moved to another cluster is the same word if the cluster is."
    )
