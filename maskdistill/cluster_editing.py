"""What a person looks at in clusters, and changes in them: a table, merging, splitting."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from maskdistill.clustering import Clustering, cluster
from maskdistill.embedding_space import unit_rows
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


def merge_clusters(labels: np.ndarray, which: Sequence[int]) -> np.ndarray:
    """Put the clusters ``which`` into the one of the lowest id; ids above a freed one move down.

    Raises:
        ConfigError: If fewer than two different clusters are named, or one does not exist.
    """
    which = sorted(set(which))
    for number in which:
        _check_cluster(labels, number)
    if len(which) < 2:
        raise ConfigError(f"Merging needs at least 2 different clusters, got {which}. Choose another one as well.")
    merged = np.where(np.isin(labels, which), which[0], labels)
    return merged - np.searchsorted(which[1:], merged)


def split_cluster(vectors: np.ndarray, labels: np.ndarray, which: int, into: int, seed: int) -> np.ndarray:
    """Split one cluster by K-means; no other changes its id.

    Args:
        vectors: (N, D), the space to split in.
        labels: (N,) ids 0..K-1.
        which: Id of the cluster.
        into: Number of parts. The largest keeps the id, the others follow after the last one, by falling size.
        seed: Of the K-means.

    Raises:
        ConfigError: If the cluster does not exist, or fewer of its vectors differ than parts are wanted.
    """
    _check_cluster(labels, which)
    members = np.flatnonzero(labels == which)
    distinct = len(np.unique(vectors[members], axis=0))
    if not 2 <= into <= distinct:
        raise ConfigError(
            f"Cluster {which} can be split into 2 to {distinct} parts, as many as masks of it differ, got {into}."
        )
    parts = cluster(vectors[members], into, seed=seed, num_seeds=SPLIT_STARTS).labels
    split = labels.copy()
    split[members] = np.where(parts == 0, which, labels.max() + parts)
    return split


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


def _check_cluster(labels: np.ndarray, number: int) -> None:
    if not np.any(labels == number):
        raise ConfigError(f"There is no cluster {number}. There are 0 to {labels.max()}.")
