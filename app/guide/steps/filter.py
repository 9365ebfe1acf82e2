"""Step 7: which masks the filter keeps by the first model's score, in this photo and in the run."""

from dataclasses import replace

import numpy as np
import pandas as pd

from app import selection
from app.components.image_grid import Tile, TileGroup, grouped_images
from app.components.layered_image import Layer, Slider, Tag, View, layered_image
from app.guide.mask_detail import open_detail
from app.guide.photo_results import TrainedRun
from app.guide.picture import KEY, step_image
from app.guide.step_context import StepContext
from app.images.crops import crop_url
from maskdistill.config import FilterConfig
from maskdistill.pictures import overlays
from maskdistill.pictures.colors import cluster_color
from maskdistill.pseudo_labels.filter import ACCEPTED, KEPT, PHOTO_BEST, RULES, FilterResult
from maskdistill.pseudo_labels.new_photo import filter_photo

BORDER = 5  # crops on each side of the threshold
MIN_SCORE = "filter.min_score"
_PASSING = [RULES.index(KEPT), RULES.index(ACCEPTED)]


def draw_filter(context: StepContext) -> str:
    """The photo's masks with the scores that the first model gives them, and the run's masks at the threshold."""
    trained, photo_on_run = context.on_run
    config, seen = filter_config(trained), photo_on_run.predicted_masks()
    number = trained.number_of(context.photo)
    others = trained.table if number is None else trained.table[trained.table["image"] != number]
    filtered = filter_photo(others, number, seen, photo_on_run.cluster_positions(), config)
    layers, tags = [], []
    for item, kept, rule in zip(seen, filtered.kept.tolist(), filtered.rules, strict=True):
        color = cluster_color(int(item.label))
        layers.append(Layer.of_image(overlays.mask_layer(item.mask, color, dropped=not kept)))
        words = f"{item.score:.2f}{', back as the best' if rule == PHOTO_BEST else ''}"
        tags.append(Tag(*overlays.anchor_of(item.mask), words, color, out=not kept))
    image = replace(
        step_image(context, f"Masks of {context.photo.id} with the first model's scores"),
        views=(View(tuple(layers)),),
        tags=tuple(tags),
        slider=Slider("Score at least", 0, 1, 0.01, config.min_score, digits=2),
    )
    layered_image(image, key=KEY, on_slide=lambda value: _keep_score(trained, value))
    _draw_border(trained, others, filtered.whole)
    stays = filtered.whole.kept[: len(others)]
    return f"This photo: {filtered.kept.sum()} of {len(seen)} masks stay. The run: {stays.sum():,} of {len(others):,}"


def filter_config(trained_run: TrainedRun) -> FilterConfig:
    """The run's thresholds, with those of the link on top; the page has checked these."""
    changes = [item for item in selection.current().changes if item.startswith("filter.")]
    return trained_run.config.with_overrides(changes).filter


def _keep_score(trained_run: TrainedRun, value: float) -> None:
    selection.change_setting(trained_run.config, MIN_SCORE, f"{value:.2f}")


def _draw_border(trained_run: TrainedRun, table: pd.DataFrame, result: FilterResult) -> None:
    """The run's masks that only just fail and only just pass: where the filter's mistakes are to be found.

    What fails and comes back, as the best of its photo or cluster, stands among those that fail.
    """
    passes = np.isin(result.rule[: len(table)], _PASSING)
    order = np.argsort(table["score"].to_numpy(), kind="stable")
    fails, stays = order[~passes[order]][-BORDER:], order[passes[order]][:BORDER]
    below = [_border_tile(trained_run, table, int(row), passes=False, kept=bool(result.kept[row])) for row in fails]
    above = [_border_tile(trained_run, table, int(row), passes=True, kept=True) for row in stays]
    groups = [TileGroup(below), TileGroup(above, title="threshold")]
    grouped_images(groups, key="guide:border", layout="line", on_open=open_detail)


def _border_tile(trained_run: TrainedRun, table: pd.DataFrame, row: int, *, passes: bool, kept: bool) -> Tile:
    columns = ("mask_id", "image_id", "cluster", "score")
    mask_id, image_id, cluster, score = (table[name].to_numpy()[row] for name in columns)
    fate = "kept" if passes else "back, as the best there is" if kept else "dropped"
    text, title = f"{'' if passes or not kept else '↩ '}{score:.2f}", f"{image_id}: {fate}, score {score:.2f}"
    src, color = crop_url(trained_run.masks, int(mask_id)), cluster_color(int(cluster))
    return Tile(int(mask_id), src, text, color=color, title=title, muted=not kept)
