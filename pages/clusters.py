"""Clusters: the map of all masks, what is selected on it, the table of clusters, and other clusterings to compare."""

import streamlit as st

from app import selection, widgets
from app.clusters import map_panel, mask_selection, selection_panel, tabs_below_map, undo_buttons
from app.mask_detail.dialog import show_detail
from app.run_view import decision_view, need, open_run_view
from maskdistill.errors import MaskDistillError
from maskdistill.review.decisions import Scope

top = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
top.title("Clusters", width="content")
run_view = open_run_view()
need(run_view, "clusters")
try:
    # A selection that cannot be read is told of above the map.
    mask_selection.current(run_view, decision_view(run_view))
    with top:
        undo_buttons.draw(run_view.run, "top")
except MaskDistillError as error:
    st.error(widgets.escape(str(error)))
    st.stop()
widgets.notices()

left, right = st.columns([3, 2], gap="medium")
with left:
    map_panel.draw(run_view.run)
    map_panel.answer_hover(run_view.run)
with right:
    selection_panel.draw(run_view.run)
tabs_below_map.draw(run_view.run)
show_detail(run_view, Scope.CLUSTERS)
selection.write_link()
