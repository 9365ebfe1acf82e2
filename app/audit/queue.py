"""What a person chose to go through, and the queue that follows from it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from app import cache
from app.audit.label_store import Ledger
from app.mask_detail.facts import judged
from app.run_view import Explorer
from maskdistill.review.audit import ClusterCentres, Doubts, Order, arrange, measure_doubt
from maskdistill.review.audit.agreement import NO_WORD


@dataclass(frozen=True)
class Way:
    """What a person chose to go through."""

    reviewer: str
    order: Order = Order.DOUBTFUL
    seed: int = 0
    second: bool = False  # a second opinion: also what others have decided
    pair: tuple[str, ...] = ()  # whose disagreements; none for everybody's


@dataclass(frozen=True, eq=False)
class Ground:
    """What can be audited of a state of a run's files, and what is doubtful about it."""

    rows: np.ndarray  # (n,) of the table: the candidates of the filter, or all masks before there are any
    frame: pd.DataFrame  # these rows of the table, area as the filter sees it
    doubts: Doubts


@cache.newest(4)
def _ledger(path: Path, stamp: str, found: Explorer) -> Ledger:
    return Ledger(found)


def ledger_of(found: Explorer) -> Ledger:
    """What everyone said, up to date.

    Raises:
        RunError: If the run's database cannot be read.
    """
    ledger = _ledger(found.run.path, found.stamp, found)
    ledger.refresh()
    return ledger


@cache.newest(4)
def _ground(path: Path, stamp: str, found: Explorer) -> Ground:
    known, frame = judged(found), found.frame
    if known is None or not len(known.mask_ids):
        return Ground(np.arange(len(frame)), frame, measure_doubt(frame, None))
    order = np.argsort(known.mask_ids)
    rows = found.table.rows_of(known.mask_ids[order])
    own = frame.iloc[rows].reset_index(drop=True).assign(area=known.signals.area[order])
    return Ground(rows, own, measure_doubt(own, known.config))


def ground_of(found: Explorer) -> Ground:
    """What can be audited; measured once for a state of the files."""
    return _ground(found.run.path, found.stamp, found)


def queue_of(found: Explorer, ledger: Ledger, way: Way) -> np.ndarray:
    """(n,) rows of the table, in the order in which they are looked at."""
    ground = ground_of(found)
    chosen = _chosen(ledger, way, ground)
    cluster = ledger.decided.cluster[ground.rows]
    rows = arrange(way.order, ground.frame, ground.doubts, cluster=cluster, seed=way.seed, chosen=chosen)
    return ground.rows[rows]


def _chosen(ledger: Ledger, way: Way, ground: Ground) -> np.ndarray | None:
    """Rows of the ground that are in the queue at all; None for all of them."""
    if way.order is Order.DISAGREEMENTS:
        return np.flatnonzero(ledger.differ(way.pair)[ground.rows])
    if way.order is Order.SKIPPED:
        voice = ledger.voice(way.reviewer)
        waiting = voice.skipped & (voice.words == NO_WORD)
        place = np.full(len(waiting), -1)
        place[ground.rows] = np.arange(len(ground.rows))
        put_off = [place[row] for row in dict.fromkeys(voice.recent) if waiting[row] and place[row] >= 0]
        return np.array(put_off, np.int64)
    return None


@cache.newest(4)
def _centres(path: Path, key: tuple[str, str], found: Explorer, cluster: np.ndarray) -> ClusterCentres:
    if found.vectors is None:
        return ClusterCentres.of(cluster)
    return ClusterCentres.of(cluster[found.row_of_vector], found.vectors)


def centres_of(found: Explorer, ledger: Ledger) -> ClusterCentres:
    """Where the clusters lie after people's changes; masks that were moved one by one make no difference."""
    classes = ledger.decided.classes
    changed = "" if classes is None else f"{classes.digest} {sorted(classes.excluded)}"
    return _centres(found.run.path, (found.stamp, changed), found, ledger.decided.cluster)
