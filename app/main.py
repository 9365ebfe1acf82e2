"""The app: its pages, and what the sidebar shows on each of them.

Streamlit imports this file once as the server, because it finds ``st.App`` in it, and runs it for each session.
"""

from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app import identity, libraries, page_switch, selection, server, session, sidebar, widgets

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "pages"
SIDEBAR = 232  # pixels


def draw() -> None:
    """The page on show, on every rerun."""
    st.set_page_config(
        page_title="MaskDistill",
        page_icon=ROOT / "assets" / "icon.png",  # an icon of Streamlit's would be fetched from the internet
        layout="wide",
        initial_sidebar_state=SIDEBAR,
    )
    st.html(Path(__file__).parent / "styles" / "page.css")

    page = st.navigation(
        [
            st.Page(PAGES / "start.py", title="Start", icon=":material/photo_library:", default=True),
            st.Page(PAGES / "proposals.py", title="Proposals", icon=":material/filter_center_focus:"),
            st.Page(PAGES / "clusters.py", title="Clusters", icon=":material/bubble_chart:"),
            st.Page(PAGES / "filter.py", title="Filter", icon=":material/filter_alt:"),
            st.Page(PAGES / "training.py", title="Training", icon=":material/model_training:"),
            st.Page(PAGES / "results.py", title="Results", icon=":material/query_stats:"),
            st.Page(PAGES / "audit.py", title="Audit", icon=":material/fact_check:"),
            st.Page(PAGES / "guide.py", title="Guide", icon=":material/school:"),
        ]
    )
    identity.require()
    page_switch.follow(page.url_path)
    selection.read_link()
    if page.url_path != "audit" and (review := session.recall(session.Key.REVIEW)) is not None:
        review.release_claims()
    sidebar.draw()
    if page_switch.is_under_way():
        page_switch.draw()
    else:
        libraries.load_for(page.url_path)
        with widgets.show_errors():
            page.run()


if get_script_run_ctx(suppress_warning=True) is None:
    serving = st.App(__file__, middleware=server.guard(), lifespan=server.started)
else:
    draw()
