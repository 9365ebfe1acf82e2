"""A run's trained model on photos it never saw."""

import numpy as np

from maskdistill.backbones import Backbone, choose_device, load_backbone
from maskdistill.config import RunConfig, TrainConfig
from maskdistill.crf import refine_classes
from maskdistill.datasets import Photo, read_photo
from maskdistill.datasets.transforms import PatchGeometry
from maskdistill.errors import RunError
from maskdistill.models import Predictor
from maskdistill.stages.worker import DECODE_FACTOR, head_blocks, stack_tokens
from maskdistill.store import Run
from maskdistill.vit import FeatureRequest


def load_model(run: Run, stage: str = "stage2", tokens_of: object = None) -> Predictor:
    """The trained model of a run.

    Args:
        run: The run.
        stage: ``stage1`` or ``stage2``.
        tokens_of: Photo -> its (rows, cols, D) tokens and its grid, for a ``patch_head``; None runs the backbone.

    Raises:
        RunError: If the stage was not trained.
        CheckpointError: If its weights cannot be used.
    """
    config = RunConfig.from_dict(run.info()["config"])
    settings: TrainConfig = getattr(config, stage)
    path = run.path / stage / "model.safetensors"
    if not path.is_file():
        raise RunError(f"No trained model at {path}. Make it with: maskdistill train-{stage} --run {run.path}")
    device = choose_device(config.features.device)
    if settings.model == "deeplabv3":
        from maskdistill.models.deeplabv3 import DeepLabPredictor

        return DeepLabPredictor.load(path, settings, device)
    if settings.model == "mask_rcnn":
        from maskdistill.models.mask_rcnn import MaskRcnnPredictor

        return MaskRcnnPredictor.load(path, settings, device)
    from maskdistill.models.patch_head import PatchHeadPredictor

    return PatchHeadPredictor.load(path, settings, device, tokens_of or FreshTokens(config))


class FreshTokens:
    """Patch tokens of a photo by a forward pass, as the stage ``proposals`` stores them."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._backbone: Backbone = load_backbone(config.features)
        self._blocks = head_blocks(self._backbone, config)

    def __call__(self, photo: Photo) -> tuple[np.ndarray, PatchGeometry]:
        """(rows, cols, D) float16 and the grid they lie on."""
        side = self._config.features.shorter_side or self._backbone.spec.shorter_side
        image = read_photo(photo, min_short_side=DECODE_FACTOR * side)
        geometry = self._backbone.geometry(photo.height, photo.width, self._config.features)
        features = self._backbone.features(image, geometry, FeatureRequest(token_blocks=self._blocks))
        return stack_tokens(features, self._blocks).astype(np.float16), geometry


def label_photo(predictor: Predictor, photo: Photo, config: RunConfig, *, crf: bool) -> np.ndarray:
    """(H, W) uint8 label map of a photo: 0 background, 1 to K."""
    probabilities = predictor.probabilities(photo)
    if crf:
        probabilities = refine_classes(np.asarray(read_photo(photo)), probabilities, config.crf)
    return probabilities.argmax(axis=0).astype(np.uint8)
