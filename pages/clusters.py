"""Clusters: the map of all masks, what is selected on it, the table of clusters, and other clusterings to compare."""

import streamlit as st

from app import state, widgets
from app.clusters import below_panel, chosen_panel, map_panel, undoing
from app.explore import data, picking
from app.explore.detail import show_detail
from maskdistill.errors import MaskDistillError
from maskdistill.review.decisions import Scope

top = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
top.title("Clusters", width="content")
found = data.open_explorer()
data.need(found, "clusters")
try:
    picking.current(found, data.decided(found))  # a selection that cannot be read is told of above the map
    with top:
        undoing.draw(found.run, "top")
except MaskDistillError as error:
    st.error(widgets.escape(str(error)))
    st.stop()
widgets.notices()

left, right = st.columns([3, 2], gap="medium")
with left:
    map_panel.draw(found.run)
    map_panel.answer_hover(found.run)
with right:
    chosen_panel.draw(found.run)
below_panel.draw(found.run)
show_detail(found, Scope.CLUSTERS)
state.write_link()
