"""How stable each number of clusters is: the curve, the number that it suggests, and that of the run."""

import plotly.graph_objects as go
import streamlit as st

from app import widgets
from app.clusters import alternatives_jobs
from app.run_view import DecisionView, RunView
from maskdistill.clustering.alternatives import read_curve
from maskdistill.clustering.model_selection import KCurve
from maskdistill.pictures import colors

_HEIGHT = 230  # pixels


@widgets.show_errors()
def draw(run_view: RunView, decisions_now: DecisionView) -> None:
    """The curve, or a button that makes it."""
    st.markdown("**How many clusters are there?**")
    curve = read_curve(run_view.run)
    if curve is None:
        _offer(run_view)
        return
    low, high = curve.plateau
    assert decisions_now.classes is not None  # the curve is of the clusters
    num_clusters = len(set(decisions_now.classes.assigned.tolist()))
    st.caption(
        f"Clusterings of random samples agree most at **{low} to {high}** clusters. Of these, **{curve.suggested}** is "
        f"the smallest number that separates them about as well as any. The run has {num_clusters}."
    )
    st.plotly_chart(
        figure(curve, num_clusters),
        key="clusters:curve",
        config={"displayModeBar": False},
    )


def _offer(run_view: RunView) -> None:
    seconds = "about ten seconds" if alternatives_jobs.is_quick(run_view) else "a few minutes, in the background"
    st.caption(
        "The number was set for this run. The curve shows how stable other numbers are: random samples of the masks "
        f"are clustered into 4 to 60 clusters, and compared. It takes {seconds}."
    )
    if st.button("Draw the curve", icon=":material/show_chart:", key="clusters:make curve"):
        alternatives_jobs.start_curve(run_view)
        st.rerun()


def figure(curve: KCurve, now: int) -> go.Figure:
    """Agreement and silhouette over the number of clusters, the stable range, the suggestion and the run's number."""
    chart = go.Figure()
    for name, values, color, dash in (
        ("agreement of samples", curve.agreement, colors.NOTE, "solid"),
        ("silhouette", curve.silhouette, colors.WARN, "dot"),
    ):
        chart.add_scatter(
            x=curve.values,
            y=values,
            name=name,
            mode="lines+markers",
            line={"color": color, "width": 2, "dash": dash},
            marker={"size": 6},
            hovertemplate=f"%{{x}} clusters<br>{name} %{{y:.2f}}<extra></extra>",
        )
    low, high = curve.plateau
    chart.add_vrect(x0=low - 0.5, x1=high + 0.5, fillcolor=colors.GOOD, opacity=0.15, line_width=0)
    chart.add_vline(x=curve.suggested, line={"color": colors.GOOD, "width": 2})
    chart.add_vline(x=now, line={"color": colors.NONE, "width": 2, "dash": "dash"})
    chart.add_annotation(x=curve.suggested, y=1.02, yref="paper", text="suggested", showarrow=False, yanchor="bottom")
    if abs(now - curve.suggested) > 2:
        chart.add_annotation(x=now, y=1.02, yref="paper", text="now", showarrow=False, yanchor="bottom")
    chart.update_layout(
        height=_HEIGHT,
        margin={"l": 36, "r": 8, "t": 22, "b": 36},
        xaxis={"title": {"text": "number of clusters", "standoff": 4}, "showgrid": False},
        yaxis={"rangemode": "tozero"},
        legend={
            "orientation": "h",
            "x": 1,
            "xanchor": "right",
            "y": 0.02,
            "yanchor": "bottom",
            "bgcolor": "rgba(0,0,0,0)",
        },
    )
    return chart
