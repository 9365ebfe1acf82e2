"""Ward's rule: fewer clusters out of many, each time by the merge that adds least to the inertia."""

import numpy as np


def merge_centres(centres: np.ndarray, sizes: np.ndarray, num_classes: int) -> np.ndarray:
    """Merge clusters to ``num_classes`` by Ward's rule: each time the pair that adds least to the inertia.

    Joining clusters of a and b members adds a b / (a + b) times the squared distance of their centres (Ward, 1963).

    Args:
        centres: (M, D) means of the clusters.
        sizes: (M,) members of each.
        num_classes: K, at most M.

    Returns:
        (M,) int64 ids 0..K-1 of the merged cluster of each, numbered by their first cluster.
    """
    centres, sizes = centres.astype(np.float64), sizes.astype(np.float64)
    groups = np.arange(len(centres))
    costs = np.stack([_ward_costs(number, centres, sizes) for number in range(len(groups))])  # (M, M)
    np.fill_diagonal(costs, np.inf)
    for _ in range(len(centres) - num_classes):
        first, second = sorted(np.unravel_index(np.argmin(costs), costs.shape))
        shares = sizes[[first, second]] / max(1.0, sizes[first] + sizes[second])
        centres[first] = shares @ centres[[first, second]]
        sizes[first] += sizes[second]
        groups[groups == second] = first
        costs[second] = costs[:, second] = np.inf
        # What is infinite stays so: the cluster itself, and those that are merged already.
        row = np.where(np.isfinite(costs[first]), _ward_costs(int(first), centres, sizes), np.inf)
        costs[first] = costs[:, first] = row
    return np.unique(groups, return_inverse=True)[1]


def _ward_costs(number: int, centres: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(M,) inertia that joining one cluster with each other adds."""
    weights = sizes[number] * sizes / np.maximum(1.0, sizes[number] + sizes)
    return weights * np.square(centres - centres[number]).sum(axis=1)
