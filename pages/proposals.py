"""Proposals: the masks of a photo, why they are what they are, and what other settings would do."""

import streamlit as st

from app import apply_dialog, state, widgets, workbench
from app.workspace import open_workspace
from maskdistill.errors import MaskDistillError

st.title("Proposals")

try:
    with widgets.scan_progress() as on_progress:
        workspace = open_workspace(on_progress)
except MaskDistillError as error:
    st.error(str(error))
    st.page_link("../pages/start.py", label="Choose other photos", icon=":material/photo_library:")
    st.stop()

if state.recall(state.Key.APPLY):
    apply_dialog.draw(workspace)

st.fragment(workbench.draw)(workspace)
