"""Results: what each stage brought, by class and by photo; another run beside this one; photos dropped in."""

import streamlit as st

from app.results import page
from app.run_view import open_explorer

st.title("Results")
ex = open_explorer()
st.fragment(page.draw)(ex)
