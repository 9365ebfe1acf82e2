"""Filter: which masks the first model believes enough to keep, live, and the masks at the border."""

import streamlit as st

from app import selection, widgets
from app.filter import page, train_button
from app.filter.data import verdict_on_show
from app.mask_detail.dialog import show_detail
from app.run_view import need, open_run_view
from maskdistill.review.decisions import Scope

st.title("Filter")
st.caption("The first model learned from every mask. Those that it does not believe now are dropped before the second.")
widgets.notices()

run_view = open_run_view()
need(run_view, "candidates")
train_button.draw_doubts(run_view)
page.draw(run_view.run)
show_detail(run_view, Scope.LABELS, verdict_on_show)
selection.write_link()
