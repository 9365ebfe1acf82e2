"""The order in which masks are reviewed, and which comes next."""

from collections.abc import Callable, Collection
from enum import StrEnum

import numpy as np
import pandas as pd

from maskdistill.review.audit.doubt import Doubts


class Order(StrEnum):
    """Orders of the queue, by their names in a link."""

    DOUBTFUL = "doubtful"
    KEPT = "kept"
    DROPPED = "dropped"
    CLUSTER = "cluster"
    RANDOM = "random"
    SOURCE = "source"
    DISAGREEMENTS = "disagreements"
    SKIPPED = "skipped"
    LIKE_MENDED = "like-mended"


ORDER_NAMES = {
    Order.DOUBTFUL: "Most doubtful first",
    Order.KEPT: "Kept but doubtful",
    Order.DROPPED: "Dropped with a high score",
    Order.CLUSTER: "Cluster by cluster",
    Order.RANDOM: "Random",
    Order.SOURCE: "Photo by photo",
    Order.DISAGREEMENTS: "Disagreements",
    Order.SKIPPED: "Skipped",
    Order.LIKE_MENDED: "Like those that you mended",
}
ORDER_HELP = {
    Order.DOUBTFUL: "A weighted mean of five signals: near a threshold of the filter (0.35), another class in stage 1 "
    "(0.25), close to another cluster (0.15), low proposal score (0.15), on the photo's border (0.10).",
    Order.KEPT: "Only masks that the filter keeps, the most doubtful first: stage 2 would learn their errors.",
    Order.DROPPED: "Only masks that the filter drops, those with the highest score of stage 1 first.",
    Order.CLUSTER: "One cluster after the other, the most doubtful mask of each first.",
    Order.RANDOM: "A random order, the same for the same seed: for an unbiased share of good masks.",
    Order.SOURCE: "Photo by photo, the best proposal of each first.",
    Order.DISAGREEMENTS: "Masks to which two people gave different labels, until they agree or yours is the last.",
    Order.SKIPPED: "Masks that you skipped, the first one first.",
    Order.LIKE_MENDED: "Masks that may have the same failure as those that you mended: alike in embedding space, and "
    "too small or too large by as much, as far as stage 1 tells.",
}

_BLOCK = 10_000  # places of a queue that are looked at together


def arrange(
    order: Order,
    frame: pd.DataFrame,
    doubts: Doubts,
    *,
    cluster: np.ndarray,
    seed: int = 0,
    chosen: np.ndarray | None = None,
) -> np.ndarray:
    """Rows in the order in which they are reviewed.

    Args:
        order: Of the queue.
        frame: N rows of a ``MaskTable``.
        doubts: Of these rows.
        cluster: (N,) where each mask is now.
        seed: For ``Order.RANDOM``.
        chosen: (n,) rows that are in the queue, for ``DISAGREEMENTS``, ``SKIPPED`` and ``LIKE_MENDED``, in the order
            in which they came up; else None for all of them.

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
    skipped: np.ndarray,
    *,
    after: int = -1,
    count: int = 8,
    claimed: Collection[int] = (),
) -> np.ndarray:
    """Places in the queue of the next masks to review.

    Args:
        queue: (n,) rows of the table.
        done: (N,) bool, by row: needs no review any more.
        skipped: (N,) bool, by row: comes when nothing else is left.
        after: Place that is left; those before it come last.
        count: How many are wanted.
        claimed: Rows that somebody else reviews now.

    Returns:
        At most ``count`` places: first what is open behind ``after``, then what is open before it, then what was
        skipped. The place ``after`` itself is not among them.
    """
    taken = np.sort(np.fromiter(claimed, np.int64, len(claimed)))
    split = min(max(after + 1, 0), len(queue))
    found: list[int] = []

    def collect(wanted: Callable[[np.ndarray], np.ndarray]) -> None:
        for first, last in ((split, len(queue)), (0, min(split, max(after, 0)))):
            found.extend(_first_places(queue, wanted, taken, first, last, count - len(found)))

    collect(lambda rows: ~done[rows] & ~skipped[rows])
    if len(found) < count and (skipped & ~done).any():
        collect(lambda rows: ~done[rows] & skipped[rows])
    return np.array(found, np.int64)


def _first_places(
    queue: np.ndarray,
    wanted: Callable[[np.ndarray], np.ndarray],
    taken: np.ndarray,
    first: int,
    last: int,
    count: int,
) -> list[int]:
    """At most ``count`` places from ``first`` to before ``last`` whose rows are wanted and not taken, (C,) ascending;
    it looks at none behind.
    """
    found: list[int] = []
    for start in range(first, last, _BLOCK):
        if len(found) >= count:
            break
        rows = queue[start : min(start + _BLOCK, last)]
        places = np.flatnonzero(wanted(rows))
        free = places[~np.isin(rows[places], taken)] if len(taken) else places
        found += (start + free[: count - len(found)]).tolist()
    return found
