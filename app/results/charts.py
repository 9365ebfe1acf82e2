"""Plotly figures of the Results page, made from tables of ``metric_tables``. No Streamlit in here."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from maskdistill.evaluation.metric_tables import PhotoGroup, kind_name, measured, signed, stage_table

_ROW = 30  # pixels of a bar with its gap
_PAIR, _NARROW = 34, 24  # pixels of two bars of a class with their gap; where there are many classes
_EDGES = {"l": 8, "r": 16, "t": 8, "b": 36}
_MOST_WIDE = 20  # classes up to which their bars are wide
_MOST_WRITTEN = 16  # classes up to which a confusion has its numbers written in
_PALE = 60  # percent from which the scale is so light that it needs dark numbers
_LONGEST = 26  # characters of a name on an axis; all of it stands in the hover
FIRST, SECOND = "#8A97A3", "#3FB8D0"  # left and right of a pair, grey and blue: apart in lightness too


def short(name: str, longest: int = _LONGEST) -> str:
    """A name cut to what fits on an axis, as Plotly shows it: it takes HTML."""
    return plain(name if len(name) <= longest else f"{name[: longest - 1].rstrip()}…")


def plain(name: str) -> str:
    """A name that people gave, so that Plotly shows it as it is."""
    return html.escape(name, quote=False)


def stage_bars(metrics: Mapping[str, Any], group: PhotoGroup, color: str) -> go.Figure:
    """mIoU of each kind of label maps on a group of photos, in the order of the method, with its gain."""
    table = stage_table(measured(metrics, group))
    gains = ["" if np.isnan(gain) else signed(gain / 100) for gain in table["Gain"]]
    texts = [f"{miou:.1f} ({gain})" if gain else f"{miou:.1f}" for miou, gain in zip(table["mIoU"], gains, strict=True)]
    bars = go.Bar(
        x=table["mIoU"],
        y=table["Label maps"],
        orientation="h",
        marker_color=color,
        text=texts,
        customdata=[
            f", {gain} points against {against}" if gain else ""
            for gain, against in zip(gains, table["Against"], strict=True)
        ],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: mIoU %{x:.1f} %%{customdata}<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.update_layout(height=_ROW * len(table) + 52, margin=_EDGES, bargap=0.3)
    figure.update_xaxes(range=[0, 118], title="mIoU, %", tickvals=[0, 25, 50, 75, 100], fixedrange=True)
    return figure.update_yaxes(autorange="reversed", fixedrange=True, title=None)


def class_bars(table: pd.DataFrame, first: str, second: str) -> go.Figure:
    """IoU of each class in two kinds side by side, in the order of the table.

    Args:
        table: class, first, second in percent, as ``metric_tables.class_table`` gives it.
        first: Name of the one.
        second: Of the other.
    """
    places = list(range(len(table)))
    figure = go.Figure()
    for column, name, color in (("second", second, SECOND), ("first", first, FIRST)):
        figure.add_bar(
            x=table[column],
            y=places,
            name=plain(name),
            orientation="h",
            marker_color=color,
            customdata=table["class"].map(plain),
            hovertemplate=f"%{{customdata}}, {plain(name)}: %{{x:.1f}} %<extra></extra>",
            texttemplate="%{x:.0f}" if column == "second" else None,
            textposition="outside",
            cliponaxis=False,
        )
    figure.update_layout(
        height=(_PAIR if len(table) <= _MOST_WIDE else _NARROW) * len(table) + 90,
        margin={**_EDGES, "t": 36},
        barmode="group",
        bargap=0.28,
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "traceorder": "reversed"},
    )
    figure.update_xaxes(range=[0, 106], title="IoU, %", tickvals=[0, 25, 50, 75, 100], fixedrange=True)
    labels = [short(name) for name in table["class"]]
    return figure.update_yaxes(autorange="reversed", tickvals=places, ticktext=labels, fixedrange=True)


def confusion_map(counts: Sequence[Sequence[int]], names: Sequence[str], scale: Sequence[str]) -> go.Figure:
    """Confusion matrix, each row in shares of its class; hover shows the counts.

    Args:
        counts: Pixels, rows ground truth, columns predicted class, the last one "no class".
        names: Of the classes, background first.
        scale: Colors from 0 to 100 %.
    """
    pixels = np.asarray(counts, dtype=np.int64)
    columns = [*names, "no class"]
    if not pixels[:, -1].any():
        pixels, columns = pixels[:, :-1], columns[:-1]
    shares = 100 * pixels / np.maximum(pixels.sum(axis=1, keepdims=True), 1)
    hover = "%{customdata[0]} predicted as %{customdata[1]}<br>%{z:.1f} % · %{customdata[2]} pixels<extra></extra>"
    cells = [
        [(plain(row), plain(column), f"{pixels[i, j]:,}") for j, column in enumerate(columns)]
        for i, row in enumerate(names)
    ]
    heat = go.Heatmap(
        z=shares,
        customdata=cells,
        hovertemplate=hover,
        zmin=0,
        zmax=100,
        colorscale=list(scale),
        xgap=1,
        ygap=1,
        colorbar={"title": "% of class", "thickness": 12, "outlinewidth": 0},
    )
    side = max(320, (27 if len(names) <= 24 else 20) * len(names) + 150)
    figure = go.Figure(heat).update_layout(height=side, margin={"l": 8, "r": 8, "t": 8, "b": 8})
    ends = [short(name, 16) for name in columns]
    places = list(range(len(columns)))
    figure.update_xaxes(tickvals=places, ticktext=ends, tickangle=-45, title="prediction", showgrid=False)
    rows = {"tickvals": places[: len(names)], "ticktext": ends[: len(names)]}
    figure.update_yaxes(autorange="reversed", title="ground truth", showgrid=False, **rows)
    return figure.update_layout(annotations=_written(shares, shares > _PALE) if len(names) <= _MOST_WRITTEN else [])


def _written(shares: np.ndarray, light: np.ndarray, digits: int = 0) -> list[dict[str, Any]]:
    """Percentages as numbers in their cells, dark where the scale is light; Plotly's own are grey on both."""
    return [
        {
            "x": int(column),
            "y": int(row),
            "text": f"{shares[row, column]:.{digits}f}",
            "showarrow": False,
            "font": {"color": "#111820" if light[row, column] else "#FFFFFF", "size": 11},
        }
        for row, column in zip(*np.nonzero(shares >= 1), strict=True)
    ]


def agreement_map(table: pd.DataFrame, scale: Sequence[str]) -> go.Figure:
    """Agreement of the kinds of label maps, in percent of the pixels; empty where no photo has both."""
    names = [kind_name(kind) for kind in table.index]
    values = 100 * table.to_numpy()
    low = min(90.0, 10 * np.floor(float(np.nanmin(values)) / 10))
    pairs = [[(one, other) for other in names] for one in names]
    heat = go.Heatmap(
        z=values,
        customdata=pairs,
        zmin=low,
        zmax=100,
        colorscale=list(scale),
        xgap=1,
        ygap=1,
        hovertemplate="%{customdata[0]} and %{customdata[1]} agree on %{z:.1f} % of the pixels<extra></extra>",
        hoverongaps=False,
        colorbar={"title": "% of pixels", "thickness": 12, "outlinewidth": 0},
    )
    figure = go.Figure(heat).update_layout(height=46 * len(names) + 130, margin={"l": 8, "r": 8, "t": 8, "b": 8})
    ticks = {"tickvals": list(range(len(names))), "ticktext": names, "showgrid": False, "fixedrange": True}
    figure.update_xaxes(tickangle=-30, **ticks)
    figure.update_yaxes(autorange="reversed", **ticks)
    light = values - low > _PALE / 100 * (100 - low)
    return figure.update_layout(annotations=_written(values, light, digits=1))


def size_bars(sizes: pd.DataFrame, names: Sequence[str], colors: Sequence[str]) -> go.Figure:
    """Share of the photos' pixels that each class takes.

    Args:
        sizes: share (of all pixels) and photos, a row a class.
        names: A name a row.
        colors: A color a row.
    """
    places = list(range(len(sizes)))
    bars = go.Bar(
        x=100 * sizes["share"],
        y=places,
        orientation="h",
        marker_color=list(colors),
        marker_line={"color": "rgba(128,128,128,0.6)", "width": 1},
        customdata=[[plain(name), f"{count:,}"] for name, count in zip(names, sizes["photos"], strict=True)],
        hovertemplate="%{customdata[0]}: %{x:.1f} % of the pixels, in %{customdata[1]} photos<extra></extra>",
        texttemplate="%{x:.1f}",
        textposition="outside",
        cliponaxis=False,
    )
    figure = go.Figure(bars).update_layout(height=24 * len(places) + 60, margin=_EDGES, bargap=0.25)
    figure.update_xaxes(title="% of all pixels", rangemode="tozero", fixedrange=True)
    ticks = {"tickvals": places, "ticktext": [short(name) for name in names]}
    return figure.update_yaxes(autorange="reversed", fixedrange=True, **ticks)
