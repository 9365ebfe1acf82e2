"""DeepLab-v3 (Chen et al., arXiv 1706.05587) with a ResNet-50 of output stride 8: stage 2 as published.

Published: initial weights of MoCo, first two stages frozen, cross-entropy on the hardest 20 % of pixels, SGD.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation import deeplabv3_resnet50

from maskdistill.config import TrainConfig
from maskdistill.datasets import IGNORE_INDEX, Photo, read_photo
from maskdistill.errors import DatasetError, ShapeError
from maskdistill.models.augment import (
    crop_labels,
    crop_photo,
    draw_crop,
    fit_longer_side,
    in_threads,
    normalise,
    sample_generators,
)
from maskdistill.models.losses import class_weights, hard_pixel_cross_entropy
from maskdistill.models.resnet import freeze_stages, load_resnet50
from maskdistill.models.trained import load_trained
from maskdistill.models.training.optim import autocast, place

_LAST = "net.classifier.4."
_LAST_LAYER = f"{_LAST}weight"


class DeepLab(nn.Module):
    """(B, 3, H, W) normalised pixels to (B, K + 1, H, W) logits.

    Args:
        num_classes: K, background not counted.
        config: ``weights`` and ``frozen_stages``. Without initial weights nothing is frozen: noise would stay noise.
        seed: Of the weights that no file gives.
    """

    def __init__(self, num_classes: int, config: TrainConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.num_classes = num_classes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = deeplabv3_resnet50(
                weights=None, weights_backbone=None, num_classes=num_classes + 1, aux_loss=False
            )  # it dilates layer3 and layer4 instead of striding: output stride 8
        if config.weights:
            load_resnet50(self.net.backbone, Path(config.weights))
        self._frozen = freeze_stages(self.net.backbone, config.frozen_stages if config.weights else 0)

    def keep_still(self) -> None:
        """Of what is not trained no batch norm changes either, nor is anything dropped."""
        self._frozen = [self.net.backbone, *list(self.net.classifier.children())[:-1]]

    def train(self, mode: bool = True) -> Self:
        """As ever, but the batch norms of frozen stages stay as they are."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits at the size of the input."""
        return self.net(pixels)["out"]


def linear_deeplab(trained: DeepLab, num_classes: int, config: TrainConfig, *, seed: int = 0) -> DeepLab:
    """A copy of a trained model, frozen with its batch norms, but for a fresh last layer.

    Args:
        trained: The model.
        num_classes: Classes of the labels, background not counted: the layer has one output more.
        config: Of the training to come, without initial weights.
        seed: Of the new layer.

    Source: linear evaluation of Van Gansbeke et al., arXiv 2206.06363.
    """
    model = DeepLab(num_classes, replace(config, weights=""), seed=seed)
    kept = {name: value for name, value in trained.state_dict().items() if not name.startswith(_LAST)}
    model.load_state_dict({**model.state_dict(), **kept})
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(_LAST))
    model.keep_still()
    return model


class DeepLabTask:
    """Training of a ``DeepLab`` on label maps; satisfies ``training.Task``.

    Args:
        model: On its device.
        photos: What to train on.
        label_of: Number of a photo -> its (H, W) uint8 label map at the photo's size: 0 background, 1 to K, 255 ignore.
        config: ``image_side``, ``hard_pixels``, ``class_balance``, ``label_smoothing``.
        num_checked: Photos that ``metrics`` uses, spread over all.
    """

    def __init__(
        self,
        model: DeepLab,
        photos: Sequence[Photo],
        label_of: Callable[[int], np.ndarray],
        config: TrainConfig,
        *,
        num_checked: int = 16,
    ) -> None:
        self.model, self.config = model, config
        self.num_samples = len(photos)
        self._photos, self._label_of = photos, label_of
        self._checked = range(0, len(photos), max(1, -(-len(photos) // num_checked)))
        self._weights = self._class_weights() if config.class_balance else None

    def loss(self, indices: Sequence[int], generator: torch.Generator) -> dict[str, Tensor]:
        """Cross-entropy on the hardest pixels of random crops."""
        if len(indices) == 1:  # two views of it: batch norm behind the global pooling needs two values
            indices = [indices[0], indices[0]]
        drawn = sample_generators(generator, len(indices))
        labels = [self._labels(index) for index in indices]  # not in threads: the callable is not ours
        crops = in_threads(self._crop, list(zip(indices, labels, drawn, strict=True)))
        device = next(self.model.parameters()).device
        logits = self.model(torch.stack([pixels for pixels, _ in crops]).to(device))
        loss = hard_pixel_cross_entropy(
            logits,
            torch.stack([labels for _, labels in crops]).to(device),
            self.config.hard_pixels,
            class_weights=None if self._weights is None else self._weights.to(device),
            label_smoothing=self.config.label_smoothing,
        )
        return {"pixels": loss}

    def metrics(self) -> dict[str, float]:
        """``agreement``: share of the labelled pixels of a few whole photos whose label is predicted."""
        predictor = DeepLabPredictor(self.model, self.config)
        agreeing = counted = 0
        for index in self._checked:
            labels = self._labels(index)
            predicted = predictor.probabilities(self._photos[index]).argmax(axis=0)
            agreeing += int(np.count_nonzero(predicted == labels))
            counted += int(np.count_nonzero(labels != IGNORE_INDEX))
        return {"agreement": float(agreeing / counted)} if counted else {}

    def _crop(self, item: tuple[int, np.ndarray, torch.Generator]) -> tuple[Tensor, Tensor]:
        index, labels, generator = item
        photo, side = self._photos[index], self.config.image_side
        recipe = draw_crop(photo.height, photo.width, side, generator)
        image = read_photo(photo, min_short_side=min(recipe.height, recipe.width))
        return crop_photo(image, recipe, side), crop_labels(labels, recipe, side)

    def _labels(self, index: int) -> np.ndarray:
        labels, photo = self._label_of(index), self._photos[index]
        if labels.shape != (photo.height, photo.width):
            raise ShapeError(f"the label map of {photo.id}", f"{(photo.height, photo.width)}", labels.shape)
        largest = int(labels.max(where=labels != IGNORE_INDEX, initial=0))
        if largest > self.model.num_classes:
            raise DatasetError(
                f"The label map of {photo.id} holds class {largest}, the model has {self.model.num_classes}. "
                "Make the labels again."
            )
        return labels

    def _class_weights(self) -> Tensor:
        counts = np.zeros(256, np.int64)
        for index in range(self.num_samples):
            counts += np.bincount(self._labels(index).ravel(), minlength=256)
        return class_weights(torch.from_numpy(counts[: self.model.num_classes + 1]), self.config.class_balance)


class DeepLabPredictor:
    """A trained ``DeepLab``, ready to label photos; satisfies ``models.Predictor``."""

    def __init__(self, model: DeepLab, config: TrainConfig) -> None:
        self.model, self.num_classes = model.eval(), model.num_classes
        self._config, self._device = config, next(model.parameters()).device

    @classmethod
    def load(cls, path: Path, config: TrainConfig, device: torch.device) -> Self:
        """Read the weights that ``train`` left in model.safetensors.

        Raises:
            CheckpointError: If they cannot be read, or are of another model.
        """
        bare = replace(config, weights="")
        model = load_trained(path, "DeepLab", _LAST_LAYER, lambda num_classes, _: DeepLab(num_classes, bare))
        return cls(place(model, device), config)

    def probabilities(self, photo: Photo) -> np.ndarray:
        """(K + 1, height, width) float32 at the photo's size."""
        shorter = min(fit_longer_side(photo.height, photo.width, self._config.image_side))
        return self.predict(read_photo(photo, min_short_side=shorter), (photo.height, photo.width))

    @torch.inference_mode()
    def predict(self, image: Image.Image, size: tuple[int, int] | None = None) -> np.ndarray:
        """Probabilities of an RGB image.

        Args:
            image: The photo, or a smaller decoding of it.
            size: (H, W) of the result in pixels; None is the image's own.

        Returns:
            (K + 1, H, W) float32, background first; each pixel sums to 1.
        """
        height, width = fit_longer_side(image.height, image.width, self._config.image_side)
        pixels = normalise(image.resize((width, height), Image.Resampling.BICUBIC))
        with autocast(self._config.precision, self._device):
            logits = self.model(pixels[None].to(self._device))
        logits = F.interpolate(logits.float(), size or (image.height, image.width), mode="bilinear")
        return logits.softmax(dim=1)[0].cpu().numpy()
