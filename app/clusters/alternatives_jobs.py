"""Making other clusterings and the curve: those of small runs at once, of large ones in a background job."""

from collections.abc import Sequence

import streamlit as st

from app import job_status
from app.run_view import RunView
from maskdistill.cli.job_command import submit_command
from maskdistill.clustering.alternatives import AlternativeKey, make_alternatives, make_curve
from maskdistill.storage.run_folder import Run

AT_ONCE = 1500  # masks up to which the page waits: a few seconds


def start(run_view: RunView, keys: Sequence[AlternativeKey]) -> None:
    """Make other clusterings.

    Raises:
        MaskDistillError: If they cannot be made.
    """
    if is_quick(run_view):
        bar = st.progress(0.0, "Reading the embeddings …")
        make_alternatives(run_view.run, keys, lambda done, total: bar.progress(done / total, "Clustering …"))
        bar.empty()
    else:
        numbers = [str(key.num_classes) for key in keys]
        flags = ["--num-classes", *numbers, "--seed", str(keys[0].seed)]
        submit_command(run_view.run.path, ["try", *flags], title=f"Clusterings into {', '.join(numbers)}")


def start_curve(run_view: RunView) -> None:
    """Make the curve.

    Raises:
        MaskDistillError: If it cannot be made.
    """
    if is_quick(run_view):
        bar = st.progress(0.0, "Clustering samples of the masks …")
        make_curve(run_view.run, lambda done, total: bar.progress(done / total, "Clustering samples of the masks …"))
        bar.empty()
    else:
        submit_command(run_view.run.path, ["try", "--curve"], title="Curve of the number of clusters")


def is_quick(run_view: RunView) -> bool:
    """Whether the page waits for it."""
    return run_view.vectors is not None and len(run_view.vectors) <= AT_ONCE


def follow(run: Run) -> None:
    """How far the job is that makes clusterings or the curve; nothing if there is none."""
    if job_status.follow(run.path, "alternatives", "try"):
        st.caption("It continues when you leave this page. What is finished is kept.")
