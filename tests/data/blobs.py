"""Made-up vectors in groups, and how close groups are."""

import numpy as np


def blobs(sizes=(40, 25, 20, 10), width=6, spread=0.15, seed=0):
    """Gaussian blobs in shuffled order, and which blob each vector is of; the first blob is the largest."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(sizes), width)) * 2
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return (centres[truth] + rng.normal(size=(len(truth), width)) * spread).astype(np.float32), truth


def slow_inertia(vectors, labels):
    """Sum of squared distances to the means of the groups, by loops."""
    total = 0.0
    for number in set(labels.tolist()):
        members = vectors[labels == number].astype(np.float64)
        total += sum(((member - members.mean(axis=0)) ** 2).sum() for member in members)
    return total
