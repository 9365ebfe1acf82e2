"""Shares of masks in clusters, taken through what people changed. Pure: no file is read."""

import numpy as np


def carry_shares(
    shares: np.ndarray,
    before: np.ndarray,
    moved: np.ndarray,
    cluster: np.ndarray,
    chosen: np.ndarray,
    excluded: np.ndarray,
) -> np.ndarray:
    """Shares in the classes, where people merged, split and excluded clusters and put masks where they belong.

    What a mask has in its own cluster goes where the mask went. What it has in another one goes where that one's masks
    went: all of it where the cluster was merged, in the proportion of its parts where it was split. Excluded classes
    lose their shares to the others. What people said of a mask itself is no matter of shares: it is wholly there.

    Args:
        shares: (N, K) in the clusters as they were made, each row sums to 1.
        before: (N,) cluster of each mask then, 1 to K.
        moved: (N,) the same after people's changes of clusters, without what they said of single masks, 1 to C.
        cluster: (N,) class in the end, 1 to C; 0 for what is in none.
        chosen: (N,) bool, put where it is as a single mask.
        excluded: (C,) bool, no class any more.

    Returns:
        (N, C) float32; the rows of masks in no class mean nothing. Exactly ``shares`` where nothing was changed.
    """
    num_before, num_classes = shares.shape[1], len(excluded)
    ways = np.zeros((num_before, num_classes))
    np.add.at(ways, (before[~chosen] - 1, moved[~chosen] - 1), 1)
    alone = ways.sum(axis=1) == 0  # clusters of which people put every mask elsewhere
    told = alone[before - 1]
    np.add.at(ways, (before[told] - 1, moved[told] - 1), 1)
    ways /= np.maximum(ways.sum(axis=1, keepdims=True), 1)
    own = shares[np.arange(len(shares)), before - 1].astype(np.float64)
    carried = shares.astype(np.float64) @ ways - own[:, None] * ways[before - 1]
    carried[np.arange(len(shares)), moved - 1] += own
    lost = carried[:, excluded].sum(axis=1)
    carried[:, excluded] = 0
    some = (lost > 0) & (lost < 1)
    carried[some] /= carried[some].sum(axis=1, keepdims=True)
    wholly = (chosen | (carried.sum(axis=1) <= 0)) & (cluster > 0)
    carried[wholly] = 0
    carried[wholly, cluster[wholly] - 1] = 1
    return carried.clip(0).astype(np.float32)
