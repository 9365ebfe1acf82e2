"""What a trained run predicts for one photo, which need not be one of its own; kept while run and settings stay."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from app import cache, photo_cache, run_view
from app.run_context import run_config
from app.run_view import DecisionView, RunView
from maskdistill.config import CrfConfig, FeatureConfig, ProposalConfig, RunConfig
from maskdistill.datasets import Photo
from maskdistill.handouts import photo_masks
from maskdistill.handouts.photo_on_run import (
    PREDICTED_SIDE,
    at_size,
    content_key,
    head_tokens,
    judge_masks,
    judged_masks,
    number_by_content,
    place_masks,
    predict_epochs,
)
from maskdistill.pictures import drawing, overlays
from maskdistill.proposals.live import LiveProposals
from maskdistill.pseudo_labels.new_photo import ClusterSpace, Places
from maskdistill.review import decisions
from maskdistill.storage.run_folder import Run
from maskdistill.storage.token_store import run_axes

if TYPE_CHECKING:  # importing these loads torch, which the first steps do without
    from maskdistill.datasets.transforms import PatchGeometry
    from maskdistill.pseudo_labels.candidates import PredictedMask

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
        return self.numbers.get(content_key(photo))


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
    numbers = number_by_content(found.photos)
    return TrainedRun(
        run=run,
        stamp=stamp,
        config=run_config(run.info()),
        masks=found,
        decision_view=run_view.decision_view(found),
        space=ClusterSpace.read(run),
        table=judged_masks(run),
        numbers=numbers,
    )


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
        return at_size(self.photo, PREDICTED_SIDE)

    def tokens(self, photo: Photo) -> "tuple[np.ndarray, PatchGeometry]":
        """What a head reads of it, on the grid of its ``photo_of`` some size; as a predictor asks for it."""
        return _head_tokens(self), replace(self.live.view.geometry, height=photo.height, width=photo.width)

    @property
    def _key(self) -> tuple[Any, str]:
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
        return self.trained.run.own_mask_stage == "foreground"

    @property
    def image(self) -> Image.Image:
        """The copy that its masks fit; do not change it."""
        return photo_cache.pixels(self.photo)

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
    return photo_masks.corrected_masks(config, _on_run.live, _on_run.image, *_seen(stamp, key, _on_run))


def _seen(stamp: Any, key: str, on_run: PhotoOnRun) -> tuple[np.ndarray, np.ndarray, int]:
    """Tokens, what the run's foreground says of each patch, and the number of blocks in the tokens."""
    return _head_tokens(on_run), _foreground_chance(stamp, key, on_run), len(_head_blocks(on_run))


@st.cache_resource(max_entries=32, show_spinner=False)
def _foreground_chance(stamp: Any, key: str, _on_run: PhotoOnRun) -> np.ndarray:
    trained = _on_run.trained
    number, num_blocks = trained.number_of(_on_run.photo), len(_head_blocks(_on_run))
    return photo_masks.foreground_chance(trained.run, number, _head_tokens(_on_run), num_blocks)


@st.cache_resource(max_entries=32, show_spinner=False)
def _cluster_positions(stamp: Any, key: str, proposals: ProposalConfig, crf: CrfConfig, _on_run: PhotoOnRun) -> Places:
    trained, geometry = _on_run.trained, _on_run.live.view.geometry
    net = photo_cache.backbone(trained.config.features)
    read = _on_run.image, _head_tokens(_on_run), geometry
    return place_masks(_on_run.masks, *read, net, trained.config, trained.space)


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
    trained, places, classes = _on_run.trained, _on_run.cluster_positions(), _on_run.probabilities("stage1")
    own = _on_run.live, _on_run.image, trained.number_of(_on_run.photo), _on_run.masks, places
    return judge_masks(trained.run, trained.config, *own, classes, lambda: _seen(stamp, key, _on_run))


@st.cache_resource(max_entries=24, show_spinner=False)
def _epochs(stamp: Any, key: str, _on_run: PhotoOnRun) -> list[tuple[int, str]]:
    trained = _on_run.trained
    found = predict_epochs(trained.run, trained.config, _on_run.photo, _on_run.tokens)
    whole = [] if found else [(trained.config.stage1.epochs, _on_run.probabilities("stage1"))]
    return [(epoch, _prediction_url(probabilities)) for epoch, probabilities in found or whole]


def _prediction_url(probabilities: np.ndarray) -> str:
    return drawing.png_url(overlays.confidence_layer(probabilities))


@st.cache_resource(max_entries=16, show_spinner=False)
def _fresh_tokens(features: FeatureConfig, key: str, _photo: Photo) -> np.ndarray:
    from maskdistill.features.patch_tokens import FreshTokens

    return FreshTokens(features)(_photo)[0]


def _head_blocks(photo_on_run: PhotoOnRun) -> tuple[int, ...]:
    from maskdistill.features.patch_tokens import head_blocks

    features = photo_on_run.trained.config.features
    return head_blocks(photo_cache.backbone(features), features)


def _head_tokens(photo_on_run: PhotoOnRun) -> np.ndarray:
    trained, photo = photo_on_run.trained, photo_on_run.photo
    features = trained.config.features
    fresh = partial(_fresh_tokens, features, photo_cache.photo_key(photo), photo)
    return head_tokens(photo_on_run.live, _head_blocks(photo_on_run), run_axes(trained.run, features), fresh)
