"""Consensus of many K-means runs: vectors are alike as often as the runs put them together."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from maskdistill.clustering.embedding_space import unit_rows
from maskdistill.clustering.kmeans import (
    CHUNK_ROWS,
    MOST_FITTED,
    Clustering,
    check_count,
    draw_seeds,
    fit_kmeans,
    rank_by_size,
)

SPREAD = (1.0, 3.0)  # rounds draw their K between these multiples of num_classes
NUM_STARTS = 10  # K-means starts in the spectral space
SVD_STEPS = 20  # power iterations; clear clusters have singular values near 1, which need few


def consensus_cluster(
    spaces: Sequence[np.ndarray],
    num_classes: int,
    *,
    seed: int,
    num_rounds: int = 40,
    spread: tuple[float, float] = SPREAD,
    minibatch_from: int = 20_000,
) -> Clustering:
    """Clusters on which many K-means runs of random K agree (Fred and Jain, TPAMI 2005), by a spectral split.

    Two vectors are alike as often as the rounds put them together. That co-association matrix is Z Z' for the sparse
    (N, sum of K) memberships Z, so its normalised spectral embedding (Ng, Jordan and Weiss, NIPS 2001) is the singular
    vectors of D^-1/2 Z, without a matrix of N x N: exact up to ``MOST_FITTED``, beyond placed by as many.

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
    check_count(vectors, num_classes, "num_classes")
    low, high = (min(max(2, round(factor * num_classes)), len(vectors)) for factor in spread)
    counts = np.random.default_rng(seed).integers(low, high, size=num_rounds, endpoint=True).tolist()
    *states, last = draw_seeds(seed, num_rounds + 1)
    minibatch = len(vectors) >= minibatch_from
    with threadpool_limits(limits=1):
        rounds = [
            fit_kmeans(spaces[number % len(spaces)], k, state, minibatch=minibatch).labels_.astype(np.int32)
            for number, (k, state) in enumerate(zip(counts, states, strict=True))
        ]
        embedded = _spectral_rows(rounds, num_classes, last)
        labels = fit_kmeans(embedded, num_classes, last, num_starts=NUM_STARTS).labels_
    result = Clustering.from_labels(vectors, rank_by_size(labels, num_classes)[labels])
    return replace(result, agreement=float(np.mean([adjusted_rand_score(labels, other) for other in rounds])))


def _spectral_rows(rounds: Sequence[np.ndarray], num_classes: int, seed: int) -> np.ndarray:
    """(N, K) rows of length 1 in which the split of the co-association graph is a K-means.

    Of more than ``MOST_FITTED`` as many are drawn, whose singular vectors place the others too.
    """
    num_rows = len(rounds[0])
    offsets = np.cumsum([0, *(int(labels.max()) + 1 for labels in rounds)])
    drawn: np.ndarray | slice = slice(None)
    if num_rows > MOST_FITTED:
        drawn = np.sort(np.random.default_rng(seed).choice(num_rows, MOST_FITTED, replace=False))
    members = _memberships(rounds, offsets, drawn)
    degrees = members @ members.sum(axis=0)
    # A block method: clear clusters have equal singular values, which Lanczos may take for one.
    left, values, right = randomized_svd(
        sparse.diags_array(degrees**-0.5) @ members,
        num_classes,
        n_iter=SVD_STEPS,
        power_iteration_normalizer="QR",
        random_state=seed,
    )
    if num_rows <= MOST_FITTED:
        return unit_rows(left)
    placed = np.empty((num_rows, num_classes))
    for start in range(0, num_rows, CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        placed[rows] = unit_rows(_memberships(rounds, offsets, rows) @ (right.T / np.maximum(values, 1e-12)))
    return placed


def _memberships(rounds: Sequence[np.ndarray], offsets: np.ndarray, rows: np.ndarray | slice) -> sparse.csr_array:
    """(n, sum of K) for some rows: 1 for the cluster of each round that a vector is in."""
    columns = np.stack([labels[rows] for labels in rounds], axis=1) + offsets[:-1]  # (n, rounds)
    pointers = np.arange(len(columns) + 1) * len(rounds)
    return sparse.csr_array((np.ones(columns.size), columns.ravel(), pointers), shape=(len(columns), offsets[-1]))
