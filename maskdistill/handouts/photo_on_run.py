"""What a trained run makes of one photo, which need not be one of its own. Nothing is kept: callers do that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from maskdistill.config import RunConfig
from maskdistill.datasets import Photo, ViewRecipe
from maskdistill.datasets.photo_table import keys_of
from maskdistill.handouts import photo_masks
from maskdistill.masks import describe_mask
from maskdistill.pseudo_labels.new_photo import ClusterSpace, Places
from maskdistill.stages.samples import read_samples
from maskdistill.stages.select import read_decisions
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, Run
from maskdistill.storage.token_store import TokenAxes, as_stored, run_axes

if TYPE_CHECKING:  # importing these loads torch
    from maskdistill.datasets.transforms import PatchGeometry
    from maskdistill.features.backbone import Backbone
    from maskdistill.proposals.live import LiveProposals
    from maskdistill.pseudo_labels.candidates import PredictedMask

PREDICTED_SIDE = 512  # pixels, longer side of predictions: enough for a projector, in a quarter of the time
FRAME_SIDE = 384  # the same of each epoch
NEEDS = ("clusters", "stage1", "candidates", "stage2")  # stages

TokensOf = Callable[[Photo], "tuple[np.ndarray, PatchGeometry]"]


@dataclass(frozen=True, eq=False)
class PhotoPredictions:
    """What the models of a run say of a photo."""

    own: tuple[np.ndarray, ...]  # the photo's masks as the run uses them, (H, W) bool at the live size, best first
    places: Places  # of these among the clusters
    masks: "Sequence[PredictedMask]"  # these as the first model sees them, and objects that it found besides
    first: np.ndarray  # (height, width) uint8 label map of the first model
    final: np.ndarray  # of the final one
    epochs: list[tuple[int, np.ndarray]]  # epoch -> (K + 1, h, w) probabilities; one entry if others were not kept


def is_trained(run: Run) -> bool:
    """Whether a run has come to its final model."""
    return all(run.stage_path(name).is_file() for name in NEEDS)


def used_config(run: Run) -> RunConfig:
    """The run's settings, with the backbone that ``auto`` came to.

    Raises:
        RunError: If there is no run, or it is damaged.
    """
    config, backbone = run.config(), run.info().get("backbone")
    if config.features.backbone != "auto" or not backbone:
        return config
    return replace(config, features=replace(config.features, backbone=backbone["name"]))


def judged_masks(run: Run) -> pd.DataFrame:
    """candidates.parquet with people's decisions as they are now."""
    table = run.candidates()
    decision, relabel = read_decisions(run, run, table)
    given = {name: np.where(relabel > 0, relabel, table[name]) for name in ("cluster", "label")}
    return table.assign(decision=decision, **given)


def content_key(photo: Photo) -> str:
    """Names a photo by its content and view, wherever it lies."""
    return _key(photo.digest, photo.view)


def number_by_content(photos: Sequence[Photo]) -> dict[str, int]:
    """Number of each photo of a run, by its ``content_key``."""
    return {_key(digest, view): number for number, (_, digest, view) in enumerate(keys_of(photos))}


def _key(digest: str, view: ViewRecipe | None) -> str:
    return f"{digest}|{view}"


def at_size(photo: Photo, side: int) -> Photo:
    """The photo at a size of at most so many pixels, for a predictor."""
    scale = min(1.0, side / max(photo.height, photo.width))
    height, width = (max(1, round(length * scale)) for length in (photo.height, photo.width))
    return replace(photo, height=height, width=width)


def head_tokens(
    live: "LiveProposals", blocks: tuple[int, ...], axes: TokenAxes | None, fresh: Callable[[], np.ndarray]
) -> np.ndarray:
    """What a head reads of the photo: out of the pass that the masks were cut from, as a rule.

    Args:
        live: The photo's masks, with the features that they were cut from.
        blocks: Which the head reads.
        axes: Of the run's tokens, if these are compact.
        fresh: Reads them by a pass of its own, which a head of early blocks needs.
    """
    from maskdistill.features.patch_tokens import stack_tokens

    features = live.view.features
    if set(blocks) <= set(features.patch_tokens):
        return as_stored(stack_tokens(features, blocks), axes)
    return as_stored(fresh(), axes)


def place_masks(
    masks: Sequence[np.ndarray],
    image: Image.Image,
    tokens: np.ndarray,
    geometry: "PatchGeometry",
    backbone: "Backbone",
    config: RunConfig,
    space: ClusterSpace,
) -> Places:
    """A photo's masks among the clusters of a run.

    Args:
        masks: Each (H, W) bool, of the size of ``image``.
        image: The photo's copy that they fit.
        tokens: Of ``head_tokens``.
        geometry: The grid that the tokens lie on.
        backbone: Of the run.
        config: Of the run.
        space: The run's clusters.
    """
    from maskdistill.clustering.mask_embeddings import embed_masks
    from maskdistill.features.patch_tokens import head_blocks

    if not masks:
        nothing = np.zeros(0, np.float32)
        return Places(np.zeros((0, space.space.dimensions), np.float32), nothing.astype(int), nothing, nothing)
    blocks = head_blocks(backbone, config.features)
    return space.place(embed_masks(backbone, image, list(masks), tokens, geometry, config.embeddings, blocks))


def judge_masks(
    run: Run,
    config: RunConfig,
    live: "LiveProposals",
    image: Image.Image,
    number: int | None,
    masks: Sequence[np.ndarray],
    places: Places,
    classes: np.ndarray,
    seen: Callable[[], tuple[np.ndarray, np.ndarray, int]],
) -> "Sequence[PredictedMask]":
    """A photo's masks, and further objects, as the first model sees them, of the size of its probabilities.

    Where the run judges single objects, these are further objects too.

    Args:
        run: The run.
        config: Its settings.
        live: The photo's masks as they are cut, and its pool.
        image: The photo's copy that masks fit.
        number: Of the photo in the run; None for a photo of elsewhere.
        masks: As the run uses them.
        places: Of ``place_masks``.
        classes: (K + 1, h, w) probabilities of the first model.
        seen: Tokens, probability of foreground and number of blocks, as ``photo_masks`` takes them.
    """
    from maskdistill.models.new_instances import has_instances
    from maskdistill.pseudo_labels.candidates import compare_with_prediction
    from maskdistill.pseudo_labels.objects import compare_objects

    small = [resize_mask(mask, classes.shape[1:]) for mask in masks]
    clusters, min_area = places.clusters.tolist(), config.candidates.min_area
    if not (config.judges_instances and live.proposals.pool and has_instances(run)):
        return compare_with_prediction(classes, small, clusters, min_area)
    objects = photo_masks.single_objects(run, config, live, image, number, *seen(), classes)
    known, room = [describe_mask(mask) for mask in small], max(0, MASKS_PER_PHOTO - len(small))
    return compare_objects(classes, objects, known, clusters, min_area=min_area, most_new=room)


def predict_epochs(run: Run, config: RunConfig, photo: Photo, tokens_of: TokensOf) -> list[tuple[int, np.ndarray]]:
    """What the first model says of a photo after each epoch, as probabilities; none if its weights were not kept."""
    samples = read_samples(run, "stage1")
    if samples is None:
        return []
    epochs = samples.epochs
    if len(epochs) < 2 or not all(samples.weights(epoch).is_file() for epoch in epochs):
        return []
    import torch

    from maskdistill.models.patch_head import PatchHeadPredictor
    from maskdistill.models.training.checkpoint import read_tensors

    small = at_size(photo, FRAME_SIDE)
    predictor = PatchHeadPredictor.load(samples.weights(epochs[0]), config.stage1, torch.device("cpu"), tokens_of)
    found = []
    for epoch in epochs:  # one predictor for all, which keeps how alike the patches are
        predictor.model.load_state_dict(read_tensors(samples.weights(epoch))[0])
        found.append((epoch, predictor.probabilities(small)))
    return found


def predict_photo(
    run: Run,
    config: RunConfig,
    space: ClusterSpace,
    photo: Photo,
    number: int | None,
    image: Image.Image,
    live: "LiveProposals",
    backbone: "Backbone",
) -> PhotoPredictions | None:
    """All of it at once; None if the run would have no mask of the photo.

    Args:
        run: A trained run.
        config: Its settings, those of the proposals and the CRF as on show.
        space: Its clusters.
        photo: The photo.
        number: Of the photo in the run; None for a photo of elsewhere.
        image: The photo's copy that masks fit.
        live: The photo's masks as they are cut.
        backbone: Of the run.

    Raises:
        MaskDistillError: If the run's models cannot be used.
    """
    from maskdistill.features.patch_tokens import FreshTokens, head_blocks
    from maskdistill.models.predictor import load_model

    fresh, geometry = FreshTokens(config.features, backbone), live.view.geometry
    blocks = head_blocks(backbone, config.features)
    tokens = head_tokens(live, blocks, run_axes(run, config.features), lambda: fresh(photo)[0])

    @cache
    def seen() -> tuple[np.ndarray, np.ndarray, int]:
        return tokens, photo_masks.foreground_chance(run, number, tokens, len(blocks)), len(blocks)

    masks = tuple(item.mask for item in live.proposals.proposals)
    if run.own_mask_stage == "foreground":
        masks = photo_masks.corrected_masks(config, live, image, *seen())
    if not masks:
        return None

    def tokens_of(wanted: Photo) -> "tuple[np.ndarray, PatchGeometry]":
        return tokens, replace(geometry, height=wanted.height, width=wanted.width)

    small = at_size(photo, PREDICTED_SIDE)
    first = load_model(run, "stage1", tokens_of).probabilities(small)
    final = load_model(run, "final", tokens_of).probabilities(small)
    places = place_masks(masks, image, tokens, geometry, backbone, config, space)
    return PhotoPredictions(
        own=masks,
        places=places,
        masks=judge_masks(run, config, live, image, number, masks, places, first, seen),
        first=first.argmax(axis=0).astype(np.uint8),
        final=final.argmax(axis=0).astype(np.uint8),
        epochs=predict_epochs(run, config, photo, tokens_of) or [(config.stage1.epochs, first)],
    )


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at another size in pixels, (height, width); each pixel takes its nearest."""
    if mask.shape == size:
        return mask
    return np.asarray(Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST))
