"""Stage ``clusters``: which embedding, how many classes, and the cluster of every mask. No label is read."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from maskdistill.clustering.cluster_summary import cluster_table
from maskdistill.clustering.doubtful import doubtful_clusters
from maskdistill.clustering.find_clusters import (
    Embeddings,
    FoundClusters,
    choose_spaces,
    cluster_views,
    count_steps,
    find_clusters,
    fit_spaces,
)
from maskdistill.clustering.kmeans import Clustering, assign
from maskdistill.clustering.soft_clusters import cluster_shares
from maskdistill.clustering.stored_vectors import read_embeddings, read_support, read_vectors, take_rows
from maskdistill.datasets.records import MAX_LABEL
from maskdistill.errors import ConfigError, RunError
from maskdistill.files import replace_atomically, write_json
from maskdistill.stages.cluster_mended import place_mended
from maskdistill.stages.context import Context
from maskdistill.stages.prominence import mask_prominence
from maskdistill.stages.repairs import kept_clustering
from maskdistill.storage.read_files import DamagedFileError, read_json
from maskdistill.storage.run_folder import Run, write_table
from maskdistill.storage.shares import with_shares


@dataclass(frozen=True)
class Masks:
    """What the clusters are made from: the masks that have vectors."""

    ids: np.ndarray  # (N,) int64, rising
    fitted: np.ndarray  # (N,) bool, of a training photo, and of those that clusters are made of
    embeddings: Embeddings
    support: Embeddings | None  # of the masks of a second folder, which only help
    categories: np.ndarray  # (N,) text, those that came with masks made elsewhere; "" for none
    mended: np.ndarray  # (N,) bool, whether people drew it

    @property
    def training(self) -> Embeddings:
        """Embeddings of the masks of the training photos."""
        return take_rows(self.embeddings, self.fitted)


def make_clusters(context: Context) -> str:
    """Cluster the masks of the training photos; masks of other photos go to the nearest centre, for reporting only."""
    config, masks = context.config.clusters, _read_masks(context)
    if context.own_key and kept_clustering(context.run, context.own_key) is not None:
        return _place_mended(context.run, masks)
    known = mask_prominence(context)
    prominence = np.array([known.get(id, np.nan) for id in masks.ids[masks.fitted].tolist()])
    if config.by == "categories":
        return _take_categories(context, masks)
    unit = "steps" if config.soft_runs else "embeddings"
    with context.reporter("clusters", count_steps(masks.embeddings, config), unit=unit) as reporter:
        found = find_clusters(
            masks.training,
            config,
            context.config.seed,
            masks.support,
            lambda done, _total: reporter.reach(done),
            lambda labels: len(doubtful_clusters(labels, prominence)) if config.leave_out_doubtful else 0,
        )
    doubtful = {number + 1: share for number, share in doubtful_clusters(found.clustering.labels, prominence).items()}
    if len(doubtful) == found.clustering.num_classes:
        doubtful = {}
    clustering, fitted = found.clustering, masks.fitted
    vectors = found.space.transform(masks.embeddings[found.choice.name])
    labels, distances, margins = assign(vectors, clustering.centres)
    labels[fitted], distances[fitted], margins[fitted] = clustering.labels, clustering.distances, clustering.margins
    table = pd.DataFrame(
        {"mask_id": masks.ids, "cluster": labels + 1, "distance": distances, "margin": margins, "fitted": fitted}
    )
    if config.soft_runs:
        table = with_shares(table, cluster_shares(found.runs, vectors, fitted))
    _write(context.run, table, vectors, found, doubtful, list(doubtful) if config.leave_out_doubtful else [])
    spread = clustering.agreement
    return (
        f"{clustering.num_classes} clusters of {int(fitted.sum())} masks by {found.choice.name}, "
        f"{found.space.dimensions} dimensions{'' if spread is None else f'; agreement of the runs {spread:.2f}'}"
        f"{_describe_doubtful(list(doubtful), config.leave_out_doubtful)}."
    )


def _place_mended(run: Run, masks: Masks) -> str:
    """The clusters as they were found before people mended masks, with the mended ones in the nearest."""
    table, vectors, arrays, record = place_mended(run, masks.ids, masks.mended, masks.embeddings)
    write_table(run.clusters_path, table)
    replace_atomically(run.path / "embeddings.npy", lambda path: _save(path, vectors))
    replace_atomically(run.path / "space.npz", lambda path: _save_all(path, arrays))
    write_json(run.path / "clusters.json", record)
    return f"{int(masks.mended.sum())} mended masks in the {record['num_classes']} clusters that were found before."


def _take_categories(context: Context, masks: Masks) -> str:
    """The categories of the training photos' masks as clusters; masks without one go to the nearest."""
    config, run = context.config.clusters, context.run
    names = sorted(set(masks.categories[masks.fitted].tolist()) - {""})
    _check_categories(run, len(names))
    numbers = {name: number for number, name in enumerate(names)}
    own = np.array([numbers.get(name, -1) for name in masks.categories.tolist()])
    known = masks.fitted & (own >= 0)
    embeddings = take_rows(masks.embeddings, known)
    with context.reporter(
        "clusters", count_steps(embeddings, replace(config, soft_runs=0)), unit="embeddings"
    ) as reporter:
        choice, spaces = choose_spaces(
            embeddings,
            replace(config, method="kmeans", soft_runs=0),
            context.config.seed,
            num_classes=len(names),
            on_step=lambda _done, _total: reporter.advance(),
        )
    space, _ = spaces[0]
    vectors = space.transform(masks.embeddings[choice.name])
    clustering = Clustering.from_labels(vectors[known], own[known])
    labels = np.where(own >= 0, own, assign(vectors, clustering.centres)[0])
    labels, distances, margins = assign(vectors, clustering.centres, labels)
    columns = {"mask_id": masks.ids, "cluster": labels + 1, "distance": distances, "margin": margins, "fitted": known}
    found = FoundClusters(choice, None, space, (clustering,))
    given = {str(number): name for number, name in enumerate(names, start=1)}
    _write(run, pd.DataFrame(columns), vectors, found, {}, [], given)
    without = int(np.count_nonzero(own < 0))
    rest = f"; {without} masks without one, or of one that no training photo has, in the nearest" if without else ""
    return f"{len(names)} categories as clusters of {int(known.sum())} masks{rest}."


def _check_categories(run: Run, number: int) -> None:
    if 2 <= number <= MAX_LABEL:
        return
    remedy = "Set clusters.by=vectors to group them by what they look like."
    if not number:
        raise ConfigError(f"clusters.by is categories, but the masks of {run.path} came with none. {remedy}")
    wanted = f"wanted 2 to {MAX_LABEL}"
    raise ConfigError(f"clusters.by is categories, and the masks of {run.path} have {number}; {wanted}. {remedy}")


def _describe_doubtful(numbers: Sequence[int], left_out: bool) -> str:
    if not numbers:
        return ""
    return f"; of bad masks by the foreground: {', '.join(map(str, numbers))}{', left out' if left_out else ''}"


def recluster(context: Context, seeds: Sequence[int]) -> dict[int, dict[int, int]]:
    """Cluster again under other seeds, by the embeddings and the number of classes that were found.

    Returns:
        By seed: mask id -> cluster, from 1, of the masks of the training photos.

    Raises:
        RunError: If the clusters that were found are of other masks than there are vectors of now.
    """
    config, masks = context.config.clusters, _read_masks(context)
    if not np.array_equal(context.run.clusters()["mask_id"], masks.ids):
        raise DamagedFileError(context.run.clusters_path, "its masks are others than there are vectors of")
    record = read_json(context.run.path / "clusters.json")
    views = [view for _, view in fit_spaces(masks.training, masks.support, record["embeddings"], config)]
    ids = masks.ids[masks.fitted].tolist()
    found = {}
    for seed in seeds:
        clustering = cluster_views(views, record["num_classes"], len(ids), config, seed)[0]
        found[seed] = dict(zip(ids, (clustering.labels + 1).tolist(), strict=True))
    return found


def _read_masks(context: Context) -> Masks:
    run, store = context.run, read_vectors(context.run)
    readable = [number for number in sorted(context.annotations) if store.path(number).is_file()]
    if not context.annotations:
        raise RunError(f"No photo of {run.path} has a mask, so there is nothing to group. {_why_no_mask(run)}")
    if not readable:
        raise RunError(f"No mask of {run.path} has a vector, so there is nothing to cluster.")
    ids = [item["id"] for number in readable for item in context.annotations[number]]
    training = set(context.training_numbers)
    first_only = context.config.clusters.fit_to == "first"
    fitted = [
        number in training and (place == 0 or not first_only)
        for number in readable
        for items in [context.annotations[number]]
        for place in range(len(items))
    ]
    support = read_support(run) if context.config.clusters.support else None
    categories = [item.get("category", "") for number in readable for item in context.annotations[number]]
    mended = [item.get("mended", False) for number in readable for item in context.annotations[number]]
    order = np.argsort(ids, kind="stable")  # what people drew has numbers behind all others
    return Masks(
        ids=np.array(ids, dtype=np.int64)[order],
        fitted=np.array(fitted)[order],
        embeddings=read_embeddings(store, readable, [len(context.annotations[number]) for number in readable], order),
        support=support,
        categories=np.array(categories, object)[order],
        mended=np.array(mended, bool)[order],
    )


def _why_no_mask(run: Run) -> str:
    images = run.images()
    told = images[(images["reason"] != "") | (images["problem"] != "")]
    if told.empty:
        return "Add photos that show objects, and start again."
    first = told.iloc[0]
    return f"The first, {first['id']}: {first['reason'] or first['problem']} Add other photos, and start again."


def _write(
    run: Run,
    table: pd.DataFrame,
    vectors: np.ndarray,
    found: FoundClusters,
    doubtful: dict[int, float],
    left_out: list[int],
    names: Mapping[str, str] | None = None,
) -> None:
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
        "doubtful": {str(number): share for number, share in doubtful.items()},
        "left_out": left_out,
        **({"names": dict(names)} if names else {}),
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


def _save_all(path: Path, arrays: dict[str, Any]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Arrays and tuples as lists, for JSON."""
    return {name: np.asarray(value).tolist() for name, value in values.items()}
