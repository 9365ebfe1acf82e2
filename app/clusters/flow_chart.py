"""Where the masks of each cluster went in another clustering: a matrix, and in words what split and what merged."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import streamlit as st

from app import widgets
from app.clusters.alternatives_stats import Facts
from app.run_view import DecisionView
from maskdistill.clustering.compare_clusterings import Comparison, diagonal_order

_ROW = 22  # pixels
_LISTED = 6  # splits and merges told of


def draw(now: Facts, beside: Sequence[Facts], decisions_now: DecisionView) -> None:
    """One trial at a time."""
    with st.expander("Which clusters split, which merge"):
        titles = [facts.title for facts in beside]
        title = st.segmented_control("Trial", titles, default=titles[0], required=True, key="clusters:flow of")
        found = beside[titles.index(title)].comparison if title in titles else None
        if found is None:
            return
        st.markdown(widgets.escape(words(found, decisions_now)))
        st.plotly_chart(matrix(found, decisions_now), key="clusters:flow", config={"displayModeBar": False})


def words(found: Comparison, decisions_now: DecisionView) -> str:
    """The changes in sentences."""
    parts = [f"{len(found.same)} of {len(found.first)} clusters stay nearly the same."]
    splits = [f"{decisions_now.name_of(name)} into {_listed(into)}" for name, into in _first(found.splits()).items()]
    merges = [f"{_listed(map(decisions_now.name_of, of))} into {name}" for name, of in _first(found.merges()).items()]
    if splits:
        parts.append(f"Come apart: {'; '.join(splits)}.")
    if merges:
        parts.append(f"Come together: {'; '.join(merges)}.")
    return " ".join(parts)


def matrix(found: Comparison, decisions_now: DecisionView) -> go.Figure:
    """Rows the clusters of now, columns those of the trial, cells the share of the row."""
    order = diagonal_order(found.counts)
    counts = found.counts[:, order]
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    names = [decisions_now.name_of(number)[:28] for number in found.first]
    chart = go.Figure(
        go.Heatmap(
            z=shares,
            x=[str(found.second[column]) for column in order],
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
        xaxis={"type": "category", "side": "top", "title": {"text": "clusters of the trial", "standoff": 4}},
        yaxis={"autorange": "reversed", "automargin": True},
    )
    return chart


def _first(found: Mapping[int, list[int]]) -> dict[int, list[int]]:
    return dict(list(found.items())[:_LISTED])


def _listed(items: object) -> str:
    *most, last = map(str, items)
    return f"{', '.join(most)} and {last}" if most else last
