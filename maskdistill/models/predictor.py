"""A run's trained model on photos it never saw."""

from collections.abc import Callable

import numpy as np

from maskdistill.config import RunConfig, TrainConfig
from maskdistill.datasets import Photo, read_photo
from maskdistill.datasets.transforms import PatchGeometry
from maskdistill.features.backbone import choose_device
from maskdistill.features.patch_tokens import FreshTokens
from maskdistill.models import Predictor
from maskdistill.models.object_prior import ObjectPriorPredictor
from maskdistill.proposals.crf import refine_classes
from maskdistill.storage.read_files import MissingFileError
from maskdistill.storage.run_folder import Run
from maskdistill.storage.token_store import run_axes

TokensOf = Callable[[Photo], tuple[np.ndarray, PatchGeometry]]


def load_model(
    run: Run, stage: str = "final", tokens_of: TokensOf | None = None, *, object_prior: bool = True
) -> Predictor:
    """A trained model of a run.

    Args:
        run: The run.
        stage: ``stage1``, ``stage2``, ``rounds/<number>`` of a round after stage 2, or ``final``, the last of these.
        tokens_of: Photo -> its (rows, cols, D) tokens and its grid, for a ``patch_head``; None runs the backbone.
        object_prior: Whether ``predictions.object_prior`` counts, as it does for all models but the first.

    Raises:
        RunError: If it was not trained.
        CheckpointError: If its weights cannot be used.
    """
    config = run.config()
    stage = run.final_model if stage == "final" else stage
    model = _load(run, stage, config, tokens_of)
    if stage == "stage1" or not object_prior:
        return model
    return ObjectPriorPredictor.where_wanted(model, run, config)


def _load(run: Run, stage: str, config: RunConfig, tokens_of: TokensOf | None) -> Predictor:
    settings: TrainConfig = config.stage1 if stage == "stage1" else config.stage2
    path = run.path / stage / "model.safetensors"
    if not path.exists():
        raise MissingFileError(path)
    device = choose_device(config.features.device)
    if settings.model == "deeplabv3":
        from maskdistill.models.deeplabv3 import DeepLabPredictor

        return DeepLabPredictor.load(path, settings, device)
    if settings.model == "mask_rcnn":
        from maskdistill.models.mask_rcnn import MaskRcnnPredictor

        return MaskRcnnPredictor.load(path, settings, device)
    from maskdistill.models.patch_head import PatchHeadPredictor

    if tokens_of is None:
        tokens_of = FreshTokens(config.features, axes=run_axes(run, config.features))
    return PatchHeadPredictor.load(path, settings, device, tokens_of)


def label_photo(predictor: Predictor, photo: Photo, config: RunConfig, *, crf: bool) -> np.ndarray:
    """(H, W) uint8 label map of a photo: 0 background, 1 to K."""
    probabilities = predictor.probabilities(photo)
    if crf:
        probabilities = refine_classes(np.asarray(read_photo(photo)), probabilities, config.crf)
    return probabilities.argmax(axis=0).astype(np.uint8)
