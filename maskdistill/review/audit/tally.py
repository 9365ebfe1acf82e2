"""Counts of the labels so far, in all and of each cluster."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from maskdistill.review.audit.agreement import ACCEPTED, NO_LABEL, REJECTED

_ENOUGH = 3  # rejected masks from which a cluster is worth naming
_MOSTLY = 0.5  # share of the decided ones
_DEVIATIONS = 1.96  # standard ones, of an interval of 95 %


@dataclass(frozen=True)
class Tally:
    """Masks by their label."""

    accepted: int
    rejected: int
    relabelled: int
    skipped: int
    total: int

    @property
    def done(self) -> int:
        """Masks that are decided."""
        return self.accepted + self.rejected + self.relabelled


@dataclass(frozen=True)
class ClusterTally:
    """A cluster and the labels of its masks."""

    cluster: int
    decided: int
    rejected: int
    rows: np.ndarray  # those not decided


def count_labels(labels: np.ndarray, skipped: np.ndarray) -> Tally:
    """Count (N,) labels; a mask that was skipped, by the (N,) bool, counts as such until it has a label."""
    return Tally(
        accepted=int(np.count_nonzero(labels == ACCEPTED)),
        rejected=int(np.count_nonzero(labels == REJECTED)),
        relabelled=int(np.count_nonzero(labels > NO_LABEL)),
        skipped=int(np.count_nonzero(skipped & (labels == NO_LABEL))),
        total=len(labels),
    )


def most_rejected(labels: np.ndarray, cluster: np.ndarray, among: np.ndarray) -> Iterator[ClusterTally]:
    """Clusters most of whose decided masks were rejected, and at least three, the surest first.

    Args:
        labels: (N,) of each mask, as ``encode_labels`` gives them.
        cluster: (N,) the cluster of each mask, 0 for none.
        among: (N,) bool, the masks that count.

    Yields:
        By the falling lower end of Wilson's interval of the rejected share, so that 12 of 15 stand before 3 of 3.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    size = int(cluster.max(initial=0)) + 1
    undecided = labels == NO_LABEL
    decided = np.bincount(cluster[among & ~undecided], minlength=size)
    rejected = np.bincount(cluster[among & (labels == REJECTED)], minlength=size)
    found = np.flatnonzero((rejected >= _ENOUGH) & (rejected > _MOSTLY * decided))
    found = found[found > 0]
    found = found[np.argsort(-_least_share(rejected[found], decided[found]), kind="stable")]
    for number in found.tolist():
        rows = np.flatnonzero((cluster == number) & undecided & among)
        yield ClusterTally(number, int(decided[number]), int(rejected[number]), rows)


def _least_share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Lower end of the interval in which the share ``part / whole`` of many more masks would lie."""
    share, square = part / whole, _DEVIATIONS**2 / whole
    spread = _DEVIATIONS * np.sqrt(share * (1 - share) / whole + square / (4 * whole))
    return (share + square / 2 - spread) / (1 + square)
