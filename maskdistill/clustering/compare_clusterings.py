"""Two clusterings of the same masks: how far they agree, and what of one went where in the other. Pure."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

from maskdistill.errors import ShapeError

MOST = 0.8  # share of a cluster that makes it "the same" in another clustering
PART = 0.2  # share of a cluster from which it is a part worth telling


@dataclass(frozen=True, eq=False)
class Comparison:
    """Clusters of one clustering (rows) against those of another (columns), on the masks that both hold."""

    first: tuple[int, ...]  # numbers of the rows
    second: tuple[int, ...]  # numbers of the columns
    counts: np.ndarray  # (R, C) int64 masks in both
    agreement: float  # adjusted Rand index: 1 equal, 0 by chance
    overlap: float  # share of the masks in clusters that are matched one to one, so that the most are
    pairs: tuple[tuple[int, int], ...]  # (row's number, column's number) of those matches

    @property
    def same(self) -> tuple[tuple[int, int], ...]:
        """Matches that share most of either cluster."""
        return tuple(pair for pair in self.pairs if self._share(*pair) >= MOST)

    def _share(self, one: int, other: int) -> float:
        row, column = self.first.index(one), self.second.index(other)
        both = self.counts[row, column]
        return both / max(self.counts[row].sum(), self.counts[:, column].sum(), 1)

    def splits(self) -> dict[int, list[int]]:
        """Clusters of the first that come apart: number -> those of the second that each hold a part of it."""
        return _apart(self.counts, self.first, self.second)

    def merges(self) -> dict[int, list[int]]:
        """Clusters of the second that come together: number -> those of the first that each are a part of it."""
        return _apart(self.counts.T, self.second, self.first)


def compare_clusterings(one: np.ndarray, other: np.ndarray) -> Comparison:
    """Compare two clusterings.

    Args:
        one: (N,) cluster numbers from 1; 0 for a mask that is in none, which does not count.
        other: (N,) likewise.

    Raises:
        ShapeError: If they differ in length.
    """
    if one.shape != other.shape:
        raise ShapeError("other", str(one.shape), other.shape)
    both = (one > 0) & (other > 0)
    first, rows = np.unique(one[both], return_inverse=True)
    second, columns = np.unique(other[both], return_inverse=True)
    counts = np.zeros((len(first), len(second)), np.int64)
    np.add.at(counts, (rows, columns), 1)
    matched = linear_sum_assignment(-counts)
    pairs = tuple(
        (int(first[row]), int(second[column])) for row, column in zip(*matched, strict=True) if counts[row, column]
    )
    return Comparison(
        first=tuple(first.tolist()),
        second=tuple(second.tolist()),
        counts=counts,
        agreement=float(adjusted_rand_score(rows, columns)) if len(rows) else 0.0,
        overlap=float(counts[matched].sum() / max(1, counts.sum())),
        pairs=pairs,
    )


def diagonal_order(counts: np.ndarray) -> np.ndarray:
    """(C,) order of the columns that brings what belongs together near the diagonal."""
    total = counts.sum(axis=0)
    middle = (np.arange(len(counts))[:, None] * counts).sum(axis=0) / np.maximum(total, 1)
    return np.lexsort((-total, middle))


def _apart(counts: np.ndarray, names: tuple[int, ...], into: tuple[int, ...]) -> dict[int, list[int]]:
    found = {}
    for row, name in zip(counts, names, strict=True):
        shares = row / max(1, row.sum())
        parts = [into[column] for column in np.argsort(-shares, kind="stable") if shares[column] >= PART]
        if len(parts) > 1:
            found[name] = parts
    return found
