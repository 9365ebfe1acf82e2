"""K-means on mask embeddings from several seeds, with over-clustering, and what a clustering is described by."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Self

import numpy as np
from scipy import sparse
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import euclidean_distances
from threadpoolctl import threadpool_limits

from maskdistill.clustering.embedding_space import check_vectors
from maskdistill.clustering.ward import merge_centres
from maskdistill.errors import ConfigError, ShapeError

BATCH = 1000  # vectors of a mini-batch, as published
POLISH_STEPS = 300  # most full steps from the best centres
MOST_FITTED = 200_000  # vectors that centres are found on; each step of a mini-batch looks at all of them
CHUNK_ROWS = 8192  # rows whose distances to all centres are held at a time


@dataclass(frozen=True, eq=False)
class Clustering:
    """Clusters of N vectors of D dimensions."""

    labels: np.ndarray  # (N,) int64, 0..K-1
    centres: np.ndarray  # (K, D) float32
    distances: np.ndarray  # (N,) float32, Euclidean, to the centre of the own cluster
    margins: np.ndarray  # (N,) float32, distance to the nearest other centre minus ``distances``; inf if K is 1
    inertia: float  # sum of squared ``distances``
    inertias: tuple[float, ...] = ()  # of every K-means run, in the order of their seeds
    agreement: float | None = None  # mean adjusted Rand index of all pairs of runs; None with a single one

    @classmethod
    def from_labels(cls, vectors: np.ndarray, labels: np.ndarray) -> Self:
        """Describe given clusters: centres are the means of their members.

        Margins are negative for a vector nearer to another cluster's centre than to its own: K-means leaves none,
        merging and splitting do.

        Raises:
            ShapeError: If there is not one label a vector.
            ConfigError: If the ids are not 0..K-1, each of them used.
        """
        if labels.shape != (len(vectors),):
            raise ShapeError("labels", f"({len(vectors)},)", labels.shape)
        ids = np.unique(labels)
        if not np.array_equal(ids, np.arange(len(ids))):
            raise ConfigError(f"Cluster ids must be 0..K-1, each of them used, got {ids.tolist()}.")
        return cls._describe(vectors, labels, _means(vectors, labels))

    @classmethod
    def _describe(cls, vectors: np.ndarray, labels: np.ndarray, centres: np.ndarray) -> Self:
        centres = centres.astype(np.float32)
        labels, distances, margins = _measure(vectors, centres, labels)
        return cls(labels, centres, distances, margins, _inertia(distances))

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.centres)

    def first(self, num_rows: int) -> Self:
        """The same clusters seen from the first rows only: support vectors left out, centres as they are."""
        labels, distances, margins = self.labels[:num_rows], self.distances[:num_rows], self.margins[:num_rows]
        return replace(self, labels=labels, distances=distances, margins=margins, inertia=_inertia(distances))


def cluster(
    vectors: np.ndarray,
    num_classes: int,
    *,
    seed: int,
    num_seeds: int = 20,
    minibatch_from: int = 20_000,
    overcluster: int = 0,
    num_fit: int | None = None,
) -> Clustering:
    """K-means from several k-means++ starts (Arthur and Vassilvitskii, SODA 2007); the least inertia is kept.

    The best centres are moved on by full K-means steps until they rest, so that every vector is in the cluster of its
    nearest centre, after mini-batches too. Ids run by falling size, ties by the first member: the same vectors
    give the same ids.

    Args:
        vectors: (N, D), as a rule from ``EmbeddingSpace.transform``.
        num_classes: K, at least 2.
        seed: Every run's own seed is drawn from it. The number of threads has no influence.
        num_seeds: Runs, at least 1.
        minibatch_from: From this N on the runs read mini-batches.
        overcluster: If not 0, this many clusters are found first and merged to K by ``merge_centres``.
        num_fit: Rows from this one on are support vectors: they help to place the centres, but sizes do not count
            them, so a cluster that holds nothing else comes last. Labels are for all rows; see ``Clustering.first``.

    Raises:
        ShapeError: If ``vectors`` is not a matrix.
        ConfigError: If K or ``overcluster`` is out of range, or fewer vectors differ than clusters are wanted.
    """
    check_count(vectors, num_classes, "num_classes")
    if overcluster and overcluster < num_classes:
        raise ConfigError(f"overcluster must be 0 or at least num_classes ({num_classes}), got {overcluster}.")
    num_found = overcluster or num_classes
    check_count(vectors, num_found, "overcluster" if overcluster else "num_classes")
    minibatch = len(vectors) >= minibatch_from
    with threadpool_limits(limits=1):  # sums of several threads are added up in the order in which they end
        runs = [fit_kmeans(vectors, num_found, state, minibatch=minibatch) for state in draw_seeds(seed, num_seeds)]
        best = _polish(vectors, min(runs, key=lambda run: run.inertia_).cluster_centers_)
    labels, *_ = _measure(vectors, best)
    if num_found > num_classes:
        labels = _merge_down(best, labels, num_classes)
        best = _means(vectors, labels)
    new_ids = rank_by_size(labels[:num_fit], num_classes)
    result = Clustering._describe(vectors, new_ids[labels], best[np.argsort(new_ids)])
    merged = [_merge_down(run.cluster_centers_, run.labels_, num_classes) for run in runs]
    return replace(result, inertias=tuple(float(run.inertia_) for run in runs), agreement=mean_agreement(merged))


def fit_kmeans(
    vectors: np.ndarray, num_classes: int, seed: int, *, num_starts: int = 1, minibatch: bool = False
) -> KMeans | MiniBatchKMeans:
    """A fitted scikit-learn model, the best of ``num_starts``; too few different vectors leave clusters empty.

    Of more than ``MOST_FITTED`` vectors as many are drawn, on which it is fitted; labels and inertia are of all.
    """
    if len(vectors) > MOST_FITTED:
        drawn = np.random.default_rng(seed).choice(len(vectors), MOST_FITTED, replace=False)
        model = fit_kmeans(vectors[np.sort(drawn)], num_classes, seed, num_starts=num_starts, minibatch=minibatch)
        model.labels_, distances, _ = _measure(vectors, model.cluster_centers_)
        model.inertia_ = _inertia(distances)
        return model
    options = {"n_clusters": num_classes, "n_init": num_starts, "random_state": seed}
    model = MiniBatchKMeans(batch_size=BATCH, **options) if minibatch else KMeans(**options)
    if not minibatch:
        vectors = vectors.astype(np.float64)  # k-means++ converts float32 again for every centre it draws
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Number of distinct clusters", ConvergenceWarning)
        return model.fit(vectors)


def draw_seeds(seed: int, count: int) -> list[int]:
    """``count`` independent seeds below 2^32; a longer list starts with the shorter one."""
    return [int(state) for state in np.random.SeedSequence(seed).generate_state(count)]


def mean_agreement(labelings: Sequence[np.ndarray]) -> float | None:
    """Mean adjusted Rand index (Hubert and Arabie, 1985) of all pairs: 1 equal, 0 by chance, None of fewer than 2."""
    scores = [adjusted_rand_score(first, second) for first, second in combinations(labelings, 2)]
    return float(np.mean(scores)) if scores else None


def assign(
    vectors: np.ndarray, centres: np.ndarray, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put each vector into the cluster of its nearest centre, or measure how it lies in a given one.

    Args:
        vectors: (N, D), transformed as those of the centres were.
        centres: (K, D).
        labels: (N,) given ids, 0..K-1.

    Returns:
        (N,) int64 labels, (N,) float32 distances to the own centre, (N,) float32 margins: how much farther the nearest
        other one is; infinite if K is 1, and negative only where a given centre is not the nearest.

    Raises:
        ShapeError: If the dimensions differ.
    """
    if vectors.ndim != 2 or vectors.shape[1] != centres.shape[1]:
        raise ShapeError("vectors", f"(N, {centres.shape[1]})", vectors.shape)
    return _measure(vectors, centres, labels)


def rank_by_size(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """(K,) new id of each cluster of the (N,) labels: by falling size, then by the first member."""
    firsts = np.full(num_classes, len(labels))
    np.minimum.at(firsts, labels, np.arange(len(labels)))
    order = np.lexsort((firsts, -np.bincount(labels, minlength=num_classes)))
    return np.argsort(order)


def check_count(vectors: np.ndarray, wanted: int, setting: str) -> None:
    """Refuse a number of clusters that the vectors do not give.

    Args:
        vectors: (N, D).
        wanted: Number of clusters.
        setting: What it is called in the settings, for the message.

    Raises:
        ShapeError: If ``vectors`` is not a matrix.
        ConfigError: If ``wanted`` is below 2, or fewer vectors differ.
    """
    check_vectors(vectors)
    if wanted < 2:
        raise ConfigError(f"{setting} must be at least 2, got {wanted}.")
    if len(np.unique(vectors[: 4 * wanted], axis=0)) >= wanted:  # as a rule so, and a sort of all is spared
        return
    distinct = len(np.unique(vectors, axis=0))
    if distinct < wanted:
        raise ConfigError(
            f"{len(vectors)} masks, {distinct} of them different, cannot make {wanted} clusters. "
            f"Set clusters.{setting} to at most {distinct}, or add photos."
        )


def _polish(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    model = KMeans(len(centres), init=centres, n_init=1, max_iter=POLISH_STEPS, tol=0)
    return model.fit(vectors).cluster_centers_.astype(np.float32)  # as they are kept, so that ``assign`` agrees


def _measure(
    vectors: np.ndarray, centres: np.ndarray, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (those of the nearest centre unless given), distances and margins."""
    nearest = np.empty(len(vectors), dtype=np.int64) if labels is None else labels.astype(np.int64)
    distances, margins = np.empty((2, len(vectors)), dtype=np.float32)
    for start in range(0, len(vectors), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        table = euclidean_distances(vectors[rows].astype(np.float64), centres.astype(np.float64))  # (n, K)
        if labels is None:
            nearest[rows] = table.argmin(axis=1)
        own = np.take_along_axis(table, nearest[rows, None], axis=1)
        np.put_along_axis(table, nearest[rows, None], np.inf, axis=1)
        distances[rows], margins[rows] = own[:, 0], table.min(axis=1) - own[:, 0]
    return nearest, distances, margins


def _means(vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    members = sparse.csr_array((np.ones(len(labels)), (labels, np.arange(len(labels)))))  # (K, N)
    return members @ vectors.astype(np.float64) / np.bincount(labels)[:, None]


def _inertia(distances: np.ndarray) -> float:
    return float(np.square(distances, dtype=np.float64).sum())


def _merge_down(centres: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """(N,) labels after the clusters are merged to K; as they are if there are no more than K."""
    if len(centres) <= num_classes:
        return labels
    return merge_centres(centres, np.bincount(labels, minlength=len(centres)), num_classes)[labels]
