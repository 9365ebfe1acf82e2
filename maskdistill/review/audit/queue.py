"""In which order masks are looked at, and which comes next."""

from collections.abc import Collection
from enum import StrEnum

import numpy as np
import pandas as pd

from maskdistill.review.audit.doubt import Doubts


class Order(StrEnum):
    """Ways through the masks, by their names in a link."""

    DOUBTFUL = "doubtful"
    KEPT = "kept"
    DROPPED = "dropped"
    CLUSTER = "cluster"
    RANDOM = "random"
    SOURCE = "source"
    DISAGREEMENTS = "disagreements"
    SKIPPED = "skipped"


ORDER_NAMES = {
    Order.DOUBTFUL: "Most doubtful first",
    Order.KEPT: "Kept but doubtful",
    Order.DROPPED: "Dropped but believed",
    Order.CLUSTER: "Cluster by cluster",
    Order.RANDOM: "At random",
    Order.SOURCE: "In the order of the photos",
    Order.DISAGREEMENTS: "Disagreements",
    Order.SKIPPED: "Skipped",
}
ORDER_HELP = {
    Order.DOUBTFUL: "Doubtful is: near a threshold of the filter (weight 0.35), of another class by stage 1 (0.25), "
    "almost in another cluster (0.15), of a low proposal score (0.15), on the photo's border (0.10).",
    Order.KEPT: "Only masks that the filter keeps, the most doubtful first: stage 2 learns what is wrong among them.",
    Order.DROPPED: "Only masks that the filter drops, those that stage 1 believes most first: near misses to get back.",
    Order.CLUSTER: "Cluster after cluster, the most doubtful of each first: the eye gets used to one kind of thing.",
    Order.RANDOM: "A random order, the same for the same seed: for an honest share of good masks.",
    Order.SOURCE: "The photos as they come, the best proposal of each first.",
    Order.DISAGREEMENTS: "Masks of which two people said different things, until all agree or the last word is yours.",
    Order.SKIPPED: "Masks that you put off, the first one first.",
}


def arrange(
    order: Order,
    frame: pd.DataFrame,
    doubts: Doubts,
    *,
    cluster: np.ndarray,
    seed: int = 0,
    chosen: np.ndarray | None = None,
) -> np.ndarray:
    """Rows in the order in which they are looked at.

    Args:
        order: Which.
        frame: N rows of a ``MaskTable``.
        doubts: Of these rows.
        cluster: (N,) where each mask is now.
        seed: For ``Order.RANDOM``.
        chosen: (n,) rows that are in the queue at all: for ``DISAGREEMENTS`` and ``SKIPPED`` those, in the order in
            which they came up; else None for all of them.

    Returns:
        (n,) row numbers. Of equal masks the first in ``frame`` comes first.
    """
    rows = np.arange(len(frame)) if chosen is None else np.asarray(chosen, np.int64)
    kept = frame["kept"].to_numpy(dtype=bool)[rows]
    doubt = -doubts.total[rows]
    match order:
        case Order.KEPT:
            return rows[kept][np.argsort(doubt[kept], kind="stable")]
        case Order.DROPPED:
            return _best_first(rows[~kept], frame["score"].to_numpy(), doubts.total)
        case Order.CLUSTER:
            return rows[np.lexsort((doubt, cluster[rows]))]
        case Order.RANDOM:
            return np.random.default_rng(seed).permutation(rows)
        case Order.DOUBTFUL | Order.DISAGREEMENTS:
            return rows[np.argsort(doubt, kind="stable")]
    return rows


def _best_first(rows: np.ndarray, score: np.ndarray, total: np.ndarray) -> np.ndarray:
    """By falling score, unmeasured ones last; of equal scores the more doubtful first."""
    return rows[np.lexsort((-total[rows], -np.nan_to_num(score[rows], nan=-1.0)))]


def next_open(
    queue: np.ndarray,
    done: np.ndarray,
    later: np.ndarray,
    *,
    after: int = -1,
    count: int = 8,
    taken: Collection[int] = (),
) -> np.ndarray:
    """Places in the queue of the next masks to look at.

    Args:
        queue: (n,) rows of the table.
        done: (N,) bool, by row: needs no look any more.
        later: (N,) bool, by row: put off until nothing else is left.
        after: Place that is left; those before it come last, so that nothing is forgotten.
        count: How many are wanted.
        taken: Rows that somebody else looks at just now.

    Returns:
        At most ``count`` places: first what is open behind ``after``, then what is open before it, then what was put
        off. The place ``after`` itself is not among them.
    """
    open_now = ~done[queue]
    if taken:
        open_now &= ~np.isin(queue, np.fromiter(taken, np.int64, len(taken)))
    if 0 <= after < len(queue):
        open_now[after] = False
    put_off = later[queue]
    found: list[np.ndarray] = []
    for places in (np.flatnonzero(open_now & ~put_off), np.flatnonzero(open_now & put_off)):
        split = np.searchsorted(places, after, side="right")
        found += [places[split:], places[:split]]
    return np.concatenate(found)[:count]
