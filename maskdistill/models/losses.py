"""Losses for labels that are partly wrong. All are computed in float32, whatever the network computes in.

A batch without any labelled pixel gives a loss of 0 that still has a (zero) gradient, so that training goes on.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from maskdistill.datasets import IGNORE_INDEX
from maskdistill.errors import ConfigError, ShapeError


def hard_pixel_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    share: float,
    ignore_index: int = IGNORE_INDEX,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean cross-entropy over the pixels of the batch with the largest loss.

    Args:
        logits: (B, C, H, W).
        labels: (B, H, W) integers; any integer type.
        share: Of the pixels that are not ignored, at least one of them, (0, 1]; 1 is plain cross-entropy.
        ignore_index: Label of pixels that do not count.
        class_weights: (C,) factor on the loss of each class's pixels, also when the largest are looked for. The mean
            is over pixels, not over weights.
        label_smoothing: Weight of the uniform distribution in the target, [0, 1).

    Raises:
        ShapeError: If the labels do not fit the logits.
        ConfigError: If ``share`` is out of range.

    Source: online bootstrapping, Wu, Shen and van den Hengel, arXiv 1605.06885, with a share instead of a threshold.
    """
    if logits.ndim != 4 or labels.shape != (logits.shape[0], *logits.shape[2:]):
        raise ShapeError("labels", f"{(logits.shape[0], *logits.shape[2:])} for these logits", labels.shape)
    if not 0 < share <= 1:
        raise ConfigError(f"The share of hard pixels must be in (0, 1], got {share:g}. Set hard_pixels=1 for all.")
    labels = labels.long()
    losses = F.cross_entropy(
        logits.float(), labels, ignore_index=ignore_index, reduction="none", label_smoothing=label_smoothing
    )
    if class_weights is not None:  # not through F.cross_entropy, where the weights act on the smoothed part by class
        losses = losses * class_weights.float()[labels.clamp(0, logits.shape[1] - 1)]
    counted = losses[labels != ignore_index]
    if not len(counted):
        return _zero(logits)
    if share < 1:
        counted = counted.topk(max(1, round(share * len(counted))), sorted=False).values
    return counted.mean()


def soft_cross_entropy(logits: Tensor, probabilities: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy against a distribution per item, averaged by weight.

    Args:
        logits: (M, C) or (B, C, H, W): classes in dimension 1.
        probabilities: Of the same shape; each item's sum to 1.
        weights: Of that shape without the classes, not negative; None counts every item alike.

    Raises:
        ShapeError: If a shape does not fit.
    """
    if probabilities.shape != logits.shape:
        raise ShapeError("probabilities", f"{tuple(logits.shape)} as the logits", probabilities.shape)
    losses = -(probabilities.float() * F.log_softmax(logits.float(), dim=1)).sum(dim=1)
    if weights is None:
        weights = torch.ones_like(losses)
    if weights.shape != losses.shape:
        raise ShapeError("weights", f"{tuple(losses.shape)}, one per item", weights.shape)
    total = weights.sum()
    if total == 0:
        return _zero(logits)
    return (losses * weights).sum() / total


def class_weights(counts: Tensor, balance: float) -> Tensor:
    """A weight per class that grows as the class is rarer, 1 in the mean over pixels.

    Args:
        counts: (C,) pixels, or items, of each class; at least one of them above 0.
        balance: Weight is (share of the class) ** -balance: 0 weighs all pixels alike, 1 all classes alike.

    Returns:
        (C,) float32; 1 for a class that has no pixel at all.

    Raises:
        ConfigError: If there is no pixel, or a count is negative.
    """
    counts = counts.double()
    if counts.min() < 0 or counts.sum() == 0:
        raise ConfigError(f"Class weights need a pixel at least and no negative count, got {counts.tolist()}.")
    shares = counts / counts.sum()
    present = shares > 0
    weights = torch.where(present, shares, 1.0) ** -balance
    weights = weights / (weights * shares).sum()
    return torch.where(present, weights, 1.0).float()


def _zero(logits: Tensor) -> Tensor:
    """0 that depends on the logits; 0 times a logit that overflowed would be NaN."""
    return logits.float().flatten()[:0].sum()
