"""Clusters: the map of all masks, what is selected on it, the table of clusters, and other clusterings to compare."""

import streamlit as st

from app import mask_selection, run_view, selection, widgets
from app.clusters import map_panel, selection_panel, tabs_below_map, undo_buttons
from app.mask_detail.dialog import show_detail
from maskdistill.errors import MaskDistillError
from maskdistill.review.decisions import Scope

top = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
top.title("Clusters", width="content")
found = run_view.open_explorer()
run_view.need(found, "clusters")
try:
    mask_selection.current(found, run_view.decided(found))  # a selection that cannot be read is told of above the map
    with top:
        undo_buttons.draw(found.run, "top")
except MaskDistillError as error:
    st.error(widgets.escape(str(error)))
    st.stop()
widgets.notices()

left, right = st.columns([3, 2], gap="medium")
with left:
    map_panel.draw(found.run)
    map_panel.answer_hover(found.run)
with right:
    selection_panel.draw(found.run)
tabs_below_map.draw(found.run)
show_detail(found, Scope.CLUSTERS)
selection.write_link()
