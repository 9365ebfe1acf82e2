"""Optimisers, learning rates, averaged weights and number formats."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from toy_training import CONFIG, ToyTask

from maskdistill.config import TrainConfig
from maskdistill.models.training.optim import AveragedWeights, learning_rate, make_optimizer, number_format
from maskdistill.models.training.train import train


def test_auto_precision_on_a_cpu():
    assert number_format("auto", torch.device("cpu")) == torch.float32
    assert number_format("bfloat16", torch.device("cpu")) == torch.bfloat16


def test_frozen_parameters_stay_and_gradients_are_clipped(tmp_path, whole):
    fresh, task = ToyTask(), ToyTask()
    config = replace(CONFIG, optimizer="sgd", momentum=0.0, weight_decay=0.0, clip_norm=1e-3, ema=0.0, warmup=0.0)
    train(task, replace(config, epochs=1, batch_size=10), folder=tmp_path, seed=1)  # one step
    moved = [after - before for before, after in zip(fresh.model.parameters(), task.model.parameters(), strict=True)]
    length = math.sqrt(sum(float(step.detach().square().sum()) for step in moved))
    assert length == pytest.approx(1e-3 * 0.01, rel=1e-2)  # float32 rounding of weights near 1
    assert torch.equal(whole[1].model[5].weight, fresh.model[5].weight)


def test_adamw_decays_matrices_only():
    groups = make_optimizer(ToyTask().model, replace(CONFIG, weight_decay=0.3)).param_groups
    assert [(group["weight_decay"], len(group["params"])) for group in groups] == [(0.3, 2), (0.0, 4)]
    assert all(item.ndim == 2 for item in groups[0]["params"])


def test_sgd_is_as_published():
    group = make_optimizer(ToyTask().model, replace(CONFIG, optimizer="sgd", learning_rate=0.002)).param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"], len(group["params"])) == (0.002, 0.9, 1e-4, 6)


def test_learning_rates_by_hand():
    cosine = TrainConfig(epochs=10, learning_rate=2.0, warmup=0.1)
    rates = [learning_rate(cosine, step, 4) for step in range(40)]
    assert rates[:5] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])
    assert rates[22] == pytest.approx(1.0)  # half-way through the 36 steps after the warm-up
    assert rates[39] == pytest.approx(1 + math.cos(math.pi * 35 / 36))
    published = TrainConfig(epochs=45, learning_rate=0.002, schedule="step", milestones=(40,))
    rates = [learning_rate(published, step, 7) for step in range(45 * 7)]
    assert rates[: 40 * 7] == [0.002] * 280
    assert rates[40 * 7 :] == pytest.approx([0.0002] * 35)
    assert learning_rate(replace(published, milestones=(1, 2)), 14, 7) == pytest.approx(2e-5)


def test_averaged_weights_equal_a_slow_loop():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[0].bias.requires_grad_(False)
    average = AveragedWeights(model, decay=0.5)
    weight, mean = model[0].weight.detach().clone(), torch.zeros(2)
    for step in range(1, 30):
        with torch.no_grad():
            model[0].weight.add_(torch.randn(2, 2, generator=torch.Generator().manual_seed(step)))
            model[1].running_mean.fill_(step)
            model[1].num_batches_tracked.fill_(step)
        average.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step))
        weight, mean = decay * weight + (1 - decay) * model[0].weight, decay * mean + (1 - decay) * step
    own = model[0].weight.detach().clone()
    with average.placed_in(model):
        torch.testing.assert_close(model[0].weight.detach(), weight.detach())
        torch.testing.assert_close(model[1].running_mean, mean)
        assert model[1].num_batches_tracked == 29
    assert torch.equal(model[0].weight, own)
    assert "0.bias" not in average.values
