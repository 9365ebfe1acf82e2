"""Figures of each cluster as it is now, and how each mask lies in its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app import cache
from app.clusters import mask_selection
from app.run_view import DecisionView, RunView
from maskdistill.clustering.cluster_summary import cluster_table
from maskdistill.clustering.kmeans import Clustering
from maskdistill.storage.read_files import let_go


@dataclass(frozen=True)
class ClusterRow:
    """One cluster."""

    cluster: int
    name: str  # "cluster 3" if nobody gave it one
    given_name: str  # "" if nobody did
    size: int  # masks
    excluded: bool
    tightness: float | None  # mean cosine of its masks to its centre
    kept: float | None  # share of its judged masks that the filter keeps
    purity: float | None  # share of its masks of the commonest ground-truth class: for reporting only
    truth: int  # that class; -1 if unknown
    category_share: float | None  # share of its masks of the commonest category that masks came with
    category: str  # that category; "" if none came with any
    exemplars: tuple[int, ...]  # ids of the masks nearest to the centre, nearest first


@dataclass(frozen=True, eq=False)
class ClusterStats:
    """The clusters, and arrays that run with the rows of the table of masks."""

    rows: tuple[ClusterRow, ...]  # by number; clusters without a mask are left out
    distance: np.ndarray  # (N,) to the centre of the own cluster as it is now; NaN for none
    margin: np.ndarray  # (N,) how much farther the nearest other centre is; NaN for none


def read_cluster_stats(run_view: RunView, decisions_now: DecisionView) -> ClusterStats:
    """The clusters of a run, with people's decisions; shared by all sessions, not to be changed."""
    return _stats(run_view.run.path, (run_view.stamp, decisions_now.version), run_view, decisions_now)


@cache.newest(4)
def _stats(path: Path, key: tuple[str, int], run_view: RunView, decisions_now: DecisionView) -> ClusterStats:
    cluster_of = mask_selection.clusters_of_masks(run_view, decisions_now)
    rows = run_view.row_of_vector
    inside = cluster_of[rows] > 0
    rows = rows[inside]
    distance, margin = np.full((2, len(cluster_of)), np.nan, np.float32)
    if not len(rows):
        return ClusterStats((), distance, margin)
    vectors = np.asarray(run_view.vectors)[inside]
    numbers, labels = np.unique(cluster_of[rows], return_inverse=True)
    clustering = Clustering.from_labels(vectors, labels)
    distance[rows], margin[rows] = clustering.distances, clustering.margins
    described = cluster_table(clustering, vectors)
    let_go(np.asarray(run_view.vectors))
    table = [
        _row(run_view, decisions_now, number, rows[labels == place], described[place], rows)
        for place, number in enumerate(numbers.tolist())
    ]
    return ClusterStats(tuple(table), distance, margin)


def _row(
    run_view: RunView,
    decisions_now: DecisionView,
    number: int,
    own: np.ndarray,
    figures: dict[str, Any],
    rows: np.ndarray,
) -> ClusterRow:
    frame, classes = run_view.frame, decisions_now.classes
    judged = mask_selection.selection_data(run_view, decisions_now).fields["kept"][own]
    truth = frame["truth"].to_numpy()[own]
    counts = np.bincount(truth[truth >= 0], minlength=1)
    known = int(counts.sum())
    best = _commonest(frame["category"].to_numpy()[own])
    return ClusterRow(
        cluster=number,
        name=decisions_now.name_of(number),
        given_name=classes.names.get(number, "") if classes else "",
        size=len(own),
        excluded=classes is not None and number in classes.excluded,
        tightness=figures["mean_cosine"],
        kept=float((judged == 1).sum() / (judged > 0).sum()) if (judged > 0).any() else None,
        purity=float(counts.max() / known) if known else None,
        truth=int(counts.argmax()) if known else -1,
        category_share=None if best is None else best[1],
        category="" if best is None else best[0],
        exemplars=tuple(frame["mask_id"].to_numpy()[rows[figures["exemplars"]]].tolist()),
    )


def _commonest(categories: np.ndarray) -> tuple[str, float] | None:
    """The commonest category of some masks, and its share among those that have one."""
    names, counts = np.unique(categories[categories != ""].astype(str), return_counts=True)
    return (str(names[counts.argmax()]), float(counts.max() / counts.sum())) if len(names) else None
