"""Proposals: the masks of a photo, how they were made, and what other settings would give."""

import streamlit as st

from app import session, widgets
from app.proposals import apply_dialog, mending, page
from app.run_context import open_run_context
from maskdistill.errors import MaskDistillError

st.title("Proposals")

try:
    with widgets.scan_progress() as on_progress:
        context = open_run_context(on_progress)
except MaskDistillError as error:
    st.error(widgets.escape(str(error)))
    st.page_link("../pages/start.py", label="Choose other photos", icon=":material/photo_library:")
    st.stop()

if session.recall(session.Key.APPLY):
    apply_dialog.draw(context)

mending.show(context)  # before what takes longer: a click on the button below may come at once
st.fragment(widgets.show_errors()(page.draw))(context)
