"""Class by class: IoU in two stages, the confusion matrix, and the clusters with the classes they are matched to."""

from typing import Any

import pandas as pd
import streamlit as st

from app import selection, session, widgets
from app.components.image_grid import Tile, TileGroup, grouped_images, paged
from app.images.crops import crop_url
from app.results import cached_reads, charts, choices
from app.run_view import RunView, decision_view
from maskdistill.evaluation import metric_tables, metric_texts
from maskdistill.evaluation.label_names import LabelNames
from maskdistill.evaluation.metric_tables import GROUPS, Measures, PhotoGroup, kind_name

_CROPS = 10  # of a cluster
_ROWS = 12  # clusters a page
_SIDE_BY_SIDE = 20  # classes up to which bars and confusion stand beside each other


def draw(run_view: RunView, names: LabelNames) -> None:
    """The whole view."""
    metrics = run_view.metrics or {}
    groups = [group for group in GROUPS if metric_tables.measured(metrics, group)]
    if groups:
        group, first, second = _choose(metrics, groups)
        measures = metric_tables.measured(metrics, group)
        many = len(metrics["classes"]) > _SIDE_BY_SIDE
        left, right = (st.container(), st.container()) if many else st.columns(2, gap="large")
        with left:
            _draw_ious(measures, first, second)
        with right, st.container(key="wide-chart"):  # page.css gives it a least width
            _draw_confusion(measures[second], list(metrics["classes"]), second)
    _draw_matched(run_view, names, metric_tables.final_measures(run_view.metrics))


def _choose(metrics: dict[str, Any], groups: list[PhotoGroup]) -> tuple[PhotoGroup, str, str]:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        named = selection.option(selection.Option.MEASURED, groups[0], groups)
        group = next(group for group in groups if group == named)
        if len(groups) > 1:
            picked = st.segmented_control(
                "Measured on",
                groups,
                required=True,
                format_func=lambda name: GROUPS[name],
                key=session.sync_widget("results:measured", group),
                on_change=choices.keep(selection.Option.MEASURED, "results:measured"),
            )
            group = picked or group
        kinds = list(metric_tables.measured(metrics, group))
        second = _known(selection.Option.SECOND, kinds, metric_tables.final_kind(dict.fromkeys(kinds)))
        first = _known(selection.Option.FIRST, kinds, kinds[0])
        for option, label, value in (
            (selection.Option.FIRST, "Compare", first),
            (selection.Option.SECOND, "with", second),
        ):
            key = f"results:class {option}"
            st.selectbox(
                label,
                kinds,
                format_func=kind_name,
                key=session.sync_widget(key, value),
                on_change=choices.keep(option, key),
                width=230,
            )
    return group, first, second


def _known(option: selection.Option, kinds: list[str], default: str) -> str:
    """The choice, if these photos have it; the Photos part may have chosen the photo itself or ground truth."""
    value = selection.option(option)
    return value if value in kinds else default


def _draw_ious(kinds: dict[str, Measures], first: str, second: str) -> None:
    st.subheader("IoU of each class")
    table = metric_tables.class_table(kinds, first, second)
    known = table[table["second"].notna() | table["first"].notna()]
    escaped = table.assign(**{"class": table["class"].map(widgets.escape)})
    st.markdown(f"{metric_texts.extremes(escaped)} {metric_texts.greatest_gain(escaped, kind_name(first))}")
    figure = charts.class_bars(known, kind_name(first), kind_name(second))
    st.plotly_chart(figure, key="class bars", config={"displayModeBar": False})
    absent = table.loc[~table.index.isin(known.index), "class"].tolist()
    without = f" No photo has: {widgets.escape(', '.join(absent))}." if absent else ""
    st.caption(f"Sorted by {kind_name(second)}. Intersection over union on the pixels of all photos.{without}")


def _draw_confusion(measures: Measures, classes: list[str], kind: str) -> None:
    st.subheader(f"Confusion matrix, {kind_name(kind)}")
    st.markdown(metric_texts.worst_confusion(measures["confusion"], ["background", *map(widgets.escape, classes)]))
    scale = st.get_option("theme.chartSequentialColors")
    figure = charts.confusion_map(measures["confusion"], ["background", *classes], scale)
    st.plotly_chart(figure, key="confusion", config={"displayModeBar": False})
    st.caption(
        f"Each row is one class of the ground truth, in percent of its pixels; hover for counts. "
        f"{measures['num_images']:,} photos. Clusters without a matched class are in the column “no class”."
    )


def _draw_matched(run_view: RunView, names: LabelNames, measures: Measures | None) -> None:
    if run_view.clusters is None:
        st.info("The masks of this run are not clustered yet, so there are no classes.")
        return
    st.subheader("Clusters and their matched classes" if measures else "Clusters")
    iou = measures["iou"] if measures else {}
    kind = cached_reads.label_maps(run_view.run).final
    sizes = cached_reads.class_sizes(run_view.run, kind).set_index("label")
    own_iou = {label: iou.get(names.class_of(label) or "") or 0.0 for label in _clusters(run_view)}
    labels = sorted(own_iou, key=lambda label: (-own_iou[label], -sizes["share"].get(label, 0.0)))
    shown = paged(labels, key="matched page", per_page=_ROWS)
    exemplars = _exemplars(run_view)
    rows = [_row(run_view, names, label, iou, sizes, exemplars) for label in shown]
    grouped_images(
        rows,
        key="matched",
        layout="rows",
        on_open=lambda mask: selection.select(mask=mask),
        button="Photos",
        on_button=_show_photos,
    )
    matching = "Matched one-to-one on the final label maps, for reporting only. " if measures else ""
    st.caption(f"{matching}Crops: the masks nearest to the centre of each cluster; click one to open it.")


def _clusters(run_view: RunView) -> list[int]:
    """Clusters that have a mask."""
    present = decision_view(run_view).cluster
    return sorted(set(present[present > 0].tolist()))


def _exemplars(run_view: RunView) -> pd.DataFrame:
    """mask_id, cluster, distance: of each cluster the masks nearest to its centre, the nearest first."""
    frame = run_view.frame
    table = pd.DataFrame(
        {"mask_id": frame["mask_id"], "cluster": decision_view(run_view).cluster, "distance": frame["distance"]},
        copy=False,
    )
    return table[table["distance"].notna()].nsmallest(len(table), "distance").groupby("cluster").head(_CROPS)


def _row(
    run_view: RunView,
    names: LabelNames,
    label: int,
    iou: dict[str, float | None],
    sizes: pd.DataFrame,
    exemplars: pd.DataFrame,
) -> TileGroup:
    name, matched = names.cluster_names[label - 1], names.class_of(label)
    value = iou.get(matched) if matched else None
    detail = "" if not iou else matched or "no matched class"
    count = int(sizes["photos"].get(label, 0))
    share = float(sizes["share"].get(label, 0.0))
    ids = exemplars.loc[exemplars["cluster"] == label, "mask_id"].tolist()
    return TileGroup(
        [Tile(mask_id, crop_url(run_view, mask_id), title=f"mask {mask_id} of {name}") for mask_id in ids],
        title=name,
        color=names.clusters()[label]["colour"],
        detail=f"→ {detail}" if value is not None else detail,
        share=None if value is None else (value, f"IoU {metric_tables.percent(value, 0)}"),
        note=f"{count:,} photo{'' if count == 1 else 's'} · {metric_tables.percent(share)} of pixels",
        id=label,
    )


def _show_photos(cluster: int) -> None:
    selection.set_option(selection.Option.HOLDING, str(cluster))
    selection.set_option(selection.Option.RESULTS, "photos")
