"""What a person chose to review, and the queue that follows from it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pycocotools import mask as coco_mask

from app import cache
from app.audit.label_store import LabelStore, ReviewLabels
from app.mask_detail.facts import filter_record
from app.run_view import RunView, repairs_of
from maskdistill.review.audit import ClusterCentres, Doubts, Order, arrange, measure_doubt, measure_likeness
from maskdistill.review.audit.agreement import NO_LABEL
from maskdistill.storage.read_files import let_go

_COLUMNS = [
    *("image", "cluster", "score", "iou", "agreement", "distance", "area", "border"),
    *("label", "margin", "quality", "kept", "rule"),
]


@dataclass(frozen=True)
class QueueSettings:
    """What a person chose to review."""

    reviewer: str
    order: Order = Order.DOUBTFUL
    seed: int = 0
    second_opinion: bool = False  # also masks that others have decided on
    pair: tuple[str, ...] = ()  # whose disagreements; none for everybody's


@dataclass(frozen=True, eq=False)
class AuditPool:
    """The masks that can be audited in one state of a run's files, and how doubtful they are."""

    rows: np.ndarray  # (n,) of the table: the candidates of the filter, or all masks before there are any
    frame: pd.DataFrame  # these rows of the table, what queue and reasons need of it; area as the filter sees it
    doubts: Doubts


@cache.newest(4)
def _label_store(path: Path, stamp: str, run_view: RunView) -> LabelStore:
    return LabelStore(run_view)


def label_store(run_view: RunView) -> LabelStore:
    """The labels that everyone gave, up to date.

    Raises:
        RunError: If the run's database cannot be read.
    """
    store = _label_store(run_view.run.path, run_view.stamp, run_view)
    store.refresh()
    return store


@cache.newest(4)
def _audit_pool(path: Path, stamp: str, run_view: RunView) -> AuditPool:
    record, frame = filter_record(run_view), run_view.frame
    if record is None or not len(record.mask_ids):
        return AuditPool(np.arange(len(frame)), frame, measure_doubt(frame, None))
    order = np.argsort(record.mask_ids)
    rows = run_view.table.rows_of(record.mask_ids[order])
    own = frame[_COLUMNS].iloc[rows].reset_index(drop=True).assign(area=record.signals.area[order])
    return AuditPool(rows, own, measure_doubt(own, record.config))


def audit_pool(run_view: RunView) -> AuditPool:
    """The masks that can be audited; measured once for a state of the files."""
    return _audit_pool(run_view.run.path, run_view.stamp, run_view)


def queue_of(run_view: RunView, labels: ReviewLabels, settings: QueueSettings) -> np.ndarray:
    """(n,) rows of the table, in the order in which they are reviewed."""
    pool = audit_pool(run_view)
    chosen = _chosen(run_view, labels, settings, pool)
    cluster = labels.cluster_view.cluster[pool.rows]
    rows = arrange(settings.order, pool.frame, pool.doubts, cluster=cluster, seed=settings.seed, chosen=chosen)
    return pool.rows[rows]


def like_mended(run_view: RunView, reviewer: str) -> dict[int, tuple[float, int]]:
    """Row of the table -> how much that mask is like one that a person mended, and which; the most alike first."""
    pool, repairs = audit_pool(run_view), repairs_of(run_view)
    own = [form for form in repairs.by_shown.values() if form.reviewer == reviewer and form.own and form.code]
    forms = {form.mask_id: form for form in own if run_view.table.has(form.mask_id)}
    if not forms or run_view.vectors is None:
        return {}
    frame = run_view.frame
    rows = run_view.table.rows_of(list(forms))
    vector = frame["vector"].to_numpy()
    vectors = np.where(vector[:, None] >= 0, np.asarray(run_view.vectors)[np.maximum(vector, 0)], 0)
    expected = np.full(len(frame), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected[pool.rows] = np.log(pool.frame["area"].to_numpy() / frame["area"].to_numpy()[pool.rows])
    areas = [[max(1, int(coco_mask.area(code))) for code in (form.own, form.code)] for form in forms.values()]
    changes = [np.log(after / before) for before, after in areas]
    likeness, place = measure_likeness(
        vectors, np.where(np.isfinite(expected), expected, np.nan), rows.tolist(), changes
    )
    ids = list(forms)
    order = pool.rows[np.argsort(-likeness[pool.rows], kind="stable")]
    return {int(row): (float(likeness[row]), ids[place[row]]) for row in order if place[row] >= 0}


def _chosen(run_view: RunView, labels: ReviewLabels, settings: QueueSettings, pool: AuditPool) -> np.ndarray | None:
    """Rows of the pool that are in the queue; None for all of them."""
    if settings.order is Order.LIKE_MENDED:
        rows = list(like_mended(run_view, settings.reviewer))
        return np.searchsorted(pool.rows, np.array(rows, np.int64))
    if settings.order is Order.DISAGREEMENTS:
        return np.flatnonzero(labels.differ(settings.pair)[pool.rows])
    if settings.order is Order.SKIPPED:
        own = labels.of_reviewer(settings.reviewer)
        skipped = own.skipped & (own.labels == NO_LABEL)
        places = {int(row): place for place, row in enumerate(pool.rows)}
        return np.array([places[row] for row in dict.fromkeys(own.recent) if skipped[row] and row in places], np.int64)
    return None


@cache.newest(4)
def _centres(path: Path, key: tuple[str, str], run_view: RunView, cluster: np.ndarray) -> ClusterCentres:
    if run_view.vectors is None:
        return ClusterCentres.of(cluster)
    centres = ClusterCentres.of(cluster[run_view.row_of_vector], run_view.vectors)
    let_go(run_view.vectors)
    return centres


def centres_of(run_view: RunView, labels: ReviewLabels) -> ClusterCentres:
    """Where the clusters lie after people's changes; masks that were moved one by one make no difference."""
    classes = labels.cluster_view.classes
    changed = "" if classes is None else f"{classes.digest} {sorted(classes.excluded)}"
    return _centres(run_view.run.path, (run_view.stamp, changed), run_view, labels.cluster_view.cluster)


@cache.newest(4)
def _nearest_to_centres(path: Path, key: tuple[str, int], distance: np.ndarray, cluster: np.ndarray) -> dict[int, int]:
    distance = np.nan_to_num(distance, nan=np.inf)
    least = np.full(int(cluster.max(initial=0)) + 1, np.inf)
    np.minimum.at(least, cluster, distance)
    rows = np.flatnonzero((distance == least[cluster]) & (cluster > 0))[::-1]
    return dict(zip(cluster[rows].tolist(), rows.tolist(), strict=True))  # of equal ones the first


def nearest_to_centres(run_view: RunView, labels: ReviewLabels) -> dict[int, int]:
    """Cluster -> row of its mask nearest to the centre; found once for what everyone had said when all was read."""
    now, distance = labels.cluster_view, run_view.frame["distance"].to_numpy()
    return _nearest_to_centres(run_view.run.path, (run_view.stamp, now.version), distance, now.cluster)
