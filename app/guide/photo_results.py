"""What a trained run predicts for one photo, which need not be one of its own; kept while run and settings stay."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from app import cache, photo_cache, run_view
from app.guide import overlays, photo_masks
from app.images import drawing
from app.photo_cache import LiveProposals
from app.run_context import run_config
from app.run_view import DecisionView, RunView
from maskdistill.config import CrfConfig, FeatureConfig, ProposalConfig, RunConfig
from maskdistill.datasets import Photo
from maskdistill.masks import describe_mask
from maskdistill.pseudo_labels.new_photo import ClusterSpace, Places
from maskdistill.review import decisions
from maskdistill.stages.samples import read_samples
from maskdistill.stages.select import read_decisions
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, Run

if TYPE_CHECKING:  # importing these loads torch, which the first steps do without
    from maskdistill.datasets.transforms import PatchGeometry
    from maskdistill.pseudo_labels.candidates import PredictedMask

PREDICTED_SIDE = 512  # pixels, longer side of predictions: enough for a projector, in a quarter of the time
FRAME_SIDE = 384  # the same of each epoch
_FILES = ("run.json", "space.npz", "classes.parquet", "stage1/model.safetensors", "stage2/model.safetensors")
_OBJECTS = ("instances.json", "instances/record.json")


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A run with both models."""

    run: Run
    stamp: str  # names this state of the run: a key for caches
    config: RunConfig
    masks: RunView
    decision_view: DecisionView
    space: ClusterSpace
    table: pd.DataFrame  # candidates.parquet with people's decisions
    numbers: dict[str, int]  # file, content and view of a photo -> its number in the run

    def number_of(self, photo: Photo) -> int | None:
        """The photo's number in the run; None if it is not among its photos."""
        return self.numbers.get(_content_key(photo))


def read_trained(run: Run) -> TrainedRun:
    """A trained run, read again when one of its files or people's decisions have changed.

    Raises:
        MaskDistillError: If a file of it is damaged.
    """
    paths = [run.path / name for name in (*_FILES, *_OBJECTS)]
    found = run_view.read_run_view(run)
    return _read_trained(run.path, f"{cache.stamp(paths)} {found.stamp} {decisions.version(run)}", found)


@cache.newest(4)
def _read_trained(path: Path, stamp: str, found: RunView) -> TrainedRun:
    run = Run(path)
    table = run.candidates()
    decision, relabel = read_decisions(run, run, table)
    given = {name: np.where(relabel > 0, relabel, table[name]) for name in ("cluster", "label")}
    numbers = {_content_key(photo): number for number, photo in enumerate(found.photos)}
    return TrainedRun(
        run=run,
        stamp=stamp,
        config=run_config(run.info()),
        masks=found,
        decision_view=run_view.decision_view(found),
        space=ClusterSpace.read(run),
        table=table.assign(decision=decision, **given),
        numbers=numbers,
    )


def _content_key(photo: Photo) -> str:
    return f"{photo.digest}|{photo.view}"


@dataclass(frozen=True, eq=False)
class PhotoOnRun:
    """One photo under certain settings, and what a trained run predicts for it."""

    trained: TrainedRun
    photo: Photo
    proposals: ProposalConfig
    crf: CrfConfig

    @property
    def live(self) -> LiveProposals:
        """Its masks by the features that the run was made with."""
        return photo_cache.live(self.trained.config.features, self.proposals, self.crf, self.photo)

    @property
    def predicted_photo(self) -> Photo:
        """The photo at the size of predictions."""
        return self.photo_of(PREDICTED_SIDE)

    def photo_of(self, side: int) -> Photo:
        """The photo at a size of at most so many pixels, for a predictor."""
        scale = min(1.0, side / max(self.photo.height, self.photo.width))
        height, width = (max(1, round(side * scale)) for side in (self.photo.height, self.photo.width))
        return replace(self.photo, height=height, width=width)

    def tokens(self, photo: Photo) -> "tuple[np.ndarray, PatchGeometry]":
        """What a head reads of it, on the grid of its ``photo_of`` some size; as a predictor asks for it."""
        return _head_tokens(self), replace(self.live.view.geometry, height=photo.height, width=photo.width)

    @property
    def _key(self) -> tuple[Any, ...]:
        return (self.trained.stamp, photo_cache.photo_key(self.photo))

    @property
    def masks(self) -> tuple[np.ndarray, ...]:
        """Its masks as the run would use them, (H, W) bool at the live size, best first: after the foreground."""
        if not self.is_corrected:
            return tuple(item.mask for item in self.live.proposals.proposals)
        return _corrected_masks(*self._key, self.proposals, self.crf, self)

    @property
    def is_corrected(self) -> bool:
        """Whether the run corrects masks by what it learnt across photos."""
        return self.trained.run.mask_stage == "foreground"

    def cluster_positions(self) -> Places:
        """Vectors of its masks, their clusters and the distances to these."""
        return _cluster_positions(*self._key, self.proposals, self.crf, self)

    def probabilities(self, stage: str) -> np.ndarray:
        """(K + 1, height, width) of ``predicted_photo``, by the ``stage1`` or ``final`` model; do not change it."""
        return _probabilities(*self._key, stage, self)

    def predicted_masks(self) -> "Sequence[PredictedMask]":
        """Its masks, and further objects, as the first model sees them, of the size of ``predicted_photo``."""
        return _predicted_masks(*self._key, self.proposals, self.crf, self)

    def labels(self, stage: str) -> np.ndarray:
        """(height, width) uint8 label map of ``predicted_photo``; do not change it."""
        return _labels(*self._key, stage, self)

    def epochs(self) -> list[tuple[int, str]]:
        """What the first model draws after each epoch, as data URLs; the last one only if others were not kept."""
        return _epochs(*self._key, self)

    def prepare(self) -> None:
        """Do now what would keep the later steps waiting; at no cost if it was done before.

        Models that run a network of their own take too long for that.
        """
        if {self.trained.config.stage1.model, self.trained.config.stage2.model} != {"patch_head"}:
            return
        self.predicted_masks()
        self.epochs()
        self.labels("final")


@st.cache_resource(max_entries=32, show_spinner=False)
def _corrected_masks(
    stamp: Any, key: str, proposals: ProposalConfig, crf: CrfConfig, _on_run: PhotoOnRun
) -> tuple[np.ndarray, ...]:
    config = replace(_on_run.trained.config, proposals=proposals, crf=crf)
    seen = _head_tokens(_on_run), _foreground_chance(stamp, key, _on_run), len(_head_blocks(config))
    return photo_masks.corrected_masks(config, _on_run.live, _on_run.photo, *seen)


@st.cache_resource(max_entries=32, show_spinner=False)
def _foreground_chance(stamp: Any, key: str, _on_run: PhotoOnRun) -> np.ndarray:
    trained = _on_run.trained
    number, num_blocks = trained.number_of(_on_run.photo), len(_head_blocks(trained.config))
    return photo_masks.foreground_chance(trained.run, number, _head_tokens(_on_run), num_blocks)


@st.cache_resource(max_entries=32, show_spinner=False)
def _cluster_positions(stamp: Any, key: str, proposals: ProposalConfig, crf: CrfConfig, _on_run: PhotoOnRun) -> Places:
    from maskdistill.clustering.mask_embeddings import embed_masks

    trained, live = _on_run.trained, _on_run.live
    masks = _on_run.masks
    if not masks:
        nothing = np.zeros(0, np.float32)
        return Places(np.zeros((0, trained.space.space.dimensions), np.float32), nothing.astype(int), nothing, nothing)
    raw = embed_masks(
        photo_cache.backbone(trained.config.features),
        photo_cache.pixels(_on_run.photo),
        masks,
        _head_tokens(_on_run),
        live.view.geometry,
        trained.config.embeddings,
        _head_blocks(trained.config),
    )
    return trained.space.place(raw)


@st.cache_resource(max_entries=4, show_spinner=False)
def _probabilities(stamp: Any, key: str, stage: str, _on_run: PhotoOnRun) -> np.ndarray:
    from maskdistill.models.predictor import load_model

    return load_model(_on_run.trained.run, stage, _on_run.tokens).probabilities(_on_run.predicted_photo)


@st.cache_resource(max_entries=48, show_spinner=False)
def _labels(stamp: Any, key: str, stage: str, _on_run: PhotoOnRun) -> np.ndarray:
    return _on_run.probabilities(stage).argmax(axis=0).astype(np.uint8)


@st.cache_resource(max_entries=32, show_spinner=False)
def _predicted_masks(
    stamp: Any, key: str, proposals: ProposalConfig, crf: CrfConfig, _on_run: PhotoOnRun
) -> "Sequence[PredictedMask]":
    from maskdistill.models.new_instances import has_instances
    from maskdistill.pseudo_labels.candidates import compare_with_prediction
    from maskdistill.pseudo_labels.objects import compare_objects

    size = (_on_run.predicted_photo.height, _on_run.predicted_photo.width)
    masks = [resize_mask(mask, size) for mask in _on_run.masks]
    clusters, classes = _on_run.cluster_positions().clusters.tolist(), _on_run.probabilities("stage1")
    trained = _on_run.trained
    min_area = trained.config.candidates.min_area
    if not (trained.config.judges_instances and _on_run.live.proposals.pool and has_instances(trained.run)):
        return compare_with_prediction(classes, masks, clusters, min_area)
    seen = _head_tokens(_on_run), _foreground_chance(stamp, key, _on_run), len(_head_blocks(trained.config))
    objects = photo_masks.single_objects(trained.run, trained.config, _on_run.live, _on_run.photo, *seen, classes)
    known, room = [describe_mask(mask) for mask in masks], max(0, MASKS_PER_PHOTO - len(masks))
    return compare_objects(classes, objects, known, clusters, min_area=min_area, most_new=room)


@st.cache_resource(max_entries=24, show_spinner=False)
def _epochs(stamp: Any, key: str, _on_run: PhotoOnRun) -> list[tuple[int, str]]:
    config = _on_run.trained.config.stage1
    samples = read_samples(_on_run.trained.run, "stage1")
    epochs = [] if samples is None else samples.epochs
    if len(epochs) < 2 or not all(samples.weights(epoch).is_file() for epoch in epochs):
        return [(config.epochs, _prediction_url(_on_run.probabilities("stage1")))]
    import torch

    from maskdistill.models.patch_head import PatchHeadPredictor
    from maskdistill.models.training.checkpoint import read_tensors

    photo = _on_run.photo_of(FRAME_SIDE)
    predictor = PatchHeadPredictor.load(samples.weights(epochs[0]), config, torch.device("cpu"), _on_run.tokens)
    found = []
    for epoch in epochs:  # one predictor for all, which keeps how alike the patches are
        predictor.model.load_state_dict(read_tensors(samples.weights(epoch))[0])
        found.append((epoch, _prediction_url(predictor.probabilities(photo))))
    return found


def _prediction_url(probabilities: np.ndarray) -> str:
    return drawing.png_url(overlays.confidence_layer(probabilities))


@st.cache_resource(max_entries=16, show_spinner=False)
def _fresh_tokens(features: FeatureConfig, key: str, _photo: Photo) -> np.ndarray:
    from maskdistill.features.patch_tokens import FreshTokens

    return FreshTokens(features)(_photo)[0]


def _head_blocks(config: RunConfig) -> tuple[int, ...]:
    from maskdistill.features.patch_tokens import head_blocks

    return head_blocks(photo_cache.backbone(config.features), config.features)


def _head_tokens(photo_on_run: PhotoOnRun) -> np.ndarray:
    """Out of the pass that the masks were cut from, as a rule; a head of early blocks needs one of its own."""
    from maskdistill.features.patch_tokens import stack_tokens

    config, features = photo_on_run.trained.config, photo_on_run.live.view.features
    blocks = _head_blocks(config)
    if set(blocks) <= set(features.patch_tokens):
        return stack_tokens(features, blocks).astype(np.float16)
    return _fresh_tokens(config.features, photo_cache.photo_key(photo_on_run.photo), photo_on_run.photo)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at another size in pixels, (height, width); each pixel takes its nearest."""
    if mask.shape == size:
        return mask
    return np.asarray(Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST))
