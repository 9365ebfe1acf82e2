"""Audit: masks one after the other, the doubtful first; each is accepted, rejected or moved by a key."""

import streamlit as st

from app import selection, widgets
from app.audit import controls, fragment
from app.audit.annotator import desk
from app.audit.queue import ledger_of
from app.mask_detail.dialog import show_detail
from app.run_view import open_explorer
from maskdistill.errors import MaskDistillError
from maskdistill.review.decisions import Scope

top = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="audit-top")
top.title("Audit")
widgets.notices()

found = open_explorer()
if not found.table.num_masks:
    st.info("This run found no mask in its photos. Other settings may find some: see the Proposals page.")
    st.page_link("../pages/proposals.py", label="Look at the photos", icon=":material/filter_center_focus:")
    st.stop()
try:
    ledger = ledger_of(found)
    way = controls.read_way(ledger)
    controls.draw(way, top)
    sitting = fragment.sit_down(found, ledger, way)
except MaskDistillError as error:
    st.error(widgets.escape(str(error)))
    st.stop()

desk(sitting, key="desk")
fragment.draw(sitting)
show_detail(found, Scope.LABELS)
selection.write_link()
