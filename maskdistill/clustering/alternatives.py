"""Other clusterings of a run's masks, under another number of classes or seed, kept beside its own to be compared.

They are made from the vectors that the run stores, in the spaces that its clusters were found in, and lie in the run
folder under ``trials/``. Nothing else reads them: to use one, a person adopts it
(``maskdistill.review.decisions.adopt``).
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from maskdistill.clustering.find_clusters import cluster_views, fit_spaces
from maskdistill.clustering.kmeans import assign
from maskdistill.clustering.model_selection import KCurve, suggest_num_classes
from maskdistill.clustering.stored_vectors import read_embeddings, read_support, read_vectors, take_rows
from maskdistill.config import ClusterConfig, RunConfig
from maskdistill.datasets.records import MAX_LABEL
from maskdistill.errors import ConfigError, RunError
from maskdistill.files import replace_atomically, write_json
from maskdistill.storage.read_files import (
    DamagedFileError,
    check_pair,
    first_line,
    read_array,
    read_arrays,
    read_json,
    read_json_if_there,
    reading,
)
from maskdistill.storage.run_folder import Run

FOLDER = "trials"
_CURVE = "curve.json"
OnStep = Callable[[int, int], object]  # number of steps done, and their total


@dataclass(frozen=True)
class AlternativeKey:
    """What an alternative is made with, besides the vectors."""

    num_classes: int
    seed: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"k{self.num_classes}-s{self.seed}"


@dataclass(frozen=True, eq=False)
class Alternative:
    """A clustering of the run's masks."""

    key: AlternativeKey
    cluster: np.ndarray  # (N,) int32, 1 to K by falling size, rows as in clusters.parquet
    stability: float | None  # mean adjusted Rand index with the runs that it was made from
    made: float  # seconds since 1970
    seconds: float  # that it took


@dataclass(frozen=True, eq=False)
class ClusteringInputs:
    """What the run's own clusters were made from."""

    clusters: str  # fingerprint of the stage
    mask_ids: np.ndarray  # (N,) int64
    fitted: np.ndarray  # (N,) bool: of a training photo; the others are only put into the nearest cluster
    config: ClusterConfig
    scores: list[dict[str, Any]]  # of the embeddings that were tried

    @classmethod
    def read(cls, run: Run) -> Self:
        """From the files of the stage.

        Raises:
            RunError: If the clusters are missing or not finished.
        """
        table, path = run.clusters(), run.stage_path("clusters")
        record = read_json_if_there(path)
        if record is None:
            raise RunError(
                f"The clusters of {run.path} are not finished. Make them: maskdistill cluster --run {run.path}"
            )
        try:
            config = RunConfig.from_dict({"clusters": record["made_from"]["settings"]["clusters"]}).clusters
        except ConfigError as error:
            raise DamagedFileError(path, first_line(error)) from error
        scores = read_json(run.path / "clusters.json")["embeddings"]
        return cls(record["fingerprint"], table["mask_id"].to_numpy(), table["fitted"].to_numpy(bool), config, scores)


def make_alternatives(run: Run, keys: Sequence[AlternativeKey], on_step: OnStep | None = None) -> list[Alternative]:
    """Cluster the masks again, and keep the results; those that are there already are not made again.

    Args:
        run: A run with clusters.
        keys: What to make them with.
        on_step: Called with how far it is; reading the vectors is a step too.

    Raises:
        ConfigError: If there cannot be so many classes.
        RunError: If the run has no clusters or vectors, or they are not of the same masks.
    """
    for key in keys:
        check_key(key)
    inputs = ClusteringInputs.read(run)
    missing = [key for key in dict.fromkeys(keys) if _read(run, key, inputs) is None]
    report = on_step or (lambda _done, _total: None)
    if missing:
        views = _views(run, inputs)
        vectors = read_array(run.path / "embeddings.npy", ndim=2)
        for left, key in zip(range(len(missing), 0, -1), missing, strict=True):
            report(len(keys) + 1 - left, len(keys) + 1)
            _write(run, inputs, _cluster(inputs, views, vectors, key))
    report(len(keys) + 1, len(keys) + 1)
    return [found for key in keys if (found := _read(run, key, inputs)) is not None]


def list_alternatives(run: Run) -> list[Alternative]:
    """The alternatives for the run's masks as they are embedded now, by number of classes and seed.

    Raises:
        RunError: If the clusters are missing.
    """
    inputs = ClusteringInputs.read(run)
    found = (re.fullmatch(r"k(\d+)-s(\d+)", path.stem) for path in (run.path / FOLDER).glob("k*.npz"))
    keys = sorted((int(match[1]), int(match[2])) for match in found if match)
    alternatives = (_read(run, AlternativeKey(*key), inputs) for key in keys)
    return [found for found in alternatives if found is not None]


def delete_alternative(run: Run, key: AlternativeKey) -> None:
    """Delete an alternative; nothing happens if it is not there."""
    _path(run, key).unlink(missing_ok=True)


def make_curve(run: Run, on_step: OnStep | None = None) -> KCurve:
    """The curve that suggests a number of classes, kept beside the alternatives.

    Raises:
        ConfigError: If there are too few masks.
        RunError: If the clusters are missing.
    """
    inputs = ClusteringInputs.read(run)
    seed = read_json(run.stage_path("clusters"))["made_from"].get("seed", 0)
    vectors = read_array(run.path / "embeddings.npy", ndim=2)[inputs.fitted]
    curve = suggest_num_classes(vectors, seed=seed, on_step=on_step)
    (run.path / FOLDER).mkdir(exist_ok=True)
    write_json(run.path / FOLDER / _CURVE, {"clusters": inputs.clusters, "curve": asdict(curve)})
    return curve


def read_curve(run: Run) -> KCurve | None:
    """The curve of these clusters, where the stage or ``make_curve`` made one.

    Raises:
        RunError: If a file is damaged.
    """
    path = run.path / FOLDER / _CURVE
    try:
        record = read_json_if_there(path)
        if record and record["clusters"] == run.fingerprint_of("clusters"):
            return _curve(path, record["curve"])
    except DamagedFileError as error:  # it is made again where it is asked for
        if error.path != path:
            raise
    path = run.path / "clusters.json"
    clusters = read_json_if_there(path)
    own = clusters and clusters["num_classes_curve"]
    return _curve(path, own) if own else None


def check_key(key: AlternativeKey) -> None:
    """Refuse what no clustering can be made with.

    Raises:
        ConfigError: If it is out of range.
    """
    if not 2 <= key.num_classes <= MAX_LABEL:
        raise ConfigError(f"A clustering has 2 to {MAX_LABEL} classes, got {key.num_classes}.")
    if key.seed < 0:
        raise ConfigError(f"A seed is a whole number from 0, got {key.seed}.")


def _views(run: Run, inputs: ClusteringInputs) -> list[np.ndarray]:
    """Vectors of the fitted masks in every space that the clusters were found in, the chosen one first."""
    photos = run.photo_of(inputs.mask_ids)
    numbers, counts = np.unique(photos, return_counts=True)
    rows = np.argsort(np.lexsort((inputs.mask_ids, photos)))  # they are stored photo by photo
    embeddings = read_embeddings(read_vectors(run), numbers.tolist(), counts.tolist(), rows)
    training = take_rows(embeddings, inputs.fitted)
    support = read_support(run) if inputs.config.support else None
    return [view for _, view in fit_spaces(training, support, inputs.scores, inputs.config)]


def _cluster(
    inputs: ClusteringInputs, views: Sequence[np.ndarray], vectors: np.ndarray, key: AlternativeKey
) -> Alternative:
    began = time.time()
    fitted = inputs.fitted
    found = cluster_views(views, key.num_classes, int(fitted.sum()), inputs.config, key.seed)[0]
    labels = np.empty(len(fitted), np.int64)
    labels[fitted] = found.labels
    if not fitted.all():
        labels[~fitted] = assign(np.asarray(vectors[~fitted]), found.centres)[0]
    return Alternative(key, (labels + 1).astype(np.int32), found.agreement, time.time(), time.time() - began)


def _path(run: Run, key: AlternativeKey) -> Path:
    return run.path / FOLDER / f"{key.name}.npz"


def _write(run: Run, inputs: ClusteringInputs, alternative: Alternative) -> None:
    stability = np.nan if alternative.stability is None else alternative.stability
    arrays: dict[str, Any] = {
        "cluster": alternative.cluster,
        "numbers": np.array([stability, alternative.made, alternative.seconds]),
        "clusters": np.array(inputs.clusters),
    }

    def save(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)

    (run.path / FOLDER).mkdir(exist_ok=True)
    replace_atomically(_path(run, alternative.key), save)


def _read(run: Run, key: AlternativeKey, inputs: ClusteringInputs) -> Alternative | None:
    """An alternative; None if there is none, or its vectors were made anew since."""
    try:
        arrays = read_arrays(_path(run, key), names=("cluster", "clusters", "numbers"), finite=False)
        cluster, clusters = arrays["cluster"], str(arrays["clusters"])
        stability, made, seconds = map(float, arrays["numbers"].tolist())
    except (FileNotFoundError, DamagedFileError, ValueError, TypeError):  # made again where it is asked for
        return None
    if cluster.ndim != 1 or cluster.dtype.kind != "i" or not ((cluster >= 1) & (cluster <= key.num_classes)).all():
        return None
    if clusters != inputs.clusters or len(cluster) != len(inputs.mask_ids):
        return None
    return Alternative(key, cluster, None if np.isnan(stability) else stability, made, seconds)


def _curve(path: Path, values: dict[str, Any]) -> KCurve:
    with reading(path):
        given = {field.name: values[field.name] for field in fields(KCurve)}
        held: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
        }
        curve = KCurve(**held)
        check_pair(path, len(curve.plateau), 2, path, "a plateau of {} values".format)
        for sequence in (curve.agreement, curve.silhouette, curve.inertia):
            check_pair(path, len(sequence), len(curve.values), path, "{} values of a curve".format)
    return curve
