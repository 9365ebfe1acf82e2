"""Start: choose photos, see them, choose the transformer, find the masks."""

import streamlit as st

from app import widgets
from app.start import launch_form, search, source_form, source_summary
from maskdistill.errors import MaskDistillError

st.title("Find the objects in your photos")
st.caption("No labels, no training: a frozen transformer groups the patches that belong together.")
widgets.notices()

left, right = st.columns([1, 2], gap="medium")
with left:
    spec = source_form.draw()
if not spec:
    with right:
        st.info("Choose photos on the left. They are shown here before anything is done with them.")
        widgets.draw_left_out(source_form.refused())
    st.stop()

try:
    with right:
        source = search.open_photos(spec)
except MaskDistillError as error:
    with right:
        st.error(widgets.escape(str(error)))
    st.stop()

with right:
    source_summary.draw(source)
    widgets.draw_left_out(source_form.refused())
with left:
    launch_form.draw(source)
