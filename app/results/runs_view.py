"""Another run on the same photos beside this one: metrics, settings, classes, and the photos that differ most."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from app import photo_cache, selection, session, widgets
from app.components.layered_image import PHOTO, Side
from app.results import cached_reads, charts, choices, photo_strip
from app.results.compare_view import compare_view
from app.run_view import RunView
from app.settings_difference import differences
from maskdistill.errors import MaskDistillError
from maskdistill.evaluation import metric_tables
from maskdistill.evaluation.compare_runs import RunComparison, comparable_runs
from maskdistill.evaluation.label_names import LabelNames, names_of
from maskdistill.evaluation.metric_tables import kind_name, percent
from maskdistill.review.decisions import read_names
from maskdistill.storage.read_files import read_json_if_there
from maskdistill.storage.run_folder import Run, list_runs, runs_folder

_THIS, _OTHER, _TRUTH = "this run", "other run", "truth"
_ROWS = 12  # of a table without scrolling
_ROW, _HEAD = 35, 36  # pixels


def draw(run_view: RunView, names: LabelNames) -> None:
    """The whole view."""
    others = {run.name: run for run in comparable_runs(run_view.run, list_runs(runs_folder()))}
    if not run_view.run.path.joinpath("predictions.json").is_file() or not others:
        st.info(
            "Two runs can be compared here once both have label maps of the same photos. Make another run of these "
            "photos on the Start page, with other settings or weights, and train it.",
            icon=":material/compare:",
        )
        return
    other = others[_choose(list(others))]
    metrics = _json(other, "metrics.json")
    left, right = st.columns(2, gap="large")
    with left:
        _draw_metrics(run_view, other, metrics)
        _draw_settings(run_view, other)
    with right:
        _draw_classes(run_view, other, metrics)
    _draw_photos(run_view, names, other, metrics)


def _choose(others: list[str]) -> str:
    chosen = selection.option(selection.Option.OTHER_RUN, others[0], others)
    st.selectbox(
        "Compare with",
        others,
        key=session.sync_widget("results:other", chosen),
        on_change=choices.keep(selection.Option.OTHER_RUN, "results:other"),
        width=330,
    )
    return chosen


def _draw_metrics(run_view: RunView, other: Run, metrics: dict[str, Any] | None) -> None:
    if not run_view.metrics or not metrics:
        st.info("One of the runs is not evaluated yet. Run its stage Evaluation.")
        return
    table = metric_tables.run_table(run_view.metrics, metrics, (run_view.run.name, other.name))
    st.subheader("Metrics")
    number = st.column_config.NumberColumn
    st.dataframe(
        table,
        hide_index=True,
        height=_height(table),
        column_config={
            run_view.run.name: number(format="%.1f %%", width="small"),
            other.name: number(format="%.1f %%", width="small"),
            "Difference": number(format="%+.1f points", width="small"),
        },
    )
    st.caption(
        f"Difference: {widgets.escape(other.name)} minus {widgets.escape(run_view.run.name)}. Ground truth is used for "
        "reporting only. One run of each says little: compare the difference with the spread over clustering seeds."
    )


def _draw_settings(run_view: RunView, other: Run) -> None:
    st.subheader("Settings that differ")
    table = differences((run_view.run.name, run_view.info["config"]), (other.name, other.info()["config"]))
    if table.empty:
        st.info("Both runs have the same settings.")
        return
    st.dataframe(table, hide_index=True, height=_height(table))


def _draw_classes(run_view: RunView, other: Run, metrics: dict[str, Any] | None) -> None:
    first, second = (metric_tables.final_measures(item) for item in (run_view.metrics, metrics))
    if first is None or second is None:
        return
    st.subheader("IoU of each class, final label maps")
    names = (run_view.run.name, other.name)
    table = metric_tables.class_table(dict(zip(names, (first, second), strict=True)), *names)
    with st.container(height=620 if len(table) > _ROWS else "content", border=False):
        st.plotly_chart(charts.class_bars(table, *names), key="run classes", config={"displayModeBar": False})


def _draw_photos(run_view: RunView, names: LabelNames, other: Run, metrics: dict[str, Any] | None) -> None:
    st.subheader("Photos that differ most")
    try:
        comparison = cached_reads.comparison(run_view.run, other)
    except MaskDistillError as error:
        st.error(widgets.escape(str(error)))
        return
    if comparison.agreement is None:
        st.info("The two runs have no photo in common.")
        return
    st.markdown(
        f"Their final label maps agree on **{percent(comparison.agreement)}** of the pixels of "
        f"{len(comparison.pairs):,} photos, after the clusters of one run are matched to those of the other by "
        "overlap, without ground truth."
    )
    order = np.argsort(-comparison.changed, kind="stable")
    numbers = np.array([comparison.pairs[place].first for place in order])
    changed = {comparison.pairs[place].first: float(comparison.changed[place]) for place in order}
    number = photo_strip.current(run_view.photos, numbers)
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small")
    with bar:
        photo_strip.draw_steps(run_view.photos, numbers, number)
    badges = {item: percent(share, 0) for item, share in changed.items()}
    photo_strip.draw(run_view.photos, numbers, number, badges.__getitem__, shown_for=other.name, pages_in=bar)
    _draw_photo(run_view, names, other, metrics, comparison, number)


def _draw_photo(
    run_view: RunView,
    names: LabelNames,
    other: Run,
    metrics: dict[str, Any] | None,
    comparison: RunComparison,
    number: int,
) -> None:
    photo = run_view.photos[number]
    second = next(pair.second for pair in comparison.pairs if pair.first == number)
    kinds = (cached_reads.label_maps(run_view.run).final, cached_reads.label_maps(other).final)
    try:
        url = photo_cache.photo_url(photo)
        own = cached_reads.layers(run_view.run, number, (_TRUTH, kinds[0]) if names.classes else kinds[:1])
        theirs = cached_reads.layers(other, second, kinds[1:])
    except MaskDistillError as error:
        st.warning(f"This photo cannot be shown. {widgets.escape(str(error))}", icon=":material/broken_image:")
        return
    sides = [Side(PHOTO, kind_name(PHOTO), "")]
    sides += [Side(_TRUTH, kind_name(_TRUTH), layer.src, _TRUTH) for layer in own if layer.kind == _TRUTH]
    sides += [Side(_THIS, run_view.run.name, layer.src) for layer in own if layer.kind == kinds[0]]
    sides += [Side(_OTHER, other.name, layer.src, _OTHER) for layer in theirs]
    tables = {
        "clusters": names.clusters(),
        _TRUTH: names.truth(),
        _OTHER: names.other_run(_cluster_names(other, metrics), comparison.matching),
    }
    pair = (_THIS, _OTHER)
    compare_view(url, (photo.width, photo.height), f"Photo {photo.id}", sides, tables, pair, key="compare runs")


def _cluster_names(run: Run, metrics: dict[str, Any] | None) -> tuple[str, ...]:
    given = read_names(run)
    record = _json(run, "clusters.json")
    num_classes = max([record["num_classes"] if record else 1, *given])
    return names_of(num_classes, lambda label: given.get(label) or f"cluster {label}", metrics).cluster_names


def _json(run: Run, name: str) -> dict[str, Any] | None:
    return read_json_if_there(run.path / name)


def _height(table: pd.DataFrame) -> int:
    return _HEAD + _ROW * min(len(table), _ROWS)
