"""The clusters of mask embeddings, with all that the settings leave open: which embedding, how many clusters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskdistill.clustering.consensus import consensus_cluster
from maskdistill.clustering.embedding_space import CHUNK_ROWS, EmbeddingSpace
from maskdistill.clustering.kmeans import Clustering, cluster, draw_seeds
from maskdistill.clustering.model_selection import EmbeddingChoice, KCurve, choose_embedding, suggest_num_classes
from maskdistill.clustering.soft_clusters import match_to_medoid
from maskdistill.config import ClusterConfig
from maskdistill.errors import ConfigError

DIMENSIONS = (12, 16, 20, 24, 32, 48)  # tried when the dimensions are left open
MOST_AGAIN = 3  # times that masks are clustered again for clusters that are left out
USUAL_CLASSES = 20  # K while the embedding is chosen and K itself is not known yet

Embeddings = Mapping[str, np.ndarray]  # (N, D) raw vectors of the same masks, by name; each has a D of its own


@dataclass(frozen=True)
class FoundClusters:
    """What ``find_clusters`` decided."""

    choice: EmbeddingChoice
    curve: KCurve | None  # None where the number of classes was given
    space: EmbeddingSpace  # of the chosen embedding
    runs: tuple[Clustering, ...]  # of the masks, without the support, under one numbering; the first one counts

    @property
    def clustering(self) -> Clustering:
        """The one that says of each mask which cluster it is in."""
        return self.runs[0]


def find_clusters(
    candidates: Embeddings,
    config: ClusterConfig,
    seed: int,
    support: Embeddings | None = None,
    on_step: Callable[[int, int], None] | None = None,
    count_left_out: Callable[[np.ndarray], int] = lambda _labels: 0,
) -> FoundClusters:
    """Choose what is left open, then cluster.

    Where K is given and clusters are left out, there are more of them, so that K are left.

    Args:
        candidates: Of the masks.
        config: Settings.
        seed: Of all runs.
        support: Of further masks, by the same names, that only help.
        on_step: Called with the number of steps done and their total, as ``count_steps`` counts them.
        count_left_out: (N,) clusters of the masks, from 0 -> how many of the clusters are not to be classes.

    Raises:
        ConfigError: If there are fewer different masks than clusters, or the embedding is unknown.
    """
    num_masks = len(next(iter(candidates.values())))
    _check_number(num_masks, config.num_classes)
    steps = count_steps(candidates, config)
    tried = len(_wanted(candidates, config.embedding)) * len(_dimensions(config))
    usual = config.num_classes or min(USUAL_CLASSES, max(2, num_masks // 5))
    tell = on_step and (lambda done, _total: on_step(done, steps))
    choice, fitted = choose_spaces(candidates, config, seed, support, num_classes=usual, on_step=tell)
    spaces, views = zip(*fitted, strict=True)
    curve = None if config.num_classes else suggest_num_classes(views[0][:num_masks], seed=seed)
    wanted_classes = config.num_classes if curve is None else curve.suggested
    on_run = (lambda done: on_step(tried + done, steps)) if on_step and config.soft_runs else None
    runs = cluster_views(views, wanted_classes, num_masks, config, seed, on_run)
    for _ in range(MOST_AGAIN if config.num_classes else 0):
        more = min(num_masks, wanted_classes + count_left_out(runs[0].labels))
        if more <= runs[0].num_classes:
            break
        runs = cluster_views(views, more, num_masks, config, seed)
    return FoundClusters(choice, curve, spaces[0], tuple(runs))


def choose_spaces(
    candidates: Embeddings,
    config: ClusterConfig,
    seed: int,
    support: Embeddings | None = None,
    *,
    num_classes: int,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[EmbeddingChoice, list[tuple[EmbeddingSpace, np.ndarray]]]:
    """Which embedding keeps neighbours together best, and the spaces to cluster in, as ``fit_spaces`` gives them.

    Args:
        candidates: Of the masks.
        config: Settings.
        seed: Of all runs.
        support: Of further masks, by the same names.
        num_classes: K of the runs that the embeddings are compared by.
        on_step: Called with the number of embeddings tried and their total.

    Raises:
        ConfigError: If there are too few masks, or the embedding is unknown.
    """
    wanted = _wanted(candidates, config.embedding)
    _check_number(len(next(iter(wanted.values()))), num_classes)
    choice = choose_embedding(
        wanted,
        _dimensions(config),
        num_classes=num_classes,
        seed=seed,
        whiten=config.whiten,
        normalise=config.normalise,
        on_step=on_step,
    )
    return choice, fit_spaces(wanted, support, choice.table(), config)


def count_steps(candidates: Embeddings, config: ClusterConfig) -> int:
    """How many steps ``find_clusters`` tells of: embeddings, each in every number of dimensions; then clusterings,
    where several are wanted.

    Raises:
        ConfigError: If the embedding is unknown.
    """
    return len(_wanted(candidates, config.embedding)) * len(_dimensions(config)) + config.soft_runs


def fit_spaces(
    candidates: Embeddings, support: Embeddings | None, scores: Sequence[Mapping[str, Any]], config: ClusterConfig
) -> list[tuple[EmbeddingSpace, np.ndarray]]:
    """The spaces to cluster in: those that keep neighbours together best, the chosen one first.

    Args:
        candidates: Of the N masks.
        support: Of M further masks, or None.
        scores: Of the candidates, as ``EmbeddingChoice.table`` gives them.
        config: Settings.

    Returns:
        Each space with its (N + M, d) vectors, those of the support last.
    """
    ranked = sorted(scores, key=lambda score: -score["neighbours"])
    chosen = ranked[: config.num_spaces if config.method == "consensus" else 1]
    if support is not None:
        names = {score["name"] for score in chosen}
        candidates = {name: np.concatenate([candidates[name], support[name]]) for name in names}
    spaces = [
        EmbeddingSpace.fit(candidates[score["name"]], score["dimensions"], config.whiten, config.normalise)
        for score in chosen
    ]
    length = len(candidates[chosen[0]["name"]])
    new_rows = getattr(candidates, "new_rows", lambda width: np.empty((length, width), np.float32))
    views = [new_rows(space.dimensions) for space in spaces]
    for start in range(0, length, CHUNK_ROWS):  # one part in every space, so that stored vectors are read once
        rows = slice(start, start + CHUNK_ROWS)
        for score, space, view in zip(chosen, spaces, views, strict=True):
            view[rows] = space.transform_chunk(candidates[score["name"]][rows])
    return list(zip(spaces, views, strict=True))


def cluster_views(
    views: Sequence[np.ndarray],
    num_classes: int,
    num_masks: int,
    config: ClusterConfig,
    seed: int,
    on_run: Callable[[int], None] | None = None,
) -> list[Clustering]:
    """Clusters of masks by their vectors in one or more spaces, as often as ``clusters.soft_runs`` says.

    Args:
        views: (N, d) vectors in each space; "kmeans" takes the first.
        num_classes: K.
        num_masks: The rows from this one on only help, and are not in the result.
        config: Settings.
        seed: Of the first clustering, and of the seeds of the others.
        on_run: Called with the number of clusterings made.

    Returns:
        The clustering that counts first; the others under its numbering.

    Raises:
        ConfigError: If there are fewer different vectors than clusters.
    """
    runs = []
    for own in (seed, *draw_seeds(seed, max(0, config.soft_runs - 1))):
        runs.append(_cluster_once(views, num_classes, num_masks, config, own))
        if on_run is not None:
            on_run(len(runs))
    return match_to_medoid(runs)


def _cluster_once(
    views: Sequence[np.ndarray], num_classes: int, num_masks: int, config: ClusterConfig, seed: int
) -> Clustering:
    if config.method == "consensus":
        clustering = consensus_cluster(
            views, num_classes, seed=seed, num_rounds=config.num_rounds, minibatch_from=config.minibatch_from
        )
    else:
        clustering = cluster(
            views[0],
            num_classes,
            seed=seed,
            num_seeds=config.num_seeds,
            minibatch_from=config.minibatch_from,
            overcluster=config.overcluster,
            num_fit=num_masks,
        )
    return clustering.first(num_masks)


def _check_number(num_masks: int, num_classes: int) -> None:
    if num_masks < 2:
        raise ConfigError(
            f"{num_masks or 'No'} mask of a training photo cannot be grouped into classes. Add photos, some dozens of "
            "each kind of object, and start again; finished masks are kept."
        )
    if num_classes > num_masks:
        raise ConfigError(
            f"clusters.num_classes is {num_classes}, but there are {num_masks} masks of training photos. "
            f"Set it to at most {num_masks}, or add photos."
        )


def _wanted(candidates: Embeddings, name: str) -> Embeddings:
    if name == "auto":
        return candidates
    if name not in candidates:
        raise ConfigError(f"No embedding '{name}'. There are: auto, {', '.join(candidates)}.")
    return {name: candidates[name]}


def _dimensions(config: ClusterConfig) -> tuple[int, ...]:
    """Those to try."""
    return (config.dimensions,) if config.dimensions else DIMENSIONS
