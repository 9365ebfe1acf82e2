"""Stage by stage: metrics against ground truth, and the agreement of the stages, which needs none."""

from typing import Any

import streamlit as st

from app import widgets
from app.results import cached_reads, charts
from app.run_view import RunView
from maskdistill.errors import MaskDistillError
from maskdistill.evaluation import metric_tables, metric_texts
from maskdistill.evaluation.label_names import LabelNames
from maskdistill.evaluation.metric_tables import GROUPS, MASK_METRICS, PhotoGroup, percent, points

_COLORS: dict[PhotoGroup, str] = {"reported": charts.SECOND, "training": charts.FIRST}
_PROBES = {"linear": "Linear probe", "linear_crf": "Linear probe + CRF", "supervised": "Same head, trained with labels"}


def draw(run_view: RunView, names: LabelNames) -> None:
    """The whole view."""
    metrics = run_view.metrics or {}
    groups = [group for group in GROUPS if metric_tables.measured(metrics, group)]
    if groups:
        _draw_headline(metrics)
        _draw_groups(metrics, groups)
        _draw_probes(metrics)
    elif run_view.table.truth_names:
        _draw_masks_only(run_view)
    else:
        st.markdown(
            "These photos have no ground truth, so the stages cannot be scored. Their agreement, and the photos that "
            "changed most, show where to look."
        )
    _draw_counts(run_view)
    _draw_agreement(run_view, names)


def _draw_headline(metrics: dict[str, Any]) -> None:
    group = metric_tables.final_group(metrics)
    kinds = metric_tables.measured(metrics, group)
    kind = metric_tables.final_kind(kinds)
    final, base = kinds[kind], kinds.get("proposals")
    with st.container(horizontal=True, gap="large"):
        gain = None if base is None or kind == "proposals" else _delta(final["miou"] - base["miou"])
        help = "Mean intersection over union of the classes, background included. Below: gain over the proposals."
        st.metric(f"mIoU, {metric_tables.kind_name(kind)}", percent(final["miou"]), gain, help=help, width="content")
        right = None if gain is None or base is None else _delta(final["pixel_accuracy"] - base["pixel_accuracy"])
        help = "Share of the pixels with ground truth that have the right class."
        st.metric("Pixels right", percent(final["pixel_accuracy"]), right, help=help, width="content")
        for name in ("corloc", "mask_ap50"):
            value = metric_tables.mask_measures(metrics).get(name)
            if value is not None:
                label, help = MASK_METRICS[name]
                masks = "masks" if metrics.get("cut_masks") else "proposals"
                st.metric(f"{label}, {masks}", percent(value), help=help, width="content")
    sentences = [f"**{metric_texts.headline(metrics)}**", *metric_texts.step_sentences(kinds)]
    st.markdown(" ".join(sentences))


def _delta(difference: float) -> str:
    """For ``st.metric``, which takes only an ASCII minus for a loss."""
    return points(difference).replace("−", "-")


def _draw_groups(metrics: dict[str, Any], groups: list[PhotoGroup]) -> None:
    columns = st.columns(2, gap="large") if len(groups) == 2 else [st.container()]
    for column, group in zip(columns, groups, strict=True):
        kinds = metric_tables.measured(metrics, group)
        with column:
            count = next(iter(kinds.values()))["num_images"]
            st.subheader(f"{GROUPS[group]} ({count:,})")
            figure = charts.stage_bars(metrics, group, _COLORS[group])
            st.plotly_chart(figure, key=f"bars:{group}", config={"displayModeBar": False})
            if group == "reported":
                _draw_masks(metrics)
            else:
                st.markdown(" ".join(metric_texts.filter_sentences(kinds, metrics["counts"])))
                st.markdown(metric_texts.seed_sentence(metrics.get("clustering_seeds")))
    with st.expander("All metrics as tables", icon=":material/table:"):
        for group in groups:
            st.markdown(f"**{GROUPS[group]}**")
            table = metric_tables.stage_table(metric_tables.measured(metrics, group))
            st.dataframe(table, hide_index=True, height="content", column_config=_columns())
    matching = widgets.escape(str(metrics.get("matching", "")))
    st.caption(
        "In brackets: gain in points over the step before, which the pointer shows. Clusters are matched to classes "
        f"separately for each kind of label maps: {matching}. Pixels without a label, and pixels that the ground truth "
        "ignores, do not count. Ground truth is used for reporting only: nothing that trains, selects or sets a "
        "threshold sees it."
    )


def _columns() -> dict[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    shares = {name: number(format="%.1f %%") for name in ("mIoU", "Pixels right", "Pixels labelled")}
    return {
        "Label maps": text(width="medium"),
        **shares,
        "Gain": number(format="%+.1f points", help="In mIoU, over the label maps named beside it"),
        "mIoU by majority": number(
            format="%.1f %%", help="Each cluster takes the class it covers most; several clusters may share a class"
        ),
        "Photos": number(format="localized", width="small"),
    }


def _draw_masks(metrics: dict[str, Any]) -> None:
    known = metric_tables.mask_measures(metrics)
    if not known:
        return
    count, cut = metrics["masks"]["num_images"], metric_tables.mask_measures(metrics, "cut_masks")
    st.subheader("Masks, regardless of class")
    if cut:
        st.markdown("**After the foreground learnt across photos**, with the gain over the masks as cut")
    _draw_mask_row(known, cut)
    if cut:
        st.markdown("**As cut**")
        _draw_mask_row(cut, {})
    if objects := metric_tables.mask_measures(metrics, "instances"):
        st.markdown("**Single objects**, of the stage Instances, with the gain over the masks")
        _draw_mask_row(objects, known)
    if mended := metric_texts.repair_sentence(metrics.get("repairs")):
        st.markdown(mended)
    st.caption(
        f"Masks of {count:,} reported photo{'' if count == 1 else 's'}. An object is a connected region of one "
        "class, so these metrics can be compared between runs, but not with metrics from instance labels."
    )


def _draw_mask_row(values: dict[str, float], before: dict[str, float]) -> None:
    with st.container(horizontal=True, gap="medium"):
        for name, value in values.items():
            label, help = MASK_METRICS[name]
            gain = _delta(value - before[name]) if name in before else None
            st.metric(label, percent(value), gain, help=help, width="content")


def _draw_probes(metrics: dict[str, Any]) -> None:
    """Heads that were trained with labels, for comparison."""
    values = metrics.get("with_labels") or {}
    probes = {label: values[name] for name, label in _PROBES.items() if values.get(name)}
    if not probes:
        return
    st.subheader("With labels, for comparison")
    with st.container(horizontal=True, gap="large"):
        for label, value in probes.items():
            st.metric(f"mIoU, {label}", percent(value["miou"]), width="content")
    st.caption(
        "Trained on the labels of the training photos: what the same features can reach. No other stage uses them."
    )


def _draw_masks_only(run_view: RunView) -> None:
    """Before any evaluation: how well the best masks fit."""
    frame = run_view.frame
    proposals = frame[(frame["origin"] == "proposal") & frame["truth_iou"].notna()]
    best = proposals.drop_duplicates("image")["truth_iou"]  # masks come best first
    if best.empty:
        return
    st.subheader("Masks, regardless of class")
    with st.container(horizontal=True, gap="large"):
        label, help = MASK_METRICS["mean_best_iou"]
        st.metric(label, percent(float(best.mean())), help=help, width="content")
        label, help = MASK_METRICS["corloc"]
        st.metric(label, percent(float((best >= 0.5).mean())), help=help, width="content")
    st.caption(
        f"The best proposal of each of {len(best):,} photos with a mask and ground truth, used for reporting only."
    )


def _draw_counts(run_view: RunView) -> None:
    """Counts of each stage."""
    frame = run_view.frame
    proposals = int((frame["origin"] == "proposal").sum())
    st.subheader("Counts")
    with st.container(horizontal=True, gap="large"):
        st.metric("Photos", f"{len(run_view.photos):,}", width="content")
        st.metric("Proposals", f"{proposals:,}", width="content")
        if run_view.clusters is not None:
            st.metric("Clusters", f"{run_view.clusters['num_classes']:,}", width="content")
        candidates = int(frame["candidate"].sum())
        if candidates:
            help = "Proposals of the training photos, and objects that stage 1 found where no proposal was."
            st.metric("Candidates", f"{candidates:,}", help=help, width="content")
            st.metric("Kept by the filter", f"{int(frame['kept'].sum()):,}", width="content")


def _draw_agreement(run_view: RunView, names: LabelNames) -> None:
    """Agreement of the stages, and sizes of the classes; neither needs ground truth."""
    try:
        results = cached_reads.photo_results(run_view.run)
    except (MaskDistillError, OSError) as error:
        st.error(widgets.escape(str(error)))
        return
    if len(results.kinds) < 2:
        return
    left, right = st.columns(2, gap="large")
    scale = st.get_option("theme.chartSequentialColors")
    with left:
        st.subheader("Agreement of the stages")
        figure = charts.agreement_map(cached_reads.agreement(run_view.run), scale)
        st.plotly_chart(figure, key="agreement", config={"displayModeBar": False})
        st.caption(
            "Share of pixels with the same class, mean over the photos that have both label maps. It shows how much a "
            "step changed, not whether the change is right."
        )
    with right:
        kind = cached_reads.label_maps(run_view.run).final
        st.subheader(f"Sizes of the classes, {metric_tables.kind_name(kind)}")
        sizes = cached_reads.class_sizes(run_view.run, kind)
        sizes = sizes[sizes["label"] > 0].sort_values("share", ascending=False, ignore_index=True)
        entries = [names.clusters()[label] for label in sizes["label"].tolist()]
        titles, colors = [entry["name"] for entry in entries], [entry["colour"] for entry in entries]
        with st.container(height=520 if len(sizes) > 18 else "content", border=False):
            st.plotly_chart(charts.size_bars(sizes, titles, colors), key="sizes", config={"displayModeBar": False})
        background = 100 - 100 * sizes["share"].sum()
        st.caption(f"In percent of the pixels of all photos; the other {background:.0f} % are background.")
