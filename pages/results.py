"""Results: what each stage brought, by class and by photo; another run beside this one; photos dropped in."""

import streamlit as st

from app.explore.data import open_explorer
from app.results import page

st.title("Results")
ex = open_explorer()
st.fragment(page.draw)(ex)
