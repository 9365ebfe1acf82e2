"""Choosing the embedding, its dimensions and the number of clusters without labels (docs/method.md)."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from maskdistill.clustering.embedding_space import NO_PCA, EmbeddingSpace, check_vectors, sample_rows, unit_rows
from maskdistill.clustering.kmeans import draw_seeds, fit_kmeans, mean_agreement
from maskdistill.errors import ConfigError, ShapeError

MOST_ROWS = 5000  # of more, a sample is measured: neighbours and silhouettes take N x N distances
NUM_NEIGHBOURS = 10
CHOICE_SEEDS = 6  # K-means runs that an embedding's score is averaged over
BOOTSTRAP = 0.7  # share of the masks in a bootstrap
CURVE_STARTS = 3  # K-means starts a bootstrap, so that the curve shows the data and not the starts
LEAST_MASKS = 10
LOW_K, HIGH_K, NUM_VALUES = 4, 60, 14  # the MSRC photos in two halves agree by up to 0.9, in their 14 classes by 0.66
MASKS_PER_CLASS = 5  # the default values stop where clusters would hold fewer
AGREES = 0.9  # share of the largest agreement from which a value is nearly as good
SEPARATES = 0.95  # share of the largest silhouette among these, likewise
REFINEMENTS = 2  # rounds that look halfway between the best default value and those beside it

OnStep = Callable[[int, int], object]


@dataclass(frozen=True)
class EmbeddingScore:
    """How well one embedding, cut to some dimensions, clusters."""

    name: str
    dimensions: int  # after PCA
    neighbours: float  # neighbour agreement, mean over the raw spaces of all candidates, [0, 1]: the score
    own_neighbours: float  # the same in the candidate's own raw space only
    seed_agreement: float  # mean adjusted Rand index between K-means seeds


@dataclass(frozen=True)
class EmbeddingChoice:
    """The embedding of the best score, and all scores in the order of candidates and dimensions."""

    name: str
    dimensions: int
    scores: tuple[EmbeddingScore, ...]

    def table(self) -> list[dict[str, Any]]:
        """The scores as plain rows, for a data frame or JSON."""
        return [dataclasses.asdict(score) for score in self.scores]


@dataclass(frozen=True)
class KCurve:
    """What K-means does at each number of clusters; the sequences run with ``values``, which ascend."""

    values: tuple[int, ...]
    agreement: tuple[float, ...]  # mean adjusted Rand index between bootstraps, on the masks they share
    silhouette: tuple[float, ...]  # of all masks, [-1, 1]
    inertia: tuple[float, ...]
    suggested: int
    plateau: tuple[int, int]  # first and last of the neighbouring values that agree nearly as well as the best


def nearest_neighbours(raw_vectors: np.ndarray, num_neighbours: int = NUM_NEIGHBOURS) -> np.ndarray:
    """(N, min(num_neighbours, N - 1)) row numbers of the vectors of largest cosine, without the vector itself."""
    check_vectors(raw_vectors)
    search = NearestNeighbors(n_neighbors=min(num_neighbours, len(raw_vectors) - 1), algorithm="brute")
    return search.fit(unit_rows(raw_vectors)).kneighbors(return_distance=False)


def choose_embedding(
    candidates: Mapping[str, np.ndarray],
    dimensions: Sequence[int] = (12, 24, 48, 96),
    *,
    num_classes: int = 20,
    seed: int = 0,
    whiten: bool = True,
    normalise: bool = True,
    on_step: OnStep | None = None,
) -> EmbeddingChoice:
    """Pick the embedding, and its dimensions after PCA, whose clusters keep neighbours together.

    Each pair is fitted by ``EmbeddingSpace``, clustered by K-means from a few seeds, and scored by neighbour agreement.
    A candidate's own raw space would favour one that is merely easy to cut, like a single colour; so the score is the
    mean over the raw spaces of all candidates, in which clusters that several embeddings see do well and a useless
    space takes as much from everyone. Measured on the MSRC photos with 40 settings (10 embeddings, PCA 12 to 96, K 14),
    rank correlation with the labels' NMI: this mean 0.98, all candidates in one vector 0.97, the own space 0.90,
    agreement of seeds 0.86. With one candidate the mean is its own space.

    Args:
        candidates: (N, D) raw embeddings of the same masks, by name; D may differ.
        dimensions: Tried with each; those above a candidate's rank are cut to it, and tried once. -1 alone: no PCA.
        num_classes: K of the clusters, the same for all: the measure depends on it.
        seed: Of K-means.
        whiten: As ``EmbeddingSpace.fit``.
        normalise: As ``EmbeddingSpace.fit``.
        on_step: Called with the number of pairs done and their total.

    Raises:
        ConfigError: If there is no candidate or dimension, or fewer masks than clusters.
        ShapeError: If the candidates differ in N.
    """
    sampled = _check_candidates(candidates, dimensions, num_classes)
    references = {name: nearest_neighbours(vectors) for name, vectors in sampled.items()}
    scores: dict[tuple[str, int], EmbeddingScore] = {}
    for number, (name, vectors) in enumerate(sampled.items()):
        space = EmbeddingSpace.fit(vectors, max(dimensions), whiten, normalise)
        for spot, wanted in enumerate(dimensions, start=1):
            pair = name, min(wanted, space.dimensions)
            if pair not in scores:
                fitted = space if wanted == NO_PCA else space.cut(wanted)
                runs = _label_runs(fitted.transform(vectors), num_classes, seed)
                scores[pair] = _score(*pair, runs, references)
            if on_step:
                on_step(number * len(dimensions) + spot, len(sampled) * len(dimensions))
    best = max(scores.values(), key=lambda score: score.neighbours)  # the first of equals
    return EmbeddingChoice(best.name, best.dimensions, tuple(scores.values()))


def suggest_num_classes(
    vectors: np.ndarray,
    values: Sequence[int] | None = None,
    *,
    seed: int = 0,
    num_bootstraps: int = 8,
    on_step: OnStep | None = None,
) -> KCurve:
    """Find the number of clusters by the agreement of bootstraps (Lange et al., Neural Computation 2004).

    For each K the same random 70 % samples are clustered, and each two compared on the masks in both. The curve rises
    steeply to the number of classes and is nearly flat beyond, where clusters of one class are parted and its largest
    value lies anywhere. So of the values around the largest agreement that reach ``AGREES`` of it, the smallest is
    taken whose silhouette reaches ``SEPARATES`` of the largest one there.
    Two or three clusters may agree on any data, and without whitening few always do (measured: 0.99 for two): the
    default values start at 4, and the vectors should be whitened.

    Args:
        vectors: (N, D) in the space of the clusters; of more than ``MOST_ROWS`` a sample is read.
        values: K to try; None for some between 4 and 60, closer around the best, none so large that a cluster would
            hold fewer than 5 different vectors.
        seed: Of the samples and of K-means.
        num_bootstraps: Samples, at least 2.
        on_step: Called with the number of values done and the most there may be.

    Raises:
        ConfigError: If there are fewer than 10 different vectors, or a value is below 2 or above the size of a sample.
    """
    check_vectors(vectors)
    sample = sample_rows(vectors, MOST_ROWS)
    subset_size = round(BOOTSTRAP * len(sample))
    grid = _default_values(sample) if values is None else _check_values(values, subset_size)
    if num_bootstraps < 2:
        raise ConfigError(f"num_bootstraps must be at least 2, got {num_bootstraps}.")
    rng = np.random.default_rng(seed)
    subsets = [np.sort(rng.choice(len(sample), subset_size, replace=False)) for _ in range(num_bootstraps)]
    points: dict[int, tuple[float, float, float]] = {}
    total = len(grid) + (2 * REFINEMENTS if values is None else 0)
    for refinement in range(REFINEMENTS + 1 if values is None else 1):
        for value in grid if not refinement else _halfway(points):
            points[value] = _curve_point(sample, value, subsets, seed)
            if on_step:
                on_step(len(points), total)
    if on_step and len(points) < total:
        on_step(total, total)
    return _read_curve(points)


def _share(neighbours: np.ndarray, labels: np.ndarray) -> float:
    return float((labels[neighbours] == labels[:, None]).mean())


def _check_candidates(
    candidates: Mapping[str, np.ndarray], dimensions: Sequence[int], num_classes: int
) -> dict[str, np.ndarray]:
    if not candidates or not dimensions:
        raise ConfigError(
            f"Choosing needs at least one embedding and one dimension, got {len(candidates)} and {len(dimensions)}."
        )
    if min(dimensions) < 1 and tuple(dimensions) != (NO_PCA,):
        raise ConfigError(f"dimensions must be at least 1 to be compared, got {list(dimensions)}.")
    num_masks = len(next(iter(candidates.values())))
    for name, vectors in candidates.items():
        if vectors.ndim != 2 or len(vectors) != num_masks:
            raise ShapeError(f"candidates['{name}']", f"({num_masks}, D)", vectors.shape)
    if not 2 <= num_classes <= num_masks:
        raise ConfigError(f"num_classes must be in [2, {num_masks}], the number of masks, got {num_classes}.")
    return {name: sample_rows(vectors, MOST_ROWS) for name, vectors in candidates.items()}


def _label_runs(vectors: np.ndarray, num_classes: int, seed: int) -> list[np.ndarray]:
    with threadpool_limits(limits=1):  # one thread, for the reason that ``cluster`` gives
        return [fit_kmeans(vectors, num_classes, state).labels_ for state in draw_seeds(seed, CHOICE_SEEDS)]


def _score(
    name: str, dimensions: int, runs: Sequence[np.ndarray], references: Mapping[str, np.ndarray]
) -> EmbeddingScore:
    shares = {other: np.mean([_share(near, run) for run in runs]) for other, near in references.items()}
    return EmbeddingScore(
        name, dimensions, float(np.mean(list(shares.values()))), float(shares[name]), mean_agreement(runs) or 0.0
    )


def _default_values(vectors: np.ndarray) -> list[int]:
    distinct = len(np.unique(vectors, axis=0))
    if distinct < LEAST_MASKS:
        raise ConfigError(
            f"Suggesting a number of classes needs at least {LEAST_MASKS} masks that differ, got {distinct}. "
            f"Set clusters.num_classes{f' to 2 to {distinct}' if distinct > 2 else ''}, or add photos."
        )
    high = min(HIGH_K, distinct // MASKS_PER_CLASS)
    return sorted({round(value) for value in np.geomspace(min(LOW_K, high), high, NUM_VALUES)})


def _check_values(values: Sequence[int], most: int) -> list[int]:
    checked = sorted(set(values))
    if not checked or checked[0] < 2 or checked[-1] > most:
        raise ConfigError(f"values must be in [2, {most}], {BOOTSTRAP:.0%} of the masks, got {list(values)}.")
    return checked


def _curve_point(
    vectors: np.ndarray, value: int, subsets: Sequence[np.ndarray], seed: int
) -> tuple[float, float, float]:
    """Agreement, silhouette and inertia of one K."""
    first, *states = draw_seeds(seed, len(subsets) + 1)
    placed = np.full((len(subsets), len(vectors)), -1)
    with threadpool_limits(limits=1):
        for row, subset, state in zip(placed, subsets, states, strict=True):
            row[subset] = fit_kmeans(vectors[subset], value, state, num_starts=CURVE_STARTS).labels_
        whole = fit_kmeans(vectors, value, first, num_starts=CURVE_STARTS)
    agreements = []
    for one, other in combinations(placed, 2):
        shared = (one >= 0) & (other >= 0)
        agreements.append(adjusted_rand_score(one[shared], other[shared]))
    return float(np.mean(agreements)), float(silhouette_score(vectors, whole.labels_)), float(whole.inertia_)


def _halfway(points: Mapping[int, tuple[float, float, float]]) -> list[int]:
    """Values not tried yet between the suggested one and those beside it."""
    values, best = sorted(points), _read_curve(points).suggested
    spot = values.index(best)
    beside = values[max(0, spot - 1) : spot + 2]
    return [value for value in {(best + other) // 2 for other in beside} if value not in points]


def _read_curve(points: Mapping[int, tuple[float, float, float]]) -> KCurve:
    values = sorted(points)
    agreement, silhouette, inertia = zip(*(points[value] for value in values), strict=True)
    low = high = int(np.argmax(agreement))
    enough = AGREES * agreement[low]
    while low > 0 and agreement[low - 1] >= enough:
        low -= 1
    while high < len(values) - 1 and agreement[high + 1] >= enough:
        high += 1
    largest = max(silhouette[low : high + 1])
    far = largest - (1 - SEPARATES) * abs(largest)
    suggested = next(spot for spot in range(low, high + 1) if silhouette[spot] >= far)
    return KCurve(tuple(values), agreement, silhouette, inertia, values[suggested], plateau=(values[low], values[high]))
