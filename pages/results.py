"""Results: what each stage brought, by class and by photo; another run beside this one; photos dropped in."""

import streamlit as st

from app import widgets
from app.results import page
from app.run_view import open_run_view

st.title("Results")
run_view = open_run_view()
st.fragment(widgets.show_errors()(page.draw))(run_view)
