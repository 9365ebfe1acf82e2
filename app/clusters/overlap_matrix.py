"""How an alternative clustering splits and merges the clusters: in words, and as a matrix."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import plotly.graph_objects as go
import streamlit as st

from app import widgets
from app.clusters.alternatives_stats import AlternativeStats
from app.run_view import DecisionView
from maskdistill.clustering.compare_clusterings import Comparison, diagonal_order

_ROW = 22  # pixels
_LISTED = 6  # splits and merges named


def draw(alternatives: Sequence[AlternativeStats], decisions_now: DecisionView) -> None:
    """One of the alternatives at a time."""
    with st.expander("Which clusters split, which merge"):
        titles = [stats.title for stats in alternatives]
        title = st.segmented_control("Alternative", titles, default=titles[0], required=True, key="clusters:overlap of")
        comparison = alternatives[titles.index(title)].comparison if title in titles else None
        if comparison is None:
            return
        st.markdown(widgets.escape(describe(comparison, decisions_now)))
        st.plotly_chart(matrix(comparison, decisions_now), key="clusters:overlap", config={"displayModeBar": False})


def describe(comparison: Comparison, decisions_now: DecisionView) -> str:
    """The changes in sentences."""
    parts = [f"{len(comparison.same)} of {len(comparison.first)} clusters stay nearly the same."]
    splits = [f"{decisions_now.name_of(name)} into {_join(into)}" for name, into in _first(comparison.splits()).items()]
    merges = [
        f"{_join(map(decisions_now.name_of, of))} into {name}" for name, of in _first(comparison.merges()).items()
    ]
    if splits:
        parts.append(f"Split: {'; '.join(splits)}.")
    if merges:
        parts.append(f"Merged: {'; '.join(merges)}.")
    return " ".join(parts)


def matrix(
    comparison: Comparison,
    decisions_now: DecisionView,
    *,
    title: str = "clusters of the alternative",
    name_of: Callable[[int], str] = str,
) -> go.Figure:
    """Rows: the present clusters; columns: those of the alternative, or what else; cells: the share of the row."""
    order = diagonal_order(comparison.counts)
    counts = comparison.counts[:, order]
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    names = [decisions_now.name_of(number)[:28] for number in comparison.first]
    chart = go.Figure(
        go.Heatmap(
            z=shares,
            x=[name_of(comparison.second[column])[:28] for column in order],
            y=names,
            customdata=counts,
            zmin=0,
            zmax=1,
            colorscale="Viridis",
            xgap=1,
            ygap=1,
            colorbar={"title": {"text": "share of<br>the row"}, "tickformat": ".0%", "thickness": 10},
            hovertemplate="%{y} → %{x}<br>%{customdata:,} masks, %{z:.0%}<extra></extra>",
        )
    )
    chart.update_layout(
        height=120 + _ROW * len(names),
        margin={"l": 8, "r": 8, "t": 30, "b": 8},
        xaxis={"type": "category", "side": "top", "title": {"text": title, "standoff": 4}},
        yaxis={"autorange": "reversed", "automargin": True},
    )
    return chart


def _first(changes: Mapping[int, list[int]]) -> dict[int, list[int]]:
    return dict(list(changes.items())[:_LISTED])


def _join(items: Iterable[object]) -> str:
    *most, last = map(str, items)
    return f"{', '.join(most)} and {last}" if most else last
