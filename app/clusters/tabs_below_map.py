"""What stands below the map: the table of clusters, or other clusterings to compare with."""

import streamlit as st

from app import selection, session, widgets
from app.clusters import alternatives_panel, table_panel
from app.clusters.redraw import Part
from app.run_view import decision_view, read_run_view
from maskdistill.storage.run_folder import Run

_KEY = "clusters:below which"
_TABS = {"table": "Clusters", "trials": "Another K or seed"}  # by what a link says


@st.fragment(key=Part.BELOW)
@widgets.show_errors()
def draw(run: Run) -> None:
    """One of the two; the other costs nothing."""
    run_view = read_run_view(run)
    decisions_now = decision_view(run_view)
    tab = selection.option(selection.Option.CLUSTERS, "table", _TABS)
    st.segmented_control(
        "Below the map",
        list(_TABS),
        key=session.sync_widget(_KEY, tab),
        format_func=_TABS.__getitem__,
        label_visibility="collapsed",
        required=True,
        on_change=lambda: selection.set_option(selection.Option.CLUSTERS, session.widget_value(_KEY)),
    )
    panel = table_panel if tab == "table" else alternatives_panel
    panel.draw(run_view, decisions_now)
    selection.write_link()
