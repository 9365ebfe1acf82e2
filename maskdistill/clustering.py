"""K-means on mask embeddings: several seeds, over-clustering, consensus, and what a person may change afterwards."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from maskdistill.embedding_space import check_vectors, unit_rows
from maskdistill.errors import ConfigError, ShapeError

BATCH = 1000  # vectors of a mini-batch, as published
POLISH_STEPS = 300  # most full steps from the best centres
CHUNK_ROWS = 8192  # rows whose distances to all centres are held at a time
NUM_SHOWN = 12  # exemplars and borderline masks of a cluster
CONSENSUS_SPREAD = (1.0, 3.0)  # rounds draw their K between these multiples of num_classes
CONSENSUS_STARTS = SPLIT_STARTS = 10  # K-means starts in the spectral space, and in a cluster that is split
SVD_STEPS = 20  # power iterations; clear clusters have singular values near 1, which need few


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
    _check_count(vectors, num_classes, "num_classes")
    if overcluster and overcluster < num_classes:
        raise ConfigError(f"overcluster must be 0 or at least num_classes ({num_classes}), got {overcluster}.")
    num_found = overcluster or num_classes
    _check_count(vectors, num_found, "overcluster" if overcluster else "num_classes")
    minibatch = len(vectors) >= minibatch_from
    with threadpool_limits(limits=1):  # sums of several threads are added up in the order in which they end
        runs = [fit_kmeans(vectors, num_found, state, minibatch=minibatch) for state in draw_seeds(seed, num_seeds)]
        best = _polish(vectors, min(runs, key=lambda run: run.inertia_).cluster_centers_)
    labels, *_ = _measure(vectors, best)
    if num_found > num_classes:
        labels = _merge_down(best, labels, num_classes)
        best = _means(vectors, labels)
    new_ids = _rank_by_size(labels[:num_fit], num_classes)
    result = Clustering._describe(vectors, new_ids[labels], best[np.argsort(new_ids)])
    merged = [_merge_down(run.cluster_centers_, run.labels_, num_classes) for run in runs]
    return replace(result, inertias=tuple(float(run.inertia_) for run in runs), agreement=mean_agreement(merged))


def consensus_cluster(
    spaces: Sequence[np.ndarray],
    num_classes: int,
    *,
    seed: int,
    num_rounds: int = 40,
    spread: tuple[float, float] = CONSENSUS_SPREAD,
    minibatch_from: int = 20_000,
) -> Clustering:
    """Clusters on which many K-means runs of random K agree (Fred and Jain, TPAMI 2005), by a spectral split.

    Two vectors are alike as often as the rounds put them together. That co-association matrix is Z Z' for the sparse
    (N, sum of K) memberships Z, so its normalised spectral embedding (Ng, Jordan and Weiss, NIPS 2001) is the singular
    vectors of D^-1/2 Z: exact, and without a matrix of N x N, so N has no other limit than the runs themselves.

    Args:
        spaces: One or more views of the same N items, each (N, D) of its own D: the rounds take them in turn. Centres,
            distances and margins are those of the first.
        num_classes: K, at least 2.
        seed: Of the rounds and of the split.
        num_rounds: K-means runs, each with its own K.
        spread: The K of a round is drawn between these multiples of ``num_classes``.
        minibatch_from: From this N on the rounds read mini-batches.

    Returns:
        Centres are the means of the members, so margins may be negative; ``inertias`` is empty, ``agreement`` the mean
        adjusted Rand index of the result with each round.

    Raises what ``cluster`` raises.
    """
    vectors = spaces[0]
    _check_count(vectors, num_classes, "num_classes")
    low, high = (min(max(2, round(factor * num_classes)), len(vectors)) for factor in spread)
    counts = np.random.default_rng(seed).integers(low, high, size=num_rounds, endpoint=True).tolist()
    *states, last = draw_seeds(seed, num_rounds + 1)
    minibatch = len(vectors) >= minibatch_from
    with threadpool_limits(limits=1):
        rounds = [
            fit_kmeans(spaces[number % len(spaces)], k, state, minibatch=minibatch).labels_
            for number, (k, state) in enumerate(zip(counts, states, strict=True))
        ]
        embedded = _spectral_rows(rounds, num_classes, last)
        labels = fit_kmeans(embedded, num_classes, last, num_starts=CONSENSUS_STARTS).labels_
    result = Clustering.from_labels(vectors, _rank_by_size(labels, num_classes)[labels])
    return replace(result, agreement=float(np.mean([adjusted_rand_score(labels, other) for other in rounds])))


def fit_kmeans(
    vectors: np.ndarray, num_classes: int, seed: int, *, num_starts: int = 1, minibatch: bool = False
) -> KMeans | MiniBatchKMeans:
    """A fitted scikit-learn model, the best of ``num_starts``; too few different vectors leave clusters empty."""
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


def assign(vectors: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put each vector into the cluster of its nearest centre.

    Args:
        vectors: (N, D), transformed as those of the centres were.
        centres: (K, D).

    Returns:
        (N,) int64 labels, (N,) float32 distances to the nearest centre, (N,) float32 margins: how much farther the
        second nearest is; infinite if K is 1.

    Raises:
        ShapeError: If the dimensions differ.
    """
    if vectors.ndim != 2 or vectors.shape[1] != centres.shape[1]:
        raise ShapeError("vectors", f"(N, {centres.shape[1]})", vectors.shape)
    return _measure(vectors, centres)


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
    costs = np.stack([_ward_costs(number, centres, sizes) for number in groups])  # (M, M)
    np.fill_diagonal(costs, np.inf)
    for _ in range(len(centres) - num_classes):
        first, second = sorted(np.unravel_index(np.argmin(costs), costs.shape))
        shares = sizes[[first, second]] / max(1.0, sizes[first] + sizes[second])
        centres[first] = shares @ centres[[first, second]]
        sizes[first] += sizes[second]
        groups[groups == second] = first
        costs[second] = costs[:, second] = np.inf
        # What is infinite stays so: the cluster itself, and those that are merged already.
        row = np.where(np.isfinite(costs[first]), _ward_costs(first, centres, sizes), np.inf)
        costs[first] = costs[:, first] = row
    return np.unique(groups, return_inverse=True)[1]


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


def _rank_by_size(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """(K,) new id of each cluster: by falling size, then by the first member."""
    firsts = np.full(num_classes, len(labels))
    np.minimum.at(firsts, labels, np.arange(len(labels)))
    order = np.lexsort((firsts, -np.bincount(labels, minlength=num_classes)))
    return np.argsort(order)


def _merge_down(centres: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """(N,) labels after the clusters are merged to K; as they are if there are no more than K."""
    if len(centres) <= num_classes:
        return labels
    return merge_centres(centres, np.bincount(labels, minlength=len(centres)), num_classes)[labels]


def _ward_costs(number: int, centres: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(M,) inertia that joining one cluster with each other adds."""
    weights = sizes[number] * sizes / np.maximum(1.0, sizes[number] + sizes)
    return weights * np.square(centres - centres[number]).sum(axis=1)


def _spectral_rows(rounds: Sequence[np.ndarray], num_classes: int, seed: int) -> np.ndarray:
    """(N, K) rows of length 1 in which the split of the co-association graph is a K-means."""
    num_rows = len(rounds[0])
    offsets = np.cumsum([0, *(labels.max() + 1 for labels in rounds)])
    columns = np.stack(rounds, axis=1) + offsets[:-1]  # (N, rounds)
    pointers = np.arange(num_rows + 1) * len(rounds)
    members = sparse.csr_array((np.ones(columns.size), columns.ravel(), pointers), shape=(num_rows, offsets[-1]))
    degrees = members @ members.sum(axis=0)
    # A block method: clear clusters have equal singular values, which Lanczos may take for one.
    left, *_ = randomized_svd(
        sparse.diags_array(degrees**-0.5) @ members,
        num_classes,
        n_iter=SVD_STEPS,
        power_iteration_normalizer="QR",
        random_state=seed,
    )
    return unit_rows(left)


def _check_count(vectors: np.ndarray, wanted: int, setting: str) -> None:
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


def _check_cluster(labels: np.ndarray, number: int) -> None:
    if not np.any(labels == number):
        raise ConfigError(f"There is no cluster {number}. There are 0 to {labels.max()}.")
