"""A small head on frozen patch tokens: trains in a minute on a CPU, because no photo is read and no transformer is run.

Two layers per patch (768 inputs for ViT-S with two blocks, a hidden layer, K + 1 classes), then bilinear upsampling of
the logits to the photo's pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskdistill.config import TrainConfig
from maskdistill.datasets import IGNORE_INDEX, Photo
from maskdistill.datasets.transforms import PatchGeometry, pixels_to_patches
from maskdistill.models.losses import class_weights, soft_cross_entropy
from maskdistill.models.trained import load_trained
from maskdistill.storage.token_store import TokenStore

CACHED_BYTES = 256 * 2**20  # of targets kept in memory; the rest is made again for each batch
STATISTICS_PHOTOS = 256  # photos whose tokens give mean and spread
KEPT_BYTES = 16 * 2**20  # of a photo's affinity beyond which a predictor does not keep it for the next call


@dataclass(frozen=True, eq=False)
class SoftLabels:
    """What a photo's regions are, where that is not certain."""

    regions: np.ndarray  # (H, W) uint8: 0 background, 1 to R, 255 ignore
    classes: np.ndarray  # (R + 1, K + 1) float32 distribution over the classes of each region, background first


LabelsOf = Callable[[int], np.ndarray | SoftLabels]
_LAST_LAYER = "net.3.weight"


class PatchHead(nn.Module):
    """(M, D) patch tokens to (M, K + 1) logits.

    Args:
        num_classes: K, background not counted.
        dimensions: D.
        config: ``hidden`` and ``dropout``.
        seed: Of the initial weights.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, num_classes: int, dimensions: int, config: TrainConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("scale", torch.ones(dimensions))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = nn.Sequential(
                nn.Linear(dimensions, config.hidden),
                nn.GELU(),
                nn.Dropout(config.dropout),
                nn.Linear(config.hidden, num_classes + 1),
            )

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits, background first."""
        return self.net((tokens.float() - self.mean) * self.scale)

    def standardise(self, tokens: TokenStore, numbers: Sequence[int]) -> None:
        """Take mean and spread of every dimension from (at most 256, evenly spread) photos.

        The spread is the one inside a photo, so that differences between photos keep their size.
        """
        chosen = numbers[:: max(1, -(-len(numbers) // STATISTICS_PHOTOS))]
        flat = [tokens.read(number).reshape(-1, len(self.mean)).astype(np.float32) for number in chosen]
        self.mean.copy_(torch.from_numpy(np.mean([item.mean(axis=0) for item in flat], axis=0)))
        spread = np.sqrt(np.mean([item.var(axis=0) for item in flat], axis=0))
        self.scale.copy_(torch.from_numpy(1 / np.maximum(spread, 1e-6)))


class PatchHeadTask:
    """Training of a ``PatchHead`` on label maps; satisfies ``training.Task``.

    Args:
        model: On its device.
        tokens: Patch tokens of the photos.
        numbers: Of the photos in the store.
        geometries: Grids of the photos.
        label_of: Position of a photo -> its (H, W) uint8 label map: 0 background, 1 to K, 255 ignore; or its regions
            with a distribution over the classes for each.
        config: ``class_balance``, ``label_smoothing``.
    """

    def __init__(
        self,
        model: PatchHead,
        tokens: TokenStore,
        numbers: Sequence[int],
        geometries: Sequence[PatchGeometry],
        label_of: LabelsOf,
        config: TrainConfig,
    ) -> None:
        self.model, self.num_samples = model, len(numbers)
        self._tokens, self._numbers, self._geometries, self._label_of = tokens, numbers, geometries, label_of
        self._config = config
        self._cache: dict[int, tuple[Tensor, Tensor]] = {}
        self._cached_bytes = 0
        self._weights = self._class_weights() if config.class_balance else None
        self._checked = range(0, len(numbers), max(1, -(-len(numbers) // 32)))

    def loss(self, indices: Sequence[int], generator: torch.Generator) -> dict[str, Tensor]:
        """Cross-entropy between each patch's prediction and the classes of its pixels; ignored pixels do not count."""
        device = self.model.mean.device
        drawn = [self._draw(index, generator) for index in indices]
        tokens, targets, weights = (torch.cat(parts).to(device) for parts in zip(*drawn, strict=True))
        targets, weights = targets.float(), weights.float()
        if self._weights is not None:
            weights = weights * (targets @ self._weights.to(device))
        if self._config.label_smoothing:
            uniform = 1 / (self.model.num_classes + 1)
            targets = targets.lerp(torch.full_like(targets, uniform), self._config.label_smoothing)
        return {"patches": soft_cross_entropy(self.model(tokens), targets, weights)}

    def metrics(self) -> dict[str, float]:
        """``agreement``: share of the labelled area of a few photos whose label is predicted, patch by patch."""
        agreeing = counted = 0.0
        for index in self._checked:
            target, weight = self._target(index)
            predicted = self.model(self._read(index).to(self.model.mean.device)).argmax(dim=1).cpu()
            hit = predicted == target.argmax(dim=1)
            agreeing += float(weight[hit].float().sum())
            counted += float(weight.float().sum())
        return {"agreement": agreeing / counted} if counted else {}

    def _draw(self, index: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, targets and weights of a random share of a photo's patches."""
        target, weight = self._target(index)
        count = max(1, round(self._config.patch_share * len(target)))
        chosen = torch.randperm(len(target), generator=generator)[:count]
        tokens = self._tokens.read_patches(self._numbers[index], chosen.numpy())
        return torch.from_numpy(tokens), target[chosen], weight[chosen]

    def _read(self, index: int) -> Tensor:
        tokens = self._tokens.read(self._numbers[index])
        return torch.from_numpy(np.array(tokens).reshape(-1, tokens.shape[-1]))

    def _target(self, index: int) -> tuple[Tensor, Tensor]:
        if index in self._cache:
            return self._cache[index]
        found = self._label_of(index)
        labels, mixtures = (found.regions, found.classes) if isinstance(found, SoftLabels) else (found, None)
        count = self.model.num_classes if mixtures is None else len(mixtures) - 1
        shares, weights = patch_targets(labels, self._geometries[index], count)
        if self._config.whole_patches:
            shares = np.eye(shares.shape[1], dtype=np.float32)[shares.argmax(axis=1)]
        if mixtures is not None:
            shares = shares @ mixtures
        pair = (torch.from_numpy(shares).half(), torch.from_numpy(weights).half())
        size = sum(item.nbytes for item in pair)
        if self._cached_bytes + size <= CACHED_BYTES:
            self._cache[index] = pair
            self._cached_bytes += size
        return pair

    def _class_weights(self) -> Tensor:
        areas = torch.zeros(self.model.num_classes + 1, dtype=torch.float64)
        for index in range(self.num_samples):
            target, weight = self._target(index)
            areas += (target.double() * weight.double()[:, None]).sum(dim=0)
        return class_weights(areas, self._config.class_balance)


def patch_targets(labels: np.ndarray, geometry: PatchGeometry, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes of each patch's pixels.

    Args:
        labels: (H, W) uint8: 0 background, 1 to K, 255 ignore.
        geometry: The photo's grid.
        num_classes: K.

    Returns:
        (N, K + 1) float32 shares of the classes among the pixels that count, and (N,) float32 weight of each patch:
        the share of its pixels that count.
    """
    weights = pixels_to_patches(labels != IGNORE_INDEX, geometry).ravel()
    shares = np.zeros((len(weights), num_classes + 1), np.float32)
    for label in np.unique(labels):
        if label != IGNORE_INDEX:
            shares[:, label] = pixels_to_patches(labels == label, geometry).ravel()
    total = shares.sum(axis=1, keepdims=True)
    shares = np.divide(shares, total, out=np.zeros_like(shares), where=total > 0)
    shares[total[:, 0] == 0, 0] = 1  # of weight 0, but still a distribution
    return shares, weights.clip(0, 1)


class PatchHeadPredictor:
    """A trained ``PatchHead``; satisfies ``models.Predictor`` for photos whose tokens are at hand.

    Args:
        model: Trained.
        config: ``smoothing``.
        read: Photo -> its (rows, cols, D) tokens and its grid.
    """

    def __init__(
        self, model: PatchHead, config: TrainConfig, read: Callable[[Photo], tuple[np.ndarray, PatchGeometry]]
    ) -> None:
        self.model, self.num_classes = model.eval(), model.num_classes
        self._config, self._read = config, read
        self._kept: tuple[str, Tensor] | None = None  # affinity of the last photo

    @classmethod
    def load(
        cls,
        path: Path,
        config: TrainConfig,
        device: torch.device,
        read: Callable[[Photo], tuple[np.ndarray, PatchGeometry]],
    ) -> Self:
        """Read the weights that ``train`` left in model.safetensors.

        Raises:
            CheckpointError: If they cannot be read, or are of another model.
        """

        def build(num_classes: int, tensors: Mapping[str, Tensor]) -> PatchHead:
            return PatchHead(num_classes, len(tensors["mean"]), config)

        return cls(load_trained(path, "patch head", _LAST_LAYER, build).to(device), config, read)

    @torch.inference_mode()
    def probabilities(self, photo: Photo) -> np.ndarray:
        """(K + 1, height, width) float32 at the photo's size, background first."""
        tokens, geometry = self._read(photo)
        flat = torch.from_numpy(np.array(tokens).reshape(-1, tokens.shape[-1])).to(self.model.mean.device)
        logits = self.model(flat)
        if self._config.smoothing:
            logits = smooth_by_affinity(logits, self._affinity(photo, flat))
        grid = logits.T.reshape(1, -1, geometry.rows, geometry.cols)
        return upsample(grid, geometry).softmax(dim=1)[0].cpu().numpy()

    def _affinity(self, photo: Photo, tokens: Tensor) -> Tensor:
        """Of the photo's patches; while a model is trained, the same photos come again and again."""
        kept = self._kept
        if kept is None or kept[0] != photo.id:
            kept = (photo.id, patch_affinity(tokens, self._config.smoothing))
            self._kept = kept if kept[1].nbytes <= KEPT_BYTES else None
        return kept[1]


def patch_affinity(tokens: Tensor, temperature: float) -> Tensor:
    """How like the patches of a photo are: (N, D) to (N, N), softmax(cosine / temperature) over each row."""
    units = F.normalize(tokens.float(), dim=1)
    return (units @ units.T / temperature).softmax(dim=1)


def smooth_by_affinity(logits: Tensor, affinity: Tensor) -> Tensor:
    """Average each patch's class probabilities over the patches of the photo that are like it.

    One step of a random walk on the graph of patches that the masks are cut from: what the head is sure of in one part
    of an object reaches the parts it was not sure of.

    Args:
        logits: (N, C).
        affinity: (N, N) of ``patch_affinity``.

    Returns:
        (N, C) logarithms of the averaged probabilities.
    """
    return (affinity @ logits.softmax(dim=1)).clamp_min(1e-6).log()


def upsample(logits: Tensor, geometry: PatchGeometry) -> Tensor:
    """(1, C, rows, cols) to (1, C, height, width), bilinear, padding cut off."""
    if (geometry.resized_height, geometry.resized_width) != (geometry.padded_height, geometry.padded_width):
        size = (geometry.padded_height, geometry.padded_width)
        logits = F.interpolate(logits, size, mode="bilinear")[..., : geometry.resized_height, : geometry.resized_width]
    return F.interpolate(logits, (geometry.height, geometry.width), mode="bilinear")
