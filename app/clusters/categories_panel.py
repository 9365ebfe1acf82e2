"""Clusters against the categories that masks made elsewhere came with: how far they agree, and what went where."""

from pathlib import Path

import numpy as np
import streamlit as st

from app import cache, widgets
from app.clusters import mask_selection, overlap_matrix
from app.run_view import DecisionView, RunView
from maskdistill.clustering.compare_clusterings import Comparison, compare_clusterings

MOST_CATEGORIES = 60  # columns that are shown, the most frequent


def has_categories(run_view: RunView) -> bool:
    """Whether any mask came with a category."""
    return bool(run_view.frame["category"].any())


def category_numbers(run_view: RunView) -> tuple[np.ndarray, tuple[str, ...]]:
    """(N,) number of each mask's category, 0 for none, and the names, the first of which is of number 1."""
    categories = run_view.frame["category"].to_numpy()
    names, numbers, counts = np.unique(categories.astype(str), return_inverse=True, return_counts=True)
    ranked = sorted((place for place, name in enumerate(names) if name), key=lambda place: -counts[place])
    number_of = np.zeros(len(names), np.int64)
    number_of[ranked] = np.arange(1, len(ranked) + 1)
    return number_of[numbers], tuple(str(names[place]) for place in ranked)


def draw(run_view: RunView, decisions_now: DecisionView) -> None:
    """Two figures and the matrix."""
    comparison, names = _compared(run_view.run.path, (run_view.stamp, decisions_now.version), run_view, decisions_now)
    if not comparison.counts.size:
        st.info("No mask that is in a cluster came with a category.")
        return
    purity = comparison.counts.max(axis=1).sum() / comparison.counts.sum()
    with st.container(horizontal=True, gap="large"):
        help = "Share of the masks that are of the commonest category of their cluster."
        st.metric("Purity", f"{purity:.0%}", width="content", help=help)
        help = "Adjusted Rand index of clusters and categories: 1 if they are the same, 0 by chance."
        st.metric("Agreement", f"{round(comparison.agreement, 2) + 0.0:.2f}", width="content", help=help)
        st.metric("Categories", f"{len(names):,}", width="content")
        st.metric("Masks with one", f"{comparison.counts.sum():,}", width="content")
    if len(comparison.second) > MOST_CATEGORIES:
        st.caption(f"The {MOST_CATEGORIES} most frequent categories are shown.")
    shown = _most_frequent(comparison)
    chart = overlap_matrix.matrix(
        shown, decisions_now, title="categories that the masks came with", name_of=lambda number: names[number - 1]
    )
    st.plotly_chart(chart, key="clusters:categories", config={"displayModeBar": False})
    st.caption(
        "The categories came with the masks and are only compared with. To take them as the classes, set "
        f"{widgets.escape('clusters.by')} to *categories* on the Training page."
    )


@cache.newest(4)
def _compared(
    path: Path, key: tuple[str, int], run_view: RunView, decisions_now: DecisionView
) -> tuple[Comparison, tuple[str, ...]]:
    numbers, names = category_numbers(run_view)
    return compare_clusterings(mask_selection.clusters_of_masks(run_view, decisions_now), numbers), names


def _most_frequent(comparison: Comparison) -> Comparison:
    columns = np.arange(min(len(comparison.second), MOST_CATEGORIES))  # numbered by falling frequency
    return Comparison(
        comparison.first,
        tuple(comparison.second[column] for column in columns),
        comparison.counts[:, columns],
        comparison.agreement,
        comparison.overlap,
        comparison.pairs,
    )
