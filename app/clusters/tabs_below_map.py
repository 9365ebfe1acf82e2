"""What stands below the map: the table of clusters, or other clusterings to compare with."""

import streamlit as st

from app import selection, session
from app.clusters import alternatives_panel, table_panel
from app.clusters.redraw import Part
from app.run_view import decision_view, read_run_view
from maskdistill.storage.run_folder import Run

_KINDS = {"table": "Clusters", "trials": "Another K or seed"}


@st.fragment(key=Part.BELOW)
def draw(run: Run) -> None:
    """One of them; the other costs nothing."""
    run_view = read_run_view(run)
    decisions_now = decision_view(run_view)
    kind = selection.option(selection.Option.CLUSTERS, "table", _KINDS)
    st.segmented_control(
        "Below the map",
        list(_KINDS),
        key=session.sync_widget("clusters:below which", kind),
        format_func=_KINDS.__getitem__,
        label_visibility="collapsed",
        required=True,
        on_change=lambda: selection.set_option(selection.Option.CLUSTERS, session.widget_value("clusters:below which")),
    )
    if kind == "table":
        table_panel.draw(run_view, decisions_now)
    else:
        alternatives_panel.draw(run_view, decisions_now)
    selection.write_link()
