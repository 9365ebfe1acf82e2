"""Mask R-CNN (He et al., ICCV 2017) with a ResNet-50 and FPN: the object segmentation model of stage 1 as published.

Batch norm follows torchvision: with initial weights its statistics and scales are frozen, since a batch of a few photos
is too small for new ones; without them there is nothing to freeze, so plain batch norm is trained.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FrozenBatchNorm2d

from maskdistill.config import TrainConfig
from maskdistill.datasets import Photo, read_photo
from maskdistill.errors import DatasetError, ShapeError
from maskdistill.masks import bounding_box, mask_iou
from maskdistill.models import Candidate, paint_probabilities
from maskdistill.models.augment import (
    MEAN,
    STD,
    fit_shorter_side,
    in_threads,
    normalise,
    resize_masks,
    sample_generators,
)
from maskdistill.models.resnet import STAGES, load_resnet50
from maskdistill.models.trained import load_trained
from maskdistill.models.training.optim import autocast, place

MAX_RATIO = 1333 / 800  # longer side at most, in published shorter sides
MIN_SCALE = 0.6  # of the training sizes; the published 480-800 pixels are 0.6-1 of image_side=800
SURE = 0.5  # score from which a candidate counts as the model's opinion

Targets = Callable[[int], tuple[np.ndarray, np.ndarray]]
_LAST_LAYER = "roi_heads.box_predictor.cls_score.weight"


def build_mask_rcnn(num_classes: int, config: TrainConfig, *, seed: int = 0, **options: Any) -> MaskRCNN:
    """torchvision's model, with initial weights from ``config.weights`` and ``config.frozen_stages`` stages frozen.

    Args:
        num_classes: K, background not counted.
        config: Settings. Without initial weights nothing is frozen: noise would stay noise.
        seed: Of the weights that no file gives.
        options: torchvision's, such as ``box_batch_size_per_image``.
    """
    frozen = config.frozen_stages if config.weights else 0
    norm = FrozenBatchNorm2d if config.weights else nn.BatchNorm2d
    return _build(num_classes, norm, frozen, config, seed, options)


def _build(
    num_classes: int, norm: type[nn.Module], frozen: int, config: TrainConfig, seed: int, options: dict[str, Any]
) -> MaskRCNN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = resnet_fpn_backbone(
            backbone_name="resnet50", weights=None, norm_layer=norm, trainable_layers=len(STAGES) - frozen
        )
        model = MaskRCNN(backbone, num_classes + 1, **options)
    if config.weights:
        load_resnet50(backbone.body, Path(config.weights))
    side = config.image_side
    model.transform = _Unscaled(side, round(MAX_RATIO * side), MEAN, STD)
    return model


class _Unscaled(GeneralizedRCNNTransform):  # type: ignore[misc]  # torchvision has no types
    """Batches photos that have their size and are normalised: we scale with antialiasing, torchvision without."""

    def normalize(self, image: Tensor) -> Tensor:
        return image

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        return image, target


class MaskRcnnTask:
    """Training of a Mask R-CNN on masks with cluster ids; satisfies ``training.Task``.

    Args:
        model: Of ``build_mask_rcnn``, on its device.
        photos: What to train on.
        masks_of: Number of a photo -> its masks (M, H, W) bool at the photo's size and their labels (M,), 1 to K.
            A photo may have none: then all of it is background.
        config: ``image_side``.
        num_checked: Photos that ``metrics`` uses, spread over all.
    """

    def __init__(
        self, model: MaskRCNN, photos: Sequence[Photo], masks_of: Targets, config: TrainConfig, *, num_checked: int = 8
    ) -> None:
        self.model, self.config = model, config
        self.num_samples = len(photos)
        self._photos, self._masks_of = photos, masks_of
        self._checked = range(0, len(photos), max(1, -(-len(photos) // num_checked)))

    def loss(self, indices: Sequence[int], generator: torch.Generator) -> dict[str, Tensor]:
        """The five losses of Mask R-CNN, on photos that are mirrored or not and scaled to 0.6-1 of ``image_side``."""
        drawn = sample_generators(generator, len(indices))
        samples = [_Sample(self._photos[i], *self._masks(i), g) for i, g in zip(indices, drawn, strict=True)]
        inputs = in_threads(self._read, samples)
        device = next(self.model.parameters()).device
        images = [pixels.to(device) for pixels, _ in inputs]
        targets = [{name: value.to(device) for name, value in target.items()} for _, target in inputs]
        return self.model(images, targets)

    def metrics(self) -> dict[str, float]:
        """``agreement``: mean over masks of the best IoU with a candidate of the same label; 0 where there is none."""
        predictor = MaskRcnnPredictor(self.model, self.config)
        ious = []
        for index in self._checked:
            masks, labels = self._masks(index)
            sure = [item for item in predictor.candidates(self._photos[index]) if item.score >= SURE]
            for mask, label in zip(masks, labels.tolist(), strict=True):
                ious.append(max((mask_iou(mask, item.mask) for item in sure if item.label == label), default=0.0))
        return {"agreement": float(np.mean(ious))} if ious else {}

    def _masks(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        masks, labels = (np.asarray(values) for values in self._masks_of(index))
        photo, num_classes = self._photos[index], num_classes_of(self.model)
        if masks.shape != (len(labels), photo.height, photo.width):
            raise ShapeError(f"masks of {photo.id}", f"{(len(labels), photo.height, photo.width)}", masks.shape)
        if len(labels) and not 1 <= labels.min() <= labels.max() <= num_classes:
            raise DatasetError(
                f"The masks of {photo.id} have classes {labels.min()} to {labels.max()}, wanted 1 to {num_classes}. "
                "Cluster the masks again."
            )
        return masks, labels

    def _read(self, sample: "_Sample") -> tuple[Tensor, dict[str, Tensor]]:
        mirror, scale = torch.rand(2, generator=sample.generator).tolist()
        side = max(1, round(self.config.image_side * (MIN_SCALE + (1 - MIN_SCALE) * scale)))
        height, width = fit_shorter_side(sample.photo.height, sample.photo.width, side, MAX_RATIO)
        image = read_photo(sample.photo, min_short_side=min(height, width))
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        masks = resize_masks(sample.masks, height, width)
        if mirror < 0.5:
            image, masks = ImageOps.mirror(image), masks[:, :, ::-1]
        return normalise(image), _target(masks, sample.labels)


@dataclass(frozen=True)
class _Sample:
    photo: Photo
    masks: np.ndarray  # (M, H, W) bool
    labels: np.ndarray  # (M,)
    generator: torch.Generator


def _target(masks: np.ndarray, labels: np.ndarray) -> dict[str, Tensor]:
    """What torchvision trains on: boxes (M, 4) as (x1, y1, x2, y2), labels, masks; those that vanished are left out."""
    seen = masks.any(axis=(1, 2))
    masks, labels = np.ascontiguousarray(masks[seen]), labels[seen]
    corners = [(x, y, x + width, y + height) for x, y, width, height in map(bounding_box, masks)]
    return {
        "boxes": torch.tensor(corners, dtype=torch.float32).view(-1, 4),
        "labels": torch.from_numpy(labels.astype(np.int64)),
        "masks": torch.from_numpy(masks.astype(np.uint8)),
    }


def num_classes_of(model: MaskRCNN) -> int:
    """K of a Mask R-CNN, background not counted."""
    return model.roi_heads.box_predictor.cls_score.out_features - 1


class MaskRcnnPredictor:
    """A trained Mask R-CNN, ready to find objects; satisfies ``models.Predictor``."""

    def __init__(self, model: MaskRCNN, config: TrainConfig) -> None:
        self.model, self.num_classes = model.eval(), num_classes_of(model)
        self._config, self._device = config, next(model.parameters()).device

    @classmethod
    def load(cls, path: Path, config: TrainConfig, device: torch.device) -> Self:
        """Read the weights that ``train`` left in model.safetensors.

        Raises:
            CheckpointError: If they cannot be read, or are of another model.
        """

        def build(num_classes: int, tensors: Mapping[str, Tensor]) -> MaskRCNN:
            trained_norm = "backbone.body.bn1.num_batches_tracked" in tensors
            norm = nn.BatchNorm2d if trained_norm else FrozenBatchNorm2d
            return _build(num_classes, norm, 0, replace(config, weights=""), 0, {})

        return cls(place(load_trained(path, "Mask R-CNN", _LAST_LAYER, build), device), config)

    def probabilities(self, photo: Photo) -> np.ndarray:
        """(K + 1, height, width) float32: each pixel has the score of the best candidate there as its class's
        probability, and the rest as the background's."""
        return paint_probabilities(self.candidates(photo), self.num_classes, photo.height, photo.width)

    def candidates(self, photo: Photo) -> list[Candidate]:
        """Objects in a photo, best first."""
        shorter = min(fit_shorter_side(photo.height, photo.width, self._config.image_side, MAX_RATIO))
        return self.predict(read_photo(photo, min_short_side=shorter), (photo.height, photo.width))

    @torch.inference_mode()
    def predict(self, image: Image.Image, size: tuple[int, int] | None = None) -> list[Candidate]:
        """Objects in an RGB image, best first; torchvision drops scores below 0.05 and all but the best 100.

        Args:
            image: The photo, or a smaller decoding of it.
            size: (H, W) of the masks in pixels; None is the image's own.
        """
        size = size or (image.height, image.width)
        height, width = fit_shorter_side(image.height, image.width, self._config.image_side, MAX_RATIO)
        pixels = normalise(image.resize((width, height), Image.Resampling.BICUBIC))
        with autocast(self._config.precision, self._device):
            (found,) = self.model([pixels.to(self._device)])
        candidates = []
        for soft, label, score in zip(found["masks"], found["labels"].tolist(), found["scores"].tolist(), strict=True):
            # Probabilities are scaled and split after: one mask at a time, for a hundred of a large photo fill memory.
            mask = F.interpolate(soft[None].float(), size, mode="bilinear")[0, 0] >= 0.5
            if mask.any():
                candidates.append(Candidate(mask.cpu().numpy(), label, score))
        return candidates
