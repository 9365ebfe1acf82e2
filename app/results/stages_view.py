"""What each stage brought: figures against ground truth, or how far the stages agree where there is none."""

from typing import Any

import streamlit as st

from app import widgets
from app.results import cached_reads, charts, figures
from app.results.figures import GROUPS, MASK_FIGURES, Group, percent, points
from app.results.names import Names
from app.run_view import RunView
from maskdistill.errors import MaskDistillError

_TITLES: dict[Group, str] = {"reported": "Photos of the report", "training": "Photos that training saw"}
_COLOURS: dict[Group, str] = {"reported": charts.SECOND, "training": charts.FIRST}
_PROBES = {"linear": "Linear probe", "supervised": "Same head, trained with labels"}


def draw(run_view: RunView, names: Names) -> None:
    """The whole view."""
    metrics = run_view.metrics or {}
    groups = [group for group in GROUPS if figures.measured(metrics, group)]
    if groups:
        _draw_headline(metrics)
        _draw_groups(metrics, groups)
        _draw_probes(metrics)
    elif run_view.table.truth_names:
        _draw_masks_only(run_view)
    else:
        st.markdown(
            "These photos have no ground truth, so nothing here says which stage is right. How far the stages agree, "
            "and which photos changed most, says where to look."
        )
    _draw_counts(run_view)
    _draw_agreement(run_view, names)


def _draw_headline(metrics: dict[str, Any]) -> None:
    group = figures.final_group(metrics)
    found = figures.measured(metrics, group)
    kind = figures.final_kind(found)
    final, base = found[kind], found.get("proposals")
    with st.container(horizontal=True, gap="large"):
        gain = None if base is None or kind == "proposals" else points(final["miou"] - base["miou"])
        help = "Mean over the classes, background among them, of intersection over union. Below: against the proposals."
        st.metric(f"mIoU, {figures.kind_name(kind)}", percent(final["miou"]), gain, help=help, width="content")
        right = None if gain is None else points(final["pixel_accuracy"] - base["pixel_accuracy"])
        help = "Share of the pixels with ground truth that have the right class."
        st.metric("Pixels right", percent(final["pixel_accuracy"]), right, help=help, width="content")
        for name in ("corloc", "mask_ap50"):
            value = (metrics.get("masks") or {}).get(name)
            if value is not None:
                words, help = MASK_FIGURES[name]
                st.metric(f"{words}, proposals", percent(value), help=help, width="content")
    sentences = [f"**{figures.headline(metrics)}**", *figures.step_sentences(found)]
    st.markdown(" ".join(sentences))


def _draw_groups(metrics: dict[str, Any], groups: list[Group]) -> None:
    columns = st.columns(2, gap="large") if len(groups) == 2 else [st.container()]
    for column, group in zip(columns, groups, strict=True):
        found = figures.measured(metrics, group)
        with column:
            count = next(iter(found.values()))["num_images"]
            st.subheader(f"{_TITLES[group]} ({count:,})")
            figure = charts.stage_bars(metrics, group, _COLOURS[group])
            st.plotly_chart(figure, key=f"bars:{group}", config={"displayModeBar": False})
            if group == "reported":
                _draw_masks(metrics)
            else:
                st.markdown(" ".join(figures.filter_sentences(found, metrics["counts"])))
                st.markdown(figures.seed_sentence(metrics.get("clustering_seeds")))
    with st.expander("All figures as tables", icon=":material/table:"):
        for group in groups:
            st.markdown(f"**{_TITLES[group]}**")
            table = figures.stage_table(figures.measured(metrics, group))
            st.dataframe(table, hide_index=True, height="content", column_config=_columns())
    matched = widgets.escape(str(metrics.get("matching", "")))
    st.caption(
        "In brackets: points against the step before, which hovering names. "
        f"How clusters were matched to classes: {matched}; each kind of label maps for itself. Pixels that are left "
        "open, or that the ground truth ignores, do not count. Ground truth is used for reporting only: nothing that "
        "trains, selects or sets a threshold sees it."
    )


def _columns() -> dict[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    shares = {name: number(format="%.1f %%") for name in ("mIoU", "Pixels right", "Pixels labelled")}
    return {
        "Label maps": text(width="medium"),
        **shares,
        "Gain": number(format="%+.1f points", help="In mIoU, against the label maps named beside it"),
        "mIoU by majority": number(
            format="%.1f %%", help="Each cluster takes the class it covers most, so that several may share one"
        ),
        "Photos": number(format="localized", width="small"),
    }


def _draw_masks(metrics: dict[str, Any]) -> None:
    measured = metrics.get("masks") or {}
    known = {name: measured[name] for name in MASK_FIGURES if measured.get(name) is not None}
    if not known:
        return
    count = measured["num_images"]
    st.subheader("The masks by themselves, whatever their class")
    with st.container(horizontal=True, gap="medium"):
        for name, value in known.items():
            words, help = MASK_FIGURES[name]
            st.metric(words, percent(value), help=help, width="content")
    st.caption(
        f"Proposals of {count:,} photo{'' if count == 1 else 's'} of the report. An object is a connected region of "
        "one class, so figures are comparable between runs, not with those from instance labels."
    )


def _draw_probes(metrics: dict[str, Any]) -> None:
    """Heads that were trained with labels, for comparison."""
    measured = metrics.get("with_labels") or {}
    found = {words: measured[name] for name, words in _PROBES.items() if measured.get(name)}
    if not found:
        return
    st.subheader("With labels, for comparison")
    with st.container(horizontal=True, gap="large"):
        for name, value in found.items():
            st.metric(f"mIoU, {_PROBES.get(name, name)}", percent(value["miou"]), width="content")
    st.caption(
        "Trained on the labels of the training photos: what the same features could reach. No other stage uses it."
    )


def _draw_masks_only(run_view: RunView) -> None:
    """Before any evaluation: how well the best masks fit."""
    frame = run_view.frame
    proposals = frame[(frame["origin"] == "proposal") & frame["truth_iou"].notna()]
    best = proposals.drop_duplicates("image")["truth_iou"]  # masks come best first
    if best.empty:
        return
    st.subheader("The masks by themselves, whatever their class")
    with st.container(horizontal=True, gap="large"):
        words, help = MASK_FIGURES["mean_best_iou"]
        st.metric(words, percent(float(best.mean())), help=help, width="content")
        words, help = MASK_FIGURES["corloc"]
        st.metric(words, percent(float((best >= 0.5).mean())), help=help, width="content")
    st.caption(
        f"The best proposal of each of {len(best):,} photos with a mask and ground truth, used for reporting only."
    )


def _draw_counts(run_view: RunView) -> None:
    """How much there is at each stage."""
    frame = run_view.frame
    proposals = int((frame["origin"] == "proposal").sum())
    st.subheader("How much there is")
    with st.container(horizontal=True, gap="large"):
        st.metric("Photos", f"{len(run_view.photos):,}", width="content")
        st.metric("Proposals", f"{proposals:,}", width="content")
        if run_view.clusters is not None:
            st.metric("Clusters", f"{run_view.clusters['num_classes']:,}", width="content")
        candidates = int(frame["candidate"].sum())
        if candidates:
            help = "Proposals of the training photos, and objects that stage 1 sees where no proposal was."
            st.metric("Candidates", f"{candidates:,}", help=help, width="content")
            st.metric("Kept by the filter", f"{int(frame['kept'].sum()):,}", width="content")


def _draw_agreement(run_view: RunView, names: Names) -> None:
    """How far the stages agree, and what they make of the photos; it needs no ground truth."""
    try:
        found = cached_reads.photo_results(run_view.run)
    except (MaskDistillError, OSError) as error:
        st.error(widgets.escape(str(error)))
        return
    if len(found.kinds) < 2:
        return
    left, right = st.columns(2, gap="large")
    scale = st.get_option("theme.chartSequentialColors")
    with left:
        st.subheader("How far the stages agree")
        figure = charts.agreement_map(cached_reads.agreement(run_view.run), scale)
        st.plotly_chart(figure, key="agreement", config={"displayModeBar": False})
        st.caption(
            "Share of the pixels, mean over the photos that have both. It needs no ground truth, and says how much a "
            "step changed, not whether for the better."
        )
    with right:
        kind = cached_reads.label_maps(run_view.run).final
        st.subheader(f"Sizes of the classes, {figures.kind_name(kind)}")
        sizes = cached_reads.class_sizes(run_view.run, kind)
        sizes = sizes[sizes["label"] > 0].sort_values("share", ascending=False, ignore_index=True)
        entries = [names.clusters()[label] for label in sizes["label"].tolist()]
        words, colours = [entry["name"] for entry in entries], [entry["colour"] for entry in entries]
        with st.container(height=520 if len(sizes) > 18 else "content", border=False):
            st.plotly_chart(charts.size_bars(sizes, words, colours), key="sizes", config={"displayModeBar": False})
        background = 100 - 100 * sizes["share"].sum()
        st.caption(f"In percent of all pixels of all photos; the rest, {background:.0f} %, is background.")
