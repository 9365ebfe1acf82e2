"""Clusters for people: a table of them, and the parts that one may be split into."""

from typing import Any

import numpy as np

from maskdistill.clustering.embedding_space import unit_rows
from maskdistill.clustering.kmeans import Clustering, cluster
from maskdistill.errors import ConfigError, ShapeError

NUM_SHOWN = 12  # exemplars and borderline masks of a cluster
SPLIT_STARTS = 10  # K-means starts in a cluster that is split


def cluster_table(clustering: Clustering, vectors: np.ndarray) -> list[dict[str, Any]]:
    """What to show of each cluster.

    Args:
        clustering: Of these vectors.
        vectors: (N, D), the space of the centres.

    Returns:
        One dict a cluster, in the order of the ids: ``cluster``; ``size``; ``mean_distance`` and ``mean_cosine`` of its
        members to the centre, None if it has none; ``exemplars``, up to 12 rows nearest to the centre, nearest first;
        ``borderline``, up to 12 rows of smallest margin, smallest first.

    Raises:
        ShapeError: If there is not one vector a label, in the dimensions of the centres.
    """
    if vectors.shape != (wanted := (len(clustering.labels), clustering.centres.shape[1])):
        raise ShapeError("vectors", f"{wanted}", vectors.shape)
    return [_describe_cluster(number, clustering, vectors) for number in range(clustering.num_classes)]


def split_parts(vectors: np.ndarray, seed: int, into: int) -> list[np.ndarray]:
    """Parts of one cluster, by K-means.

    Args:
        vectors: (M, D) of its masks, the space to split in.
        seed: Of the K-means.
        into: Number of parts.

    Returns:
        Rows of each part, the largest part first.

    Raises:
        ConfigError: If fewer of the vectors differ than parts are wanted.
    """
    distinct = len(np.unique(vectors, axis=0))
    if not 2 <= into <= distinct:
        if distinct < 2:
            raise ConfigError("A cluster whose masks are all alike, or that has but one, cannot be split.")
        raise ConfigError(f"The cluster can be split into 2 to {distinct} parts, as its masks differ, got {into}.")
    labels = cluster(vectors, into, seed=seed, num_seeds=SPLIT_STARTS).labels  # by falling size
    return [np.flatnonzero(labels == part) for part in range(into)]


def _describe_cluster(number: int, clustering: Clustering, vectors: np.ndarray) -> dict[str, Any]:
    members = np.flatnonzero(clustering.labels == number)
    distances, margins = clustering.distances[members], clustering.margins[members]
    cosines = unit_rows(vectors[members].astype(np.float64)) @ unit_rows(clustering.centres[number : number + 1])[0]
    return {
        "cluster": number,
        "size": len(members),
        "mean_distance": float(distances.mean()) if len(members) else None,
        "mean_cosine": float(cosines.mean()) if len(members) else None,
        "exemplars": members[np.argsort(distances, kind="stable")[:NUM_SHOWN]].tolist(),
        "borderline": members[np.argsort(margins, kind="stable")[:NUM_SHOWN]].tolist(),
    }
