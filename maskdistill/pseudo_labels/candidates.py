"""What the first model predicts for each mask, and objects it finds where there was none: candidates for the labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from maskdistill.masks import border_share, mask_iou

SAME_OBJECT = 0.5  # IoU from which a component and a proposal are the same object


@dataclass(frozen=True)
class PredictedMask:
    """A mask as the first model predicts it."""

    mask: np.ndarray  # (H, W) bool: what the model draws; the proposal itself where it draws nothing there
    proposal: int | None  # index of the proposal; None for an object that no proposal had
    label: int  # class that the model gives it, 1 to K; the proposal's cluster where it draws nothing
    score: float  # mean probability of the proposal's cluster (of ``label`` without one) inside the proposal (the mask)
    iou: float  # of the proposal with what the model draws there; NaN without a proposal
    agreement: float  # share of the proposal in which the model predicts its cluster; NaN without a proposal
    area: float  # fraction of the photo that ``mask`` covers
    border: float  # share of the photo's border that ``mask`` covers
    object_score: float = math.nan  # how far it is one object, [0, 1]; NaN where nobody looked for single objects


def compare_with_prediction(
    probabilities: np.ndarray, masks: Sequence[np.ndarray], clusters: Sequence[int], min_area: float
) -> list[PredictedMask]:
    """Compare a model's prediction with the proposals of a photo.

    Args:
        probabilities: (K + 1, H, W), background first.
        masks: (H, W) bool proposals, best first.
        clusters: Cluster of each, 1 to K.
        min_area: Fraction of the photo below which a component without a proposal is left out.

    Returns:
        One item a proposal, in order; then the components that no proposal overlaps by an IoU of 0.5, largest first.
    """
    predicted = probabilities.argmax(axis=0)
    components = _number_components(predicted)
    seen = [
        _see(probabilities, predicted, components, index, mask, cluster)
        for index, (mask, cluster) in enumerate(zip(masks, clusters, strict=True))
    ]
    covered = np.any([item.mask for item in seen], axis=0) if seen else np.zeros(predicted.shape, bool)
    drawn = np.unique(components[covered])
    areas = np.bincount(components.ravel())
    areas[0] = 0
    areas[drawn] = 0  # part of what was drawn for a proposal
    for number in np.argsort(-areas, kind="stable"):
        if areas[number] < max(1, min_area * predicted.size):
            break
        component = components == number
        if all(mask_iou(component, mask) < SAME_OBJECT for mask in masks):
            label = int(predicted[component][0])
            score = float(probabilities[label][component].mean())
            seen.append(_seen(component, None, label, score, math.nan, math.nan))
    return seen


def _number_components(predicted: np.ndarray) -> np.ndarray:
    """(H, W) number of the 4-connected component of one class that each pixel belongs to, from 1; 0 is background."""
    components = np.zeros(predicted.shape, np.int32)
    total = 0
    for label in np.unique(predicted[predicted > 0]):
        found, count = ndimage.label(predicted == label)
        components[found > 0] = found[found > 0] + total
        total += count
    return components


def _see(
    probabilities: np.ndarray, predicted: np.ndarray, components: np.ndarray, index: int, mask: np.ndarray, cluster: int
) -> PredictedMask:
    if not mask.any():
        return _seen(mask, index, cluster, 0.0, 0.0, 0.0)
    score = float(probabilities[cluster][mask].mean())
    agreement = float(np.mean(predicted[mask] == cluster))
    inside = np.bincount(predicted[mask], minlength=len(probabilities))[1:]
    label = int(inside.argmax()) + 1 if inside.any() else cluster
    # All components of the class that the proposal touches belong to what the model draws there.
    touching = np.unique(components[mask & (predicted == label)])
    drawn = np.isin(components, touching[touching > 0])
    return _seen(drawn if drawn.any() else mask, index, label, score, mask_iou(mask, drawn), agreement)


def _seen(
    mask: np.ndarray, proposal: int | None, label: int, score: float, iou: float, agreement: float
) -> PredictedMask:
    return PredictedMask(mask, proposal, label, score, iou, agreement, float(mask.mean()), border_share(mask))
