"""Guide: the method in eight steps on one photo, for a class."""

import streamlit as st

from app import selection, widgets
from app.guide import page
from app.run_context import open_run_context
from maskdistill.errors import MaskDistillError

try:
    with widgets.scan_progress() as on_progress:
        context = open_run_context(on_progress)
except MaskDistillError as error:
    st.title("Guide")
    st.error(widgets.escape(str(error)))
    st.button("Take the sample photos", icon=":material/photo_library:", on_click=selection.open_data, args=("sample",))
    st.stop()

st.html(page.STYLE)
st.fragment(widgets.show_errors()(page.draw))(context)
page.show_masks()
