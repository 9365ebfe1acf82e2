"""Figures of an alternative clustering beside those of the present clusters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from sklearn.metrics import normalized_mutual_info_score

from app.clusters import mask_selection
from app.clusters.alternatives import alternative_title
from app.components.image_grid import Tile, TileGroup
from app.run_view import DecisionView, RunView
from maskdistill.clustering.alternatives import Alternative
from maskdistill.clustering.cluster_summary import cluster_table
from maskdistill.clustering.compare_clusterings import Comparison, compare_clusterings
from maskdistill.clustering.kmeans import Clustering
from maskdistill.pictures import colors

_CROPS = 4  # of a cluster
_LEAST = 0.1  # share of a cluster from which a cluster of the other clustering is shown beside it


@dataclass(frozen=True, eq=False)
class AlternativeStats:
    """A clustering of the masks with vectors."""

    title: str
    cluster: np.ndarray  # (V,) number of each, 0 for none
    sizes: dict[int, int]  # by number, falling
    exemplars: dict[int, tuple[int, ...]]  # mask ids by number
    stability: float | None
    truth: float | None  # normalised mutual information with ground truth: for reporting only
    comparison: Comparison | None  # of the present clusters with this one; None for the present ones


def current_stats(run_view: RunView, decisions_now: DecisionView) -> AlternativeStats:
    """Of the present clusters."""
    cluster = mask_selection.clusters_of_masks(run_view, decisions_now)[run_view.row_of_vector]
    count = len(np.unique(cluster[cluster > 0]))
    is_changed = bool(decisions_now.classes and decisions_now.classes.digest)
    stability = None if is_changed else (run_view.clusters or {}).get("agreement")
    return _stats(
        (run_view.run.path, run_view.stamp, f"now:{decisions_now.version}"),
        f"Now: {count} clusters",
        cluster,
        stability,
        None,
        run_view,
    )


def alternative_stats(run_view: RunView, decisions_now: DecisionView, alternative: Alternative) -> AlternativeStats:
    """Of an alternative."""
    now = mask_selection.clusters_of_masks(run_view, decisions_now)[run_view.row_of_vector]
    name = f"{alternative.key.name}:{alternative.made}:{decisions_now.version}"
    return _stats(
        (run_view.run.path, run_view.stamp, name),
        alternative_title(alternative),
        alternative.cluster,
        alternative.stability,
        now,
        run_view,
    )


@st.cache_resource(max_entries=24, show_spinner=False)
def _stats(
    key: tuple[Any, ...],
    title: str,
    _cluster: np.ndarray,
    _stability: float | None,
    _now: np.ndarray | None,
    _run_view: RunView,
) -> AlternativeStats:
    inside = np.flatnonzero(_cluster > 0)
    numbers, labels = np.unique(_cluster[inside], return_inverse=True)
    assert _run_view.vectors is not None  # the clusterings are of them
    vectors = np.asarray(_run_view.vectors[inside])
    rows = cluster_table(Clustering.from_labels(vectors, labels), vectors) if len(inside) else []
    ids = _run_view.frame["mask_id"].to_numpy()[_run_view.row_of_vector[inside]]
    pairs = sorted(zip(numbers.tolist(), rows, strict=True), key=lambda pair: -pair[1]["size"])
    return AlternativeStats(
        title,
        _cluster,
        {number: row["size"] for number, row in pairs},
        {number: tuple(ids[row["exemplars"][:_CROPS]].tolist()) for number, row in pairs},
        _stability,
        _truth(_run_view, _cluster),
        None if _now is None else compare_clusterings(_now, _cluster),
    )


def _truth(run_view: RunView, cluster: np.ndarray) -> float | None:
    truth = run_view.frame["truth"].to_numpy()[run_view.row_of_vector]
    known = (truth >= 0) & (cluster > 0)
    return float(normalized_mutual_info_score(truth[known], cluster[known])) if known.any() else None


def colors_of(stats: AlternativeStats) -> dict[int, str]:
    """Colors of a clustering's clusters: one that is nearly the same as a present one has its color."""
    taken = {} if stats.comparison is None else {other: own for own, other in stats.comparison.pairs}
    used = set(taken.values())
    free = (number for number in range(1, 600) if number not in used)
    return {number: colors.cluster_color(taken.get(number) or next(free)) for number in sorted(stats.sizes)}


def groups_of(
    now: AlternativeStats, alternatives: list[AlternativeStats], decisions_now: DecisionView, crop: Callable[[int], str]
) -> list[TileGroup]:
    """Of each present cluster, the largest first: it in column 0, and where its masks are in every alternative.

    Args:
        crop: Data URL of a mask's crop, by its id.
    """
    groups = []
    for number in now.sizes:
        name, masks = decisions_now.name_of(number), f"{now.sizes[number]:,} masks"
        tiles = _tiles(now.exemplars[number], crop)
        groups.append(TileGroup(tiles, title=name, color=colors.cluster_color(number), note=masks))
        for column, stats in enumerate(alternatives, start=1):
            groups += _beside(stats, number, column, crop)
    return groups


def _tiles(mask_ids: Sequence[int], crop: Callable[[int], str]) -> list[Tile]:
    return [Tile(mask_id, crop(mask_id)) for mask_id in mask_ids]


def _beside(stats: AlternativeStats, number: int, column: int, crop: Callable[[int], str]) -> list[TileGroup]:
    comparison = stats.comparison
    if comparison is None or number not in comparison.first:
        return []
    counts = comparison.counts[comparison.first.index(number)]
    own_colors = colors_of(stats)
    total, groups = max(1, int(counts.sum())), []
    for place in np.argsort(-counts, kind="stable"):
        if counts[place] < _LEAST * total:
            break
        other = comparison.second[place]
        share, held = counts[place] / total, counts[place] / max(1, comparison.counts[:, place].sum())
        groups.append(
            TileGroup(
                _tiles(stats.exemplars[other], crop),
                title=f"cluster {other}",
                color=own_colors[other],
                note=f"{share:.0%} of it · {held:.0%} of {stats.sizes[other]:,}",
                column=column,
                pale=bool(held < 0.5),
            )
        )
    return groups
