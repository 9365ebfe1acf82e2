"""Stage ``clusters``: which embedding, how many classes, and the cluster of every mask. No label is read."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from maskdistill.arrays import VectorStore
from maskdistill.choosing import Choice, KCurve, choose_embedding, suggest_num_classes
from maskdistill.clustering import Clustering, assign, cluster, cluster_table, consensus_cluster
from maskdistill.config import ClusterConfig
from maskdistill.embedding_candidates import candidate_embeddings
from maskdistill.embedding_space import EmbeddingSpace
from maskdistill.errors import ConfigError, RunError
from maskdistill.progress import replace_atomically
from maskdistill.stages.context import Context
from maskdistill.store import Run, read_json, write_json, write_table

DIMENSIONS = (12, 16, 20, 24, 32, 48)  # tried when the dimensions are left open
USUAL_CLASSES = 20  # K while the embedding is chosen and K itself is not known yet


def make_clusters(context: Context) -> str:
    """Cluster the masks of the training photos; masks of other photos go to the nearest centre, for reporting only."""
    config = context.config.clusters
    store = read_vectors(context.run)
    readable = _readable(context, list(context.annotations))
    if not readable:
        raise RunError(f"No mask of {context.run.path} has a vector, so there is nothing to cluster.")
    ids = [item["id"] for number in readable for item in context.annotations[number]]
    training = set(context.training_numbers)
    fitted = np.array([number in training for number in readable for _ in context.annotations[number]])
    candidates = candidate_embeddings(store.read(readable))
    with context.reporter("clusters", len(DIMENSIONS) * len(candidates), unit="embeddings") as reporter:
        fit = {name: values[fitted] for name, values in candidates.items()}
        support = _support_vectors(context.run, list(fit)) if config.support else None
        found = find_clusters(fit, config, context.config.seed, support, lambda _done, _total: reporter.advance())
    space, clustering = found.space, found.clustering
    everything = space.transform(candidates[found.choice.name])
    labels, distances, margins = assign(everything, clustering.centres)
    labels[fitted], distances[fitted], margins[fitted] = clustering.labels, clustering.distances, clustering.margins
    table = pd.DataFrame(
        {
            "mask_id": np.array(ids, dtype=np.int64),
            "cluster": labels + 1,
            "distance": distances,
            "margin": margins,
            "fitted": fitted,
        }
    )
    _write(context.run, table, everything, found)
    spread = clustering.agreement
    return (
        f"{clustering.num_classes} clusters of {int(fitted.sum())} masks by {found.choice.name}, "
        f"{space.dimensions} dimensions{'' if spread is None else f'; agreement of the runs {spread:.2f}'}."
    )


@dataclass(frozen=True)
class Found:
    """What ``find_clusters`` decided."""

    choice: Choice
    curve: KCurve | None  # None where the number of classes was given
    space: EmbeddingSpace  # of the chosen embedding
    clustering: Clustering  # of the masks, without the support


def find_clusters(
    candidates: dict[str, np.ndarray],
    config: ClusterConfig,
    seed: int,
    support: dict[str, np.ndarray] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Found:
    """Choose what is left open, then cluster.

    Args:
        candidates: (N, D) raw embeddings of the masks, by name.
        config: Settings.
        seed: Of all runs.
        support: (M, D) raw embeddings of further masks, by the same names, that only help.
        on_step: Called with the number of embeddings tried and their total.

    Raises:
        ConfigError: If there are fewer different masks than clusters, or the embedding is unknown.
    """
    wanted = _wanted(candidates, config.embedding)
    num_masks = len(next(iter(candidates.values())))
    joined = {name: _join(values, support, name) for name, values in wanted.items()}
    dimensions = DIMENSIONS if config.dimensions == 0 else (config.dimensions,)
    known = config.num_classes or min(USUAL_CLASSES, max(2, num_masks // 5))
    choice = choose_embedding(
        wanted,
        dimensions,
        num_classes=known,
        seed=seed,
        whiten=config.whiten,
        normalise=config.normalise,
        on_step=on_step,
    )
    spaces = {
        pair: EmbeddingSpace.fit(joined[pair[0]], pair[1], config.whiten, config.normalise)
        for pair in _best_pairs(choice, config.num_spaces if config.method == "consensus" else 1)
    }
    views = [space.transform(joined[name]) for (name, _), space in spaces.items()]
    curve = None
    if config.num_classes == 0:
        curve = suggest_num_classes(views[0][:num_masks], seed=seed)
    num_classes = config.num_classes or curve.suggested
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
    return Found(choice, curve, next(iter(spaces.values())), clustering.first(num_masks))


def recluster(context: Context, seed: int) -> tuple[np.ndarray, np.ndarray, Clustering]:
    """The clusters of the training photos' masks under another seed, by the embeddings chosen before.

    Returns:
        (N,) mask ids and (N, D) float32 vectors of the training photos' masks, and their clusters.
    """
    config = context.config.clusters
    record = read_json(context.run.path / "clusters.json")
    table = context.run.clusters()
    fitted = table["fitted"].to_numpy()
    vectors = np.load(context.run.path / "embeddings.npy")[fitted]
    num_classes = record["num_classes"]
    if config.method == "kmeans":
        clustering = cluster(
            vectors,
            num_classes,
            seed=seed,
            num_seeds=config.num_seeds,
            minibatch_from=config.minibatch_from,
            overcluster=config.overcluster,
        )
    else:
        views = [vectors, *_other_views(context, record, int(fitted.sum()))]
        clustering = consensus_cluster(
            views, num_classes, seed=seed, num_rounds=config.num_rounds, minibatch_from=config.minibatch_from
        )
    return table["mask_id"].to_numpy()[fitted], vectors, clustering


def _other_views(context: Context, record: dict[str, Any], num_masks: int) -> list[np.ndarray]:
    """The other embeddings of the consensus, of the training photos' masks."""
    config = context.config.clusters
    candidates = candidate_embeddings(read_vectors(context.run).read(_readable(context, context.training_numbers)))
    ranked = sorted(record["embeddings"], key=lambda row: -row["neighbours"])[1 : config.num_spaces]
    views = [candidates[row["name"]] for row in ranked]
    if any(len(values) != num_masks for values in views):
        raise RunError(f"The vectors of {context.run.path} do not fit its clusters. Run the clusters again.")
    return [
        EmbeddingSpace.fit(values, row["dimensions"], config.whiten, config.normalise).transform(values)
        for values, row in zip(views, ranked, strict=True)
    ]


def _readable(context: Context, numbers: Sequence[int]) -> list[int]:
    store = read_vectors(context.run)
    return [number for number in sorted(numbers) if store.path(number).is_file()]


def read_vectors(run: Run) -> VectorStore:
    """The raw vectors of a run's masks."""
    return VectorStore(run.path / "features" / read_json(run.path / "embeddings.json")["folder"])


def _wanted(candidates: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    if name == "auto":
        return candidates
    if name not in candidates:
        raise ConfigError(f"No embedding '{name}'. There are: auto, {', '.join(candidates)}.")
    return {name: candidates[name]}


def _best_pairs(choice: Choice, count: int) -> list[tuple[str, int]]:
    """Embeddings and dimensions that keep neighbours together best, the chosen one first."""
    ranked = sorted(choice.scores, key=lambda score: -score.neighbours)
    return [(score.name, score.dimensions) for score in ranked[:count]]


def _support_vectors(run: Run, names: list[str]) -> dict[str, np.ndarray] | None:
    """Raw embeddings of the second folder's masks, if they were made."""
    other = Run(run.path / "support")
    if not (other.path / "embeddings.json").is_file():
        return None
    store = read_vectors(other)
    numbers = sorted(int(path.stem) for path in store.folder.rglob("*.npz"))
    found = candidate_embeddings(store.read(numbers))
    return {name: found[name] for name in names}


def _join(values: np.ndarray, support: dict[str, np.ndarray] | None, name: str) -> np.ndarray:
    return values if support is None else np.concatenate([values, support[name]])


def _write(run: Run, table: pd.DataFrame, vectors: np.ndarray, found: Found) -> None:
    """clusters.parquet, embeddings.npy (rows as in the table), space.npz and clusters.json."""
    write_table(run.clusters_path, table)
    replace_atomically(run.path / "embeddings.npy", lambda path: _save(path, vectors.astype(np.float32)))
    arrays = {**found.space.to_arrays(), "centres": found.clustering.centres}
    replace_atomically(run.path / "space.npz", lambda path: _save_all(path, arrays))
    fitted = table["fitted"].to_numpy()
    summary = cluster_table(found.clustering, vectors[fitted])
    ids = table["mask_id"].to_numpy()[fitted]
    record: dict[str, Any] = {
        "num_classes": found.clustering.num_classes,
        "embedding": found.choice.name,
        "dimensions": found.space.dimensions,
        "agreement": found.clustering.agreement,
        "inertias": list(found.clustering.inertias),
        "embeddings": found.choice.table(),
        "num_classes_curve": None if found.curve is None else _plain(asdict(found.curve)),
        "clusters": [
            {
                **row,
                "cluster": row["cluster"] + 1,
                "exemplars": ids[row["exemplars"]].tolist(),
                "borderline": ids[row["borderline"]].tolist(),
            }
            for row in summary
        ],
    }
    write_json(run.path / "clusters.json", record)


def _save(path: Path, values: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, values)


def _save_all(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Arrays and tuples as lists, for JSON."""
    return {name: np.asarray(value).tolist() for name, value in values.items()}
