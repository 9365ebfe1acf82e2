"""What stands below the map: the table of clusters, other clusterings to compare with, or categories."""

import streamlit as st

from app import selection, session, widgets
from app.clusters import alternatives_panel, categories_panel, table_panel
from app.clusters.redraw import Part
from app.run_view import decision_view, read_run_view
from maskdistill.storage.run_folder import Run

_KEY = "clusters:below which"
_TABS = {"table": "Clusters", "trials": "Another K or seed", "categories": "Categories"}  # by what a link says
_PANELS = {"table": table_panel, "trials": alternatives_panel, "categories": categories_panel}


@st.fragment(key=Part.BELOW)
@widgets.show_errors()
def draw(run: Run) -> None:
    """One of the two; the other costs nothing."""
    run_view = read_run_view(run)
    decisions_now = decision_view(run_view)
    tabs = [tab for tab in _TABS if tab != "categories" or categories_panel.has_categories(run_view)]
    tab = selection.option(selection.Option.CLUSTERS, "table", tabs)
    st.segmented_control(
        "Below the map",
        tabs,
        key=session.sync_widget(_KEY, tab),
        format_func=_TABS.__getitem__,
        label_visibility="collapsed",
        required=True,
        on_change=lambda: selection.set_option(selection.Option.CLUSTERS, session.widget_value(_KEY)),
    )
    _PANELS[tab].draw(run_view, decisions_now)
    selection.write_link()
