"""One photo's way through a trained run that it need not be part of: clusters and filter of its masks.

Nothing in the run changes by it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from maskdistill.clustering.embedding_candidates import candidate_embeddings
from maskdistill.clustering.embedding_space import EmbeddingSpace
from maskdistill.clustering.kmeans import assign
from maskdistill.config import FilterConfig
from maskdistill.errors import RunError
from maskdistill.pseudo_labels.candidates import PredictedMask
from maskdistill.pseudo_labels.filter import RULES, FilterResult, filter_masks
from maskdistill.pseudo_labels.signals import MaskSignals
from maskdistill.storage.read_files import MissingFileError, read_arrays, read_json
from maskdistill.storage.run_folder import Run

_SIGNALS = ("score", "iou", "agreement", "area", "border")


@dataclass(frozen=True, eq=False)
class Places:
    """Where masks lie among a run's clusters."""

    vectors: np.ndarray  # (N, d) float32, as the rows of embeddings.npy
    clusters: np.ndarray  # (N,) int64, 1 to K: of the nearest centre, after people's changes
    distances: np.ndarray  # (N,) float32, to that centre
    margins: np.ndarray  # (N,) float32, how much farther the next centre is


@dataclass(frozen=True, eq=False)
class ClusterSpace:
    """The clusters of a run, in which any mask can be placed."""

    embedding: str  # as ``candidate_embeddings`` names it
    space: EmbeddingSpace
    centres: np.ndarray  # (K, d) float32
    class_of: np.ndarray  # (K,) int64: the class that most masks of each cluster are in after people's changes

    @classmethod
    def read(cls, run: Run) -> Self:
        """The clusters as the run keeps them.

        Raises:
            RunError: If the run has none.
        """
        path = run.path / "space.npz"
        try:
            arrays = read_arrays(path, names=("centres",))
            space = EmbeddingSpace.from_arrays(arrays)
        except FileNotFoundError as error:
            raise MissingFileError(path) from error
        centres = arrays["centres"]
        embedding = read_json(run.path / "clusters.json")["embedding"]
        return cls(embedding, space, centres, _classes(run, len(centres)))

    def place(self, raw: Mapping[str, np.ndarray]) -> Places:
        """Put masks into the clusters of their nearest centres.

        Args:
            raw: Vectors of N masks by name, as ``embed_masks`` returns them with the run's own settings.

        Raises:
            RunError: If the clusters were made of other vectors.
        """
        found = candidate_embeddings(raw)
        if self.embedding not in found:
            raise RunError(f"The clusters are of '{self.embedding}', but there are only {', '.join(found)}.")
        vectors = self.space.transform(found[self.embedding])
        labels, distances, margins = assign(vectors, self.centres)
        return Places(vectors, self.class_of[labels], distances, margins)


def _classes(run: Run, num_clusters: int) -> np.ndarray:
    """(K,) the class that most masks of each cluster are in; a cluster without one keeps its own number."""
    tables = run.clusters(), run.classes()
    both = tables[0][["mask_id", "cluster"]].merge(
        tables[1][["mask_id", "cluster"]], on="mask_id", suffixes=("", "_now")
    )
    counts = pd.crosstab(both["cluster"], both["cluster_now"])
    classes = np.arange(1, num_clusters + 1)
    classes[counts.index.to_numpy() - 1] = counts.columns.to_numpy()[counts.to_numpy().argmax(axis=1)]
    return classes


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the filter makes of a photo's masks, and of the run's."""

    kept: np.ndarray  # (n,) bool, of the photo's masks
    rules: tuple[str, ...]  # of ``RULES``: why each of them is kept or not
    whole: FilterResult  # the run's masks and then the photo's


def filter_photo(
    table: pd.DataFrame, number: int | None, seen: Sequence[PredictedMask], places: Places, config: FilterConfig
) -> Judgement:
    """Filter a photo's masks among those of a run, so that what depends on the whole cluster is right too.

    Args:
        table: The run's candidates, with people's decisions as far as there are any.
        number: Of the photo in the run, whose rows are then replaced by ``seen``; None if it is not among its photos.
        seen: The photo's masks as the first model predicts them: those with a place, then objects without one.
        places: Of the first of them.
        config: Thresholds.
    """
    image = max(table["image"].tolist(), default=0) + 1 if number is None else number
    others = table[table["image"] != image]
    known = len(places.clusters)
    rows = pd.DataFrame([{name: getattr(item, name) for name in _SIGNALS} for item in seen], columns=list(_SIGNALS))
    rows = rows.assign(
        image=image,
        cluster=[int(places.clusters[place]) if place < known else int(item.label) for place, item in enumerate(seen)],
        distance=[float(places.distances[place]) if place < known else np.nan for place in range(len(seen))],
    )
    result = filter_masks(MaskSignals.from_columns(pd.concat([others, rows], ignore_index=True)), config)
    first = len(others)
    return Judgement(result.kept[first:], tuple(RULES[rule] for rule in result.rule[first:]), result)
