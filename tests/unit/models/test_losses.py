import math

import pytest
import torch

from maskdistill.errors import ConfigError, ShapeError
from maskdistill.models.losses import (
    class_weights,
    hard_pixel_cross_entropy,
    soft_cross_entropy,
)


def random_batch(batch=2, classes=3, height=4, width=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, height, width, generator=generator, dtype=torch.float32) * 2
    labels = torch.randint(classes, (batch, height, width), generator=generator, dtype=torch.uint8)
    labels[0, 0, :3] = 255
    labels[1, 2] = 255
    return logits.requires_grad_(), labels


def softmax(values):
    exponentials = [math.exp(value) for value in values]
    return [value / sum(exponentials) for value in exponentials]


def pixel_losses(logits, labels, weights=None, smoothing=0.0):
    losses = []
    for b, row, col in torch.cartesian_prod(*(torch.arange(size) for size in labels.shape)).tolist():
        label = int(labels[b, row, col])
        if label == 255:
            continue
        log_probabilities = [math.log(p) for p in softmax(logits[b, :, row, col].tolist())]
        loss = -(1 - smoothing) * log_probabilities[label] - smoothing * sum(log_probabilities) / len(log_probabilities)
        losses.append(loss * (1 if weights is None else float(weights[label])))
    return losses


@pytest.mark.parametrize("share", [1e-6, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1.0, 3.0])], ids=["alike", "weighted"])
def test_hard_pixels_equal_a_slow_loop(share, smoothing, weights):
    logits, labels = random_batch()
    losses = sorted(pixel_losses(logits, labels, weights, smoothing), reverse=True)
    assert len(losses) == 32
    hardest = losses[: max(1, round(share * 32))]
    loss = hard_pixel_cross_entropy(logits, labels, share, class_weights=weights, label_smoothing=smoothing)
    assert loss.item() == pytest.approx(sum(hardest) / len(hardest), rel=1e-5)


def test_hard_pixels_are_taken_over_the_batch_and_easy_ones_get_no_gradient():
    logits, labels = random_batch()
    hard_pixel_cross_entropy(logits, labels, 0.25).backward()
    touched = logits.grad.abs().sum(dim=1) > 0
    assert touched.sum() == 8
    assert not touched[labels == 255].any()


def test_another_ignore_index():
    logits, labels = random_batch()
    loss = hard_pixel_cross_entropy(logits, torch.where(labels == 255, -1, labels.long()), 1.0, ignore_index=-1)
    assert loss.item() == pytest.approx(hard_pixel_cross_entropy(logits, labels, 1.0).item())


def test_half_precision_logits_are_summed_in_float32():
    logits, labels = random_batch()
    loss = hard_pixel_cross_entropy(logits.half(), labels, 0.5)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(hard_pixel_cross_entropy(logits.half().float(), labels, 0.5).item())


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_batch_without_a_labelled_pixel_is_a_zero_with_a_gradient(share):
    logits, labels = random_batch()
    loss = hard_pixel_cross_entropy(logits * math.inf, torch.full_like(labels, 255), share)
    loss.backward()
    assert loss.item() == 0
    assert hard_pixel_cross_entropy(logits, torch.full_like(labels, 255), share).requires_grad


def test_empty_batches_are_zeros_with_a_gradient():
    logits = torch.zeros(0, 3, requires_grad=True)
    for loss in (
        soft_cross_entropy(logits, torch.zeros(0, 3)),
        hard_pixel_cross_entropy(logits.view(0, 3, 1, 1), torch.zeros(0, 1, 1), 0.2),
    ):
        loss.backward()
        assert loss.item() == 0


def test_shapes_and_shares_are_checked():
    logits, labels = random_batch()
    with pytest.raises(ShapeError, match=r"labels must have shape \(2, 4, 5\) for these logits, got \(2, 4, 4\)"):
        hard_pixel_cross_entropy(logits, labels[:, :, :4], 0.2)
    with pytest.raises(ConfigError, match=r"in \(0, 1\], got 0\..*hard_pixels=1"):
        hard_pixel_cross_entropy(logits, labels, 0.0)
    with pytest.raises(ShapeError, match=r"probabilities must have shape \(3, 2\) as the logits"):
        soft_cross_entropy(torch.zeros(3, 2), torch.zeros(3, 3))
    with pytest.raises(ShapeError, match=r"weights must have shape \(3,\), one per item"):
        soft_cross_entropy(torch.zeros(3, 2), torch.zeros(3, 2), torch.ones(2))


def test_soft_cross_entropy_equals_a_slow_loop():
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 3, 2, 2, generator=generator)
    probabilities = torch.rand(2, 3, 2, 2, generator=generator).softmax(dim=1)
    weights = torch.rand(2, 2, 2, generator=generator)
    total = 0.0
    for b, row, col in torch.cartesian_prod(*[torch.arange(2)] * 3).tolist():
        predicted = softmax(logits[b, :, row, col].tolist())
        for c in range(3):
            total -= float(weights[b, row, col] * probabilities[b, c, row, col]) * math.log(predicted[c])
    loss = soft_cross_entropy(logits, probabilities, weights)
    assert loss.item() == pytest.approx(total / float(weights.sum()), rel=1e-5)


def test_soft_cross_entropy_of_certain_targets_is_plain_cross_entropy():
    logits, labels = torch.randn(5, 3, generator=torch.Generator().manual_seed(3)), torch.tensor([0, 2, 1, 1, 0])
    certain = torch.nn.functional.one_hot(labels, 3).float()
    torch.testing.assert_close(soft_cross_entropy(logits, certain), torch.nn.functional.cross_entropy(logits, labels))


def test_soft_cross_entropy_without_any_weight_is_a_zero_with_a_gradient():
    logits = torch.randn(5, 3, requires_grad=True)
    loss = soft_cross_entropy(logits, torch.full((5, 3), 1 / 3), torch.zeros(5))
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_class_weights_equal_a_slow_loop(balance):
    counts = [60, 30, 0, 10]
    raw = [(count / 100) ** -balance if count else None for count in counts]
    mean = sum(count / 100 * weight for count, weight in zip(counts, raw, strict=True) if count)
    expected = [1.0 if weight is None else weight / mean for weight in raw]
    weights = class_weights(torch.tensor(counts), balance)
    assert weights.tolist() == pytest.approx(expected, rel=1e-6)
    assert (weights * torch.tensor(counts)).sum().item() / 100 == pytest.approx(1)


def test_full_balance_gives_each_class_the_same_say():
    weights = class_weights(torch.tensor([70, 20, 10]), 1.0)
    assert (weights * torch.tensor([70, 20, 10])).tolist() == pytest.approx([100 / 3] * 3, rel=1e-6)


@pytest.mark.parametrize("counts", [[0, 0], [3, -1]])
def test_class_weights_of_nothing(counts):
    with pytest.raises(ConfigError, match="need a pixel at least and no negative count"):
        class_weights(torch.tensor(counts), 0.5)
