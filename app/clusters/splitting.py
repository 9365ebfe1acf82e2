"""Splitting a cluster: its parts are shown before anything is changed."""

from pathlib import Path

import numpy as np
import streamlit as st

from app import selection, widgets
from app.clusters import mask_selection
from app.clusters.redraw import change_run
from app.components.image_grid import Tile, image_grid
from app.images.crops import crop_url
from app.run_view import DecisionView, RunView
from maskdistill.clustering.cluster_summary import split_parts
from maskdistill.errors import MaskDistillError
from maskdistill.review import decisions

_SHOWN = 10  # crops of a part
_MOST = 6  # parts


def show(run_view: RunView, decisions_now: DecisionView, cluster: int) -> None:
    """Open the dialog."""

    @st.dialog(f"Split {widgets.escape(decisions_now.name_of(cluster))}", width="large", icon=":material/call_split:")
    def opened() -> None:
        _draw(run_view, decisions_now, cluster)

    opened()


def _draw(run_view: RunView, decisions_now: DecisionView, cluster: int) -> None:
    into = st.segmented_control("Parts", range(2, _MOST + 1), default=2, required=True, key="clusters:parts")
    try:
        parts = _parts(run_view.run.path, run_view.stamp, decisions_now.version, cluster, into, run_view, decisions_now)
    except MaskDistillError as error:
        st.info(widgets.escape(str(error)))
        return
    for number, part in enumerate(parts, start=1):
        count = f"{len(part):,} mask{'' if len(part) == 1 else 's'}"
        becomes = f", stays {decisions_now.name_of(cluster)}" if number == 1 else ", a new cluster"
        st.markdown(f"**Part {number}**: {widgets.escape(count + becomes)}")
        tiles = [Tile(mask_id, crop_url(run_view, mask_id)) for mask_id in part[:_SHOWN]]
        image_grid(tiles, key=f"clusters:part:{number}", size=64, label=f"Part {number}")
    st.button(
        f"Split into {into}",
        type="primary",
        key="clusters:do split",
        on_click=change_run,
        args=(decisions.split, run_view.run, selection.reviewer(), cluster, parts),
        kwargs={"seen": decisions_now.seen},
    )
    st.caption("It can be undone. The crops shown are the most typical of each part.")


@st.cache_data(max_entries=24, show_spinner="Splitting …")
def _parts(
    path: Path, stamp: str, version: int, cluster: int, into: int, _run_view: RunView, _decisions_now: DecisionView
) -> list[list[int]]:
    """Ids of the masks of each part, the most typical first."""
    rows = _run_view.row_of_vector
    inside = np.flatnonzero(mask_selection.clusters_of_masks(_run_view, _decisions_now)[rows] == cluster)
    assert _run_view.vectors is not None  # the clusters are of them
    vectors = np.asarray(_run_view.vectors[inside])
    ids = _run_view.frame["mask_id"].to_numpy()[rows[inside]]
    parts = split_parts(vectors, _run_view.info["config"].get("seed", 0), into)
    return [_typical(vectors[part], ids[part]) for part in parts]


def _typical(vectors: np.ndarray, ids: np.ndarray) -> list[int]:
    return ids[np.argsort(np.linalg.norm(vectors - vectors.mean(axis=0), axis=1), kind="stable")].tolist()
