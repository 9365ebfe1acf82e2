"""Clusters of bad masks, found without labels: their masks stand out far less than the others of the run."""

import numpy as np

DOUBTFUL = 0.78  # of the median over all masks


def doubtful_clusters(labels: np.ndarray, prominence: np.ndarray) -> dict[int, float]:
    """The clusters whose masks are on average less prominent than ``DOUBTFUL`` of the median mask.

    Where a cut takes all between sky and ground for the object, or only a part of it, the masks reach the border, and
    what is inside is as likely foreground as what is around; being alike in that they form clusters of their own.

    Args:
        labels: (N,) cluster of each mask, at least 0; -1 leaves a mask out.
        prominence: (N,) of each mask, [0, 1]: how much likelier the inside is foreground than a ring around it, times
            the share of the photo's border that it leaves free; NaN where that is unknown, which counts nowhere.

    Returns:
        By cluster the mean over its masks as a share of the median, rising by cluster.
    """
    counted = (labels >= 0) & np.isfinite(prominence)
    median = float(np.median(prominence[counted])) if counted.any() else 0.0
    if median <= 0:
        return {}
    shares = {
        int(number): float(prominence[counted & (labels == number)].mean()) / median
        for number in np.unique(labels[counted])
    }
    return {number: share for number, share in shares.items() if share < DOUBTFUL}
