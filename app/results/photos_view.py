"""Photo by photo: any two label maps on either side of a slider; sorted by IoU, change or source."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from app import photo_cache, selection, session, widgets
from app.components.image_grid import Tile, image_grid
from app.components.layered_image import PHOTO, Side
from app.images.crops import crop_url
from app.results import cached_reads, choices, instances_view, photo_strip
from app.results.choices import ORDERS, TRUTH, StagePair
from app.results.compare_view import compare_view
from app.run_view import RunView, decision_view
from app.stage_names import found_by
from maskdistill.datasets import Photo
from maskdistill.errors import MaskDistillError
from maskdistill.evaluation.label_names import LabelNames
from maskdistill.evaluation.metric_tables import kind_name, percent
from maskdistill.evaluation.photo_metrics import PhotoResults
from maskdistill.evaluation.run_label_maps import PROPOSALS
from maskdistill.pictures.colors import cluster_color


@dataclass(frozen=True)
class Listing:
    """The photos in their order, and the values they are sorted by; both by number of the photo."""

    numbers: np.ndarray
    ious: np.ndarray  # of the right side of the pair; NaN where unknown
    changed: np.ndarray
    order: str
    pair: StagePair

    def badge(self, number: int) -> str:
        """Text on a thumbnail: the value that the photos are sorted by."""
        value = self.changed[number] if self.order == "changed" else self.ious[number]
        return "" if np.isnan(value) else percent(float(value), 0)


def draw(run_view: RunView, names: LabelNames) -> None:
    """The whole view."""
    try:
        results = cached_reads.photo_results(run_view.run)
        maps = cached_reads.label_maps(run_view.run)
    except (MaskDistillError, OSError) as error:
        st.error(widgets.escape(str(error)))
        return
    with_truth = bool(names.classes) and results.has_truth
    sides = (PHOTO, *((TRUTH,) if with_truth else ()), *maps.kinds)
    default = StagePair(TRUTH if with_truth else PROPOSALS if len(maps.kinds) > 1 else PHOTO, maps.final)
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small")
    with bar:
        steps = st.container(horizontal=True, vertical_alignment="center", gap="small", width="content")
        listing = _list(
            run_view, names, results, choices.pair(sides, default), StagePair(PROPOSALS, maps.final), with_truth
        )
    if not len(listing.numbers):
        st.info("No photo has this class. Choose another class, or any class.", icon=":material/search_off:")
        return
    number = photo_strip.current(run_view.photos, listing.numbers)
    with steps:
        photo_strip.draw_steps(run_view.photos, listing.numbers, number)
    photo_strip.draw(run_view.photos, listing.numbers, number, listing.badge, shown_for=listing.order, pages_in=bar)
    _draw_photo(run_view, names, number, sides, listing.pair)
    instances_view.draw(run_view, names, number)
    _draw_masks(run_view, number)


def _list(
    run_view: RunView, names: LabelNames, results: PhotoResults, pair: StagePair, fallback: StagePair, with_truth: bool
) -> Listing:
    """Ask for order and class, and sort."""
    evaluated = pair.second if pair.second in results.kinds else fallback.second
    compared = pair.changed(fallback)
    ious = cached_reads.ious(run_view.run, evaluated, names) if with_truth else np.full(results.num_photos, np.nan)
    has_changes = len(results.kinds) > 1
    without = {*(() if with_truth else ("worst", "best")), *(() if has_changes else ("changed",))}
    offered = [name for name in ORDERS if name not in without]
    changed = results.changed(compared.first, compared.second) if has_changes else np.full(results.num_photos, np.nan)
    labels = {**ORDERS, "worst": f"Worst first, {kind_name(evaluated)}", "best": f"Best first, {kind_name(evaluated)}"}
    labels["changed"] = f"Most changed from {compared.text}"
    order = _choose("Order", selection.Option.PHOTO_ORDER, offered, labels, width=290)
    holding = _choose_class(run_view, names, fallback.second)
    numbers = choices.sort_photos(order, ious, changed)
    if holding:
        rows = results.counts[(results.counts["kind"] == fallback.second) & (results.counts["label"] == holding)]
        numbers = numbers[np.isin(numbers, rows["number"].to_numpy())]
    return Listing(numbers, ious, changed, order, pair)


def _choose(label: str, option: selection.Option, offered: Sequence[str], labels: dict[str, str], width: int) -> str:
    chosen = selection.option(option, offered[0], offered)
    key = f"results:{option}"
    st.selectbox(
        label,
        offered,
        key=session.sync_widget(key, chosen),
        format_func=lambda name: labels[name],
        on_change=choices.keep(option, key),
        label_visibility="collapsed",
        width=width,
    )
    return chosen


def _choose_class(run_view: RunView, names: LabelNames, kind: str) -> int:
    """The class that photos must hold in the final label maps; 0 for any."""
    sizes = cached_reads.class_sizes(run_view.run, kind)
    sizes = sizes[sizes["label"] > 0]
    labels = {"": "Any class"}
    for label, count in zip(sizes["label"].tolist(), sizes["photos"].tolist(), strict=True):
        labels[str(label)] = f"{names.cluster(label)} ({count:,})"
    return int(_choose("Holding", selection.Option.HOLDING, list(labels), labels, width=190) or 0)


def _draw_photo(run_view: RunView, names: LabelNames, number: int, sides: Sequence[str], pair: StagePair) -> None:
    photo = run_view.photos[number]
    try:
        url = photo_cache.photo_url(photo)
        layers = cached_reads.layers(run_view.run, number, sides[1:])
    except MaskDistillError as error:
        st.warning(f"This photo cannot be shown. {widgets.escape(str(error))}", icon=":material/broken_image:")
        return
    shown = [Side(PHOTO, kind_name(PHOTO), "")]
    for layer in layers:
        if layer.problem:
            st.warning(f"Without ground truth. {widgets.escape(layer.problem)}", icon=":material/block:")
            continue
        table = TRUTH if layer.kind == TRUTH else "clusters"
        shown.append(
            Side(layer.kind, kind_name(layer.kind), layer.src, table, _note(run_view, names, number, layer.kind))
        )
    tables = {"clusters": names.clusters(), TRUTH: names.truth()}
    compare_view(
        url,
        (photo.width, photo.height),
        f"Photo {photo.id}",
        shown,
        tables,
        (pair.first, pair.second),
        key="compare view",
        on_pair=choices.choose_pair,
    )
    st.caption(_explain(photo, names))


def _note(run_view: RunView, names: LabelNames, number: int, kind: str) -> str:
    """Mean IoU of one label map of a photo."""
    if kind == TRUTH or not names.classes:
        return ""
    value = cached_reads.ious(run_view.run, kind, names)[number]
    return "" if np.isnan(value) else percent(float(value), 0)


def _explain(photo: Photo, names: LabelNames) -> str:
    facts = [f"**{widgets.escape(photo.id)}**", f"{photo.width} × {photo.height} px"]
    facts += [f"{photo.split} split"] if photo.split else []
    head = f"{', '.join(facts)}. Drag the border, or use the arrow keys. "
    if not names.classes:
        return f"{head}A cluster has the same colour everywhere."
    return (
        f"{head}A class of the ground truth has the colour of the cluster matched to it. Percent: mean IoU over the "
        "classes in the photo's ground truth, background included; for reporting only."
    )


def _draw_masks(run_view: RunView, number: int) -> None:
    """The photo's masks: each opens the details."""
    frame = run_view.frame
    rows = np.flatnonzero(frame["image"].to_numpy() == number)
    if not len(rows):
        return
    decisions_now = decision_view(run_view)
    tiles = []
    for row in rows.tolist():
        mask_id, cluster = int(frame["mask_id"].to_numpy()[row]), int(decisions_now.cluster[row])
        name = decisions_now.name_of(cluster) if cluster else "no cluster"
        caption = ", ".join(filter(None, (name, found_by(str(frame["origin"].iat[row])))))
        src = crop_url(run_view, mask_id)
        tiles.append(Tile(mask_id, src, caption, color=cluster_color(cluster), title=caption))
    st.markdown("**Masks of this photo**")
    image_grid(tiles, key="photo masks", on_open=lambda mask: selection.select(mask=mask), label="Masks of this photo")
