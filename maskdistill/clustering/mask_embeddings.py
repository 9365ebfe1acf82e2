"""Vectors of a mask: CLS tokens of its crop; patch tokens averaged inside the mask, of the crop and of the photo."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from maskdistill.config import EmbeddingConfig
from maskdistill.datasets.transforms import PatchGeometry, crop_to_pixels, pixels_to_patches
from maskdistill.features.backbone import Backbone
from maskdistill.features.forward import FeatureRequest, Features
from maskdistill.masks import bounding_box

CROPS_PER_PASS = 8  # a bound on memory, not a setting: a photo has ten masks at most
LAST_BLOCKS = (3, 2, 1, 0)  # counted from the end


def embed_masks(
    backbone: Backbone,
    image: Image.Image,
    masks: Sequence[np.ndarray],
    tokens: np.ndarray,
    geometry: PatchGeometry,
    config: EmbeddingConfig,
    pooled_blocks: tuple[int, ...],
) -> dict[str, np.ndarray]:
    """Raw vectors of each mask of a photo, by name; nothing is normalised yet.

    Args:
        backbone: The frozen transformer.
        image: The photo at full size, upright RGB.
        masks: (H, W) bool each; an empty one counts as the whole photo.
        tokens: (rows, cols, blocks * D) patch tokens of the photo, those of ``pooled_blocks`` side by side.
        geometry: The photo's grid.
        config: Crop and blocks.
        pooled_blocks: Blocks whose patch tokens are averaged inside the mask.

    Returns:
        (len(masks), D) float32 each: ``cls9`` is the CLS token of block 9 of the crop, ``crop9`` the mean of the crop's
        patch tokens inside the mask, ``photo9`` the mean of the photo's.
    """
    masks = [mask if mask.any() else np.ones_like(mask) for mask in masks]
    cls_blocks = config.blocks or backbone.blocks(LAST_BLOCKS)
    backbone.check_blocks(cls_blocks)
    request = FeatureRequest(token_blocks=pooled_blocks, cls_blocks=cls_blocks)
    boxes = [_crop_box(mask, config.margin) for mask in masks]
    crops = torch.stack([_crop(backbone, image, mask, box, config) for mask, box in zip(masks, boxes, strict=True)])
    found = _extract(backbone, crops, request)
    inside = [_inside(mask, box, features.grid) for mask, box, features in zip(masks, boxes, found, strict=True)]
    result = _vectors(found, inside, cls_blocks, pooled_blocks)
    if config.mirror:
        mirrored = [weights[:, ::-1] for weights in inside]
        other = _vectors(_extract(backbone, crops.flip(-1), request), mirrored, cls_blocks, pooled_blocks)
        result = {name: (values + other[name]) / 2 for name, values in result.items()}
    patches = tokens.reshape(-1, tokens.shape[-1]).astype(np.float32)
    weights = [pixels_to_patches(mask, geometry) for mask in masks]
    photo = np.stack([_pool(patches, weight) for weight in weights])
    parts = np.split(photo, len(pooled_blocks), axis=1)
    return result | {f"photo{block}": part for block, part in zip(pooled_blocks, parts, strict=True)}


def _crop_box(mask: np.ndarray, margin: float) -> tuple[float, float, float, float]:
    """left, top, right, bottom of the mask's box with its margin, inside the photo."""
    x, y, width, height = bounding_box(mask)
    left, top = max(0.0, x - margin * width), max(0.0, y - margin * height)
    right, bottom = min(mask.shape[1], x + (1 + margin) * width), min(mask.shape[0], y + (1 + margin) * height)
    return left, top, right, bottom


def _crop(
    backbone: Backbone, image: Image.Image, mask: np.ndarray, box: Sequence[float], config: EmbeddingConfig
) -> torch.Tensor:
    if config.background == "mean":
        colour = tuple(round(255 * value) for value in backbone.mean)
        image = Image.composite(image, Image.new("RGB", image.size, colour), Image.fromarray(mask))
    patch = backbone.patch_size
    side = max(patch, round(config.crop_side / patch) * patch)
    return crop_to_pixels(image, box, side, mean=backbone.mean, std=backbone.std)


def _extract(backbone: Backbone, crops: torch.Tensor, request: FeatureRequest) -> list[Features]:
    return [features for batch in crops.split(CROPS_PER_PASS) for features in backbone.forward(batch, request)]


def _inside(mask: np.ndarray, box: Sequence[float], grid: tuple[int, int]) -> np.ndarray:
    """(rows, cols) share of each patch of the crop that the mask covers."""
    values = Image.fromarray(mask.astype(np.float32))
    return np.array(values.resize((grid[1], grid[0]), Image.Resampling.BOX, box=(box[0], box[1], box[2], box[3])))


def _vectors(
    found: Sequence[Features],
    inside: Sequence[np.ndarray],
    cls_blocks: tuple[int, ...],
    pooled_blocks: tuple[int, ...],
) -> dict[str, np.ndarray]:
    result = {f"cls{block}": np.stack([item.cls_tokens[block].numpy() for item in found]) for block in cls_blocks}
    for block in pooled_blocks:
        pooled = [_pool(item.patch_tokens[block].numpy(), weight) for item, weight in zip(found, inside, strict=True)]
        result[f"crop{block}"] = np.stack(pooled)
    return result


def _pool(patches: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of (N, D) patches by (rows, cols) weights; the plain mean where all weights are 0."""
    flat = np.ascontiguousarray(weights, dtype=np.float32).ravel()
    total = float(flat.sum())
    return flat @ patches / total if total > 0 else patches.mean(axis=0)
