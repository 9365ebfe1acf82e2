"""Measures against ground truth, for reporting only: nothing that trains, selects or thresholds may call these."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage, stats

from maskdistill.datasets import IGNORE_INDEX
from maskdistill.errors import ShapeError

MIN_REGION = 200  # pixels; smaller components of an object are not looked for
LOCALISED = 0.5  # IoU from which a photo counts for CorLoc


def class_regions(labels: np.ndarray, min_area: int = MIN_REGION) -> list[tuple[int, np.ndarray]]:
    """Every 4-connected region of one class: its class id and its (H, W) bool mask, in the order of the ids.

    Args:
        labels: (H, W) class ids, 0 background, 255 ignored.
        min_area: Pixels; smaller regions are left out.
    """
    regions = []
    for label in np.unique(labels):
        if label in (0, IGNORE_INDEX):
            continue
        components, count = ndimage.label(labels == label)
        areas = np.bincount(components.ravel())
        large = [number for number in range(1, count + 1) if areas[number] >= min_area]
        regions += [(int(label), components == number) for number in large]
    return regions


def object_regions(labels: np.ndarray, min_area: int = MIN_REGION) -> list[np.ndarray]:
    """What a mask may be compared with: each connected region of one class, and the union of all objects.

    Args:
        labels: (H, W) class ids, 0 background, 255 ignored.
        min_area: Pixels; smaller regions are left out.

    Returns:
        (H, W) bool masks, the union last; empty if the photo has no object.
    """
    union = (labels != 0) & (labels != IGNORE_INDEX)
    return [*(mask for _, mask in class_regions(labels, min_area)), union] if union.any() else []


def best_iou(mask: np.ndarray, labels: np.ndarray, min_area: int = MIN_REGION) -> float:
    """Highest IoU of a mask with any region of ``object_regions``; ignored pixels count for nothing.

    Raises:
        ShapeError: If the mask and the labels differ in size.
    """
    if mask.shape != labels.shape:
        raise ShapeError("mask", f"{labels.shape}", mask.shape)
    mask = mask & (labels != IGNORE_INDEX)
    best = 0.0
    for region in object_regions(labels, min_area):
        union = np.count_nonzero(mask | region)
        best = max(best, np.count_nonzero(mask & region) / union if union else 0.0)
    return best


def corloc(ious: Sequence[float]) -> float:
    """Share of photos whose best IoU is at least 0.5 (Deselaers et al., IJCV 2012, with masks for boxes)."""
    return float(np.mean(np.asarray(ious) >= LOCALISED)) if len(ious) else float("nan")


def rank_correlation(scores: Sequence[float], ious: Sequence[float]) -> float:
    """Spearman's rank correlation of a score with the true IoU, in [-1, 1]; 0 for a constant score."""
    if len(scores) < 3 or np.ptp(scores) == 0 or np.ptp(ious) == 0:
        return 0.0
    return float(stats.spearmanr(scores, ious).statistic)
