"""Filter: thresholds on what the first model predicts of each mask, and the masks next to them."""

import streamlit as st

from app import selection, widgets
from app.filter import page, train_button
from app.filter.data import verdict_on_show
from app.mask_detail.dialog import show_detail
from app.run_view import need, open_run_view
from maskdistill.review.decisions import Scope

st.title("Filter")
st.caption(
    "The first model learned from every mask. Masks that its predictions contradict are dropped before the second."
)
widgets.notices()

run_view = open_run_view()
need(run_view, "candidates")
train_button.draw_warnings(run_view)
page.draw(run_view.run)
show_detail(run_view, Scope.LABELS, verdict_on_show)
selection.write_link()
