"""A training of a second, with every source of state; stopping it, and comparing what came of it."""

import json
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskdistill.config import TrainConfig
from maskdistill.models.training.checkpoint import HISTORY
from maskdistill.models.training.task import Callbacks
from maskdistill.models.training.train import train


class ToyTask:
    """Ten points on a noisy plane; a network with batch norm and dropout, so that every source of state takes part."""

    def __init__(self, num_samples=10, spoil_at=None):
        torch.manual_seed(7)
        self.model = nn.Sequential(
            nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1), nn.Linear(1, 1)
        )
        self.model[5].requires_grad_(False)
        self.num_samples = num_samples
        self.inputs = torch.randn(num_samples, 3, generator=torch.Generator().manual_seed(0))
        self.targets = self.inputs.sum(dim=1, keepdim=True)
        self.spoil_at = spoil_at
        self.seen = []  # (photos, first random number) of every call

    def loss(self, indices, generator):
        noise = torch.randn(len(indices), 3, generator=generator)
        self.seen.append((tuple(indices), float(noise[0, 0])))
        outputs = self.model(self.inputs[list(indices)] + 0.01 * noise)
        loss = F.mse_loss(outputs, self.targets[list(indices)])
        if len(self.seen) - 1 == self.spoil_at:
            loss = loss * math.nan
        return {"fit": loss, "size": 1e-3 * self.model[0].weight.square().sum()}

    def metrics(self):
        assert not self.model.training
        assert not torch.is_grad_enabled()
        return {"error": F.l1_loss(self.model(self.inputs), self.targets).item(), "unknown": math.nan}


CONFIG = TrainConfig(epochs=4, batch_size=4, learning_rate=0.01, ema=0.9, clip_norm=1.0, warmup=0.2)
STEPS = 4 * 3  # ten photos in batches of at most four: three steps an epoch


def stop_at(step):
    def on_step(done, total):
        assert total == STEPS
        if done == step:
            raise KeyboardInterrupt

    return on_step


def interrupted(folder, step, config=CONFIG, **options):
    with pytest.raises(KeyboardInterrupt):
        train(ToyTask(), config, folder=folder, seed=1, calls=Callbacks(on_step=stop_at(step)), **options)


def same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def lines(folder):
    reports = [json.loads(line) for line in (folder / HISTORY).read_text().splitlines()]
    return [{name: value for name, value in item.items() if "second" not in name} for item in reports]
