"""Audit: masks one by one, the doubtful first; each is accepted, rejected or moved by a key."""

import streamlit as st

from app import selection, widgets
from app.audit import controls, fragment
from app.audit.annotator import annotator
from app.audit.queue import label_store
from app.mask_detail.dialog import show_detail
from app.run_view import open_run_view
from maskdistill.errors import MaskDistillError
from maskdistill.review.decisions import Scope

top = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="audit-top")
top.title("Audit")
widgets.notices()

run_view = open_run_view()
if not run_view.table.num_masks:
    st.info("This run has no masks. Other settings may find some: see the Proposals page.")
    st.page_link("../pages/proposals.py", label="Look at the photos", icon=":material/filter_center_focus:")
    st.stop()
try:
    store = label_store(run_view)
    settings = controls.read_settings(store.labels)
    controls.draw(settings, top)
    review = fragment.open_session(run_view, store, settings)
except MaskDistillError as error:
    st.error(widgets.escape(str(error)))
    st.stop()

annotator(review, key="annotator")
fragment.draw(review)
show_detail(run_view, Scope.LABELS)
selection.write_link()
