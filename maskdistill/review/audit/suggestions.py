"""Which clusters a mask may belong to: those offered under the keys 1 to 9."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import sparse

from maskdistill.clustering.embedding_space import unit_rows

NUM_KEYS = 9


@dataclass(frozen=True, eq=False)
class ClusterCentres:
    """The centres of clusters, relative to the mean of all masks."""

    ids: np.ndarray  # (K,) rising
    sizes: np.ndarray  # (K,) masks
    mean: np.ndarray | None = None  # (D,) mean of all; None without vectors
    directions: np.ndarray | None = None  # (K, D) of length 1, from the mean to the means of the clusters

    @classmethod
    def of(cls, cluster: np.ndarray, vectors: np.ndarray | None = None) -> Self:
        """Centres of clusters.

        Args:
            cluster: (N,) cluster of each mask, 0 for none.
            vectors: (N, D), one a mask; may be mapped into memory.
        """
        ids, codes, sizes = np.unique(cluster, return_inverse=True, return_counts=True)
        real = ids > 0
        if vectors is None or not len(vectors):
            return cls(ids[real], sizes[real])
        ones = np.ones(len(vectors), np.float32)
        sums = sparse.csr_matrix((ones, (codes, np.arange(len(vectors)))), (len(ids), len(vectors))) @ vectors
        mean = sums.sum(axis=0) / len(vectors)
        return cls(ids[real], sizes[real], mean, unit_rows(sums / sizes[:, None] - mean)[real])

    def nearest(self, vector: np.ndarray) -> list[int]:
        """Clusters by falling cosine with a (D,) vector, both relative to the mean; none if there are no vectors."""
        if self.directions is None:
            return []
        return self.ids[np.argsort(-(self.directions @ (vector - self.mean)), kind="stable")].tolist()

    def largest(self) -> list[int]:
        """Clusters by falling size."""
        return self.ids[np.argsort(-self.sizes, kind="stable")].tolist()


def suggest_clusters(
    own: int, label: int, centres: ClusterCentres, vector: np.ndarray | None = None, excluded: Collection[int] = ()
) -> list[int]:
    """At most nine clusters, in the order of the keys: its own, the class that the first model predicts, the nearest
    ones by their centres, then the largest.

    Args:
        own: Cluster of the mask, 0 for none.
        label: Class that the first model predicts, 0 for none.
        centres: Of all clusters.
        vector: (D,) of the mask; None without one.
        excluded: Clusters that nothing can be moved to.
    """
    near: Iterable[int] = [] if vector is None else centres.nearest(vector)
    wanted = dict.fromkeys([own, label, *near, *centres.largest()])
    known = set(centres.ids.tolist()) - set(excluded)
    return [number for number in wanted if number in known][:NUM_KEYS]
