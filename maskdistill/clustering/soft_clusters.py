"""Soft clusters: what share of several clusterings puts a mask in each cluster.

One clustering is one answer of many that are about as good. What all of them say of a mask is more than what one does:
where they part, a model that learns the shares is not taught one side as the truth.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

from maskdistill.clustering.kmeans import Clustering, assign
from maskdistill.errors import ShapeError


def match_to_medoid(runs: Sequence[Clustering]) -> list[Clustering]:
    """The runs under one numbering, the medoid first: the one that agrees most with the others.

    Each of the others has its clusters numbered so that it has the most vectors in common with the medoid (Hungarian
    method). Agreement is the mean adjusted Rand index with all others; of equal runs the first counts.

    Args:
        runs: At least one, of the same N vectors and of K clusters each.

    Raises:
        ShapeError: If they are of different numbers of vectors or clusters.
    """
    for run in runs:
        if (len(run.labels), run.num_classes) != (len(runs[0].labels), runs[0].num_classes):
            wanted = f"({len(runs[0].labels)}, {runs[0].num_classes}) vectors and clusters as the first"
            raise ShapeError("runs", wanted, (len(run.labels), run.num_classes))
    scores = np.zeros((len(runs), len(runs)))
    for first in range(len(runs)):
        for second in range(first):
            scores[first, second] = adjusted_rand_score(runs[first].labels, runs[second].labels)
    medoid = int((scores + scores.T).sum(axis=1).argmax())
    others = [run for number, run in enumerate(runs) if number != medoid]
    return [runs[medoid], *(_renumber(run, runs[medoid].labels) for run in others)]


def cluster_shares(runs: Sequence[Clustering], vectors: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """(N, K) float32 share of the runs that puts each vector in each cluster; each row sums to 1.

    Args:
        runs: Of the fitted vectors, under one numbering.
        vectors: (N, D) in the space of the runs' centres.
        fitted: (N,) bool, which of them the runs are of; each run puts the others into the cluster of its nearest
            centre.
    """
    counts = np.zeros((len(vectors), runs[0].num_classes), np.float32)
    for run in runs:
        labels = np.empty(len(vectors), np.int64)
        labels[fitted] = run.labels
        if not fitted.all():
            labels[~fitted] = assign(vectors[~fitted], run.centres)[0]
        counts[np.arange(len(vectors)), labels] += 1
    return counts / len(runs)


def _renumber(run: Clustering, wanted: np.ndarray) -> Clustering:
    """The same clusters under the numbers that have most vectors in common with the (N,) labels ``wanted``."""
    common = np.zeros((run.num_classes, run.num_classes), np.int64)
    np.add.at(common, (run.labels, wanted), 1)
    new_ids = linear_sum_assignment(-common)[1]
    return replace(run, labels=new_ids[run.labels], centres=run.centres[np.argsort(new_ids)])
