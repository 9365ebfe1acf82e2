"""The run as one page to hand out."""

from functools import partial

import streamlit as st

from maskdistill.storage.run_folder import Run


def draw_button(run: Run) -> None:
    """A download of the report; it is made when it is asked for."""
    st.download_button(
        "Report",
        partial(make_report, run),
        f"{run.name}-report.html",
        "text/html",
        key="results:report",
        icon=":material/download:",
        help="What each stage brought, with pictures, in one file that opens in any browser, without a network.",
        on_click="ignore",
    )


def make_report(run: Run) -> bytes:
    """The report as a file.

    Raises:
        MaskDistillError: If a file of the run is damaged.
    """
    from maskdistill.handouts.report import report_page

    return report_page(run).encode("utf-8")
