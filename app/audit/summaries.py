"""Below the annotator: clusters most of whose masks were rejected, and how far two people agree."""

from itertools import islice

import numpy as np
import pandas as pd
import streamlit as st

from app import widgets
from app.audit import controls
from app.audit.label_store import ReviewLabels
from app.audit.review_session import ReviewSession
from app.session import Key
from maskdistill.review.audit import Agreement, ClusterTally, Order, compare, most_rejected
from maskdistill.review.audit.agreement import ACTIONS

_MOST_CLUSTERS = 3


def draw_rejected(review: ReviewSession) -> None:
    """Clusters most of whose decided masks were rejected, each with a button that rejects the rest."""
    labels = review.store.labels
    found = most_rejected(labels.everyone.labels, labels.cluster_view.cluster, review.in_queue)
    tallies = list(islice((tally for tally in found if len(tally.rows)), _MOST_CLUSTERS))
    if not tallies:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="audit-rejected"):
        for tally in tallies:
            _offer_rest(review, tally)


def _offer_rest(review: ReviewSession, tally: ClusterTally) -> None:
    cluster, number = review.cards.name_of(tally.cluster), len(tally.rows)
    name = widgets.escape(cluster)
    st.markdown(f"**{name}**: {tally.rejected} of {tally.decided} rejected.", width="content")
    with st.popover(f"Reject the other {number:,} …", key=f"audit reject {tally.cluster}"):
        st.write(f"{number:,} masks of {name} are not decided. Rejecting them is one step, which one undo reverts.")
        st.button(
            f"Reject {number:,} masks",
            key=f"audit confirm {tally.cluster}",
            type="primary",
            on_click=review.reject_rest,
            args=(tally.rows, cluster, review.store.labels.seen),
        )


def draw_agreement(labels: ReviewLabels, reviewer: str) -> None:
    """How far two people agree on the masks that both judged.

    Args:
        labels: Of everyone.
        reviewer: Offered as the first of the two.
    """
    names = labels.names
    if len(names) < 2:
        st.write(
            "This needs two people. Give a colleague this page's address: with another name and **Second opinion** "
            "they review the same masks without seeing your labels."
        )
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        index = names.index(reviewer) if reviewer in names else 0
        first = st.selectbox("First", names, index=index, key=Key.AUDIT_FIRST, width=200)
        others = [name for name in names if name != first]
        second = st.selectbox("Second", others, key=Key.AUDIT_SECOND, width=200)
    agreement = compare(labels.of_reviewer(first).labels, labels.of_reviewer(second).labels)
    if not agreement.num_both:
        st.write("No mask was judged by both yet.")
        return
    left, right = st.columns([3, 2], gap="large")
    with left:
        _draw_figures(agreement)
        number = len(agreement.rows)
        if number and st.button(f"Review the {number:,} disagreements", icon=":material/compare_arrows:"):
            controls.open_queue(Order.DISAGREEMENTS, (first, second))
            st.rerun()
    with right:
        table = pd.DataFrame(agreement.confusion, index=ACTIONS, columns=ACTIONS)
        st.dataframe(table.rename_axis(f"{first} ↓  {second} →"), width="stretch")


def _draw_figures(agreement: Agreement) -> None:
    figures = st.columns(3)
    figures[0].metric("Judged by both", f"{agreement.num_both:,} masks")
    figures[1].metric("Same label", f"{agreement.share:.0%}")
    figures[2].metric("Cohen's kappa", "–" if np.isnan(agreement.kappa) else f"{agreement.kappa:.2f}")
    st.caption(
        f"Kappa: {agreement.meaning}. 0 is chance agreement, that of two people who give each label as often as these "
        "do, at random; 1 is full agreement. A mask that both moved has the same label if the cluster is the same."
    )
