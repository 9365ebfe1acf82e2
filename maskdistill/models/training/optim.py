"""What turns gradients into weights: optimizers, learning-rate schedules, averaged weights, number formats."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from maskdistill.config import TrainConfig
from maskdistill.errors import ConfigError

Model = TypeVar("Model", bound=nn.Module)
EMA_WARMUP = 10  # steps; the average follows closely at first, so that it forgets the initial weights


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, 2019) or SGD over the trainable parameters.

    AdamW decays weight matrices and kernels only; SGD decays everything, as the published recipes do.

    Raises:
        ConfigError: If every parameter is frozen.
    """
    parameters = trainable(model)
    if not parameters:
        raise ConfigError(
            f"Nothing to train: every parameter of {type(model).__name__} is frozen. Lower frozen_stages."
        )
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
        )
    groups = [
        {"params": [item for item in parameters if item.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [item for item in parameters if item.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.learning_rate)


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """Parameters that take gradients, in order."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """Learning rate of a step (from 0), a pure function of its number, so that nothing of it has to be saved.

    It rises linearly in the first ``warmup`` share of all steps. "cosine" then falls to 0 along half a cosine
    (Loshchilov and Hutter, 2017); "step" is multiplied by 0.1 after each of the ``milestones``, in epochs.
    """
    total = config.epochs * steps_per_epoch
    warmup = round(config.warmup * total)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "step":
        return config.learning_rate * 0.1 ** sum(step >= epoch * steps_per_epoch for epoch in config.milestones)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


class AveragedWeights:
    """Exponential moving average of what training changes: trained parameters, and statistics in buffers.

    After step t the average moves by 1 - min(decay, (1 + t) / (10 + t)), so that short trainings forget their start
    too. Buffers of whole numbers (counters) are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: value.clone() for name, value in changing(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after step ``step`` (from 1)."""
        share = 1 - min(self.decay, (1 + step) / (EMA_WARMUP + step))
        for name, value in changing(model).items():
            if value.is_floating_point():
                self.values[name].lerp_(value, share)
            else:
                self.values[name].copy_(value)

    @contextmanager
    def placed_in(self, model: nn.Module) -> Iterator[None]:
        """The model has the averaged weights inside the block, its own after it."""
        own = {name: value.clone() for name, value in changing(model).items()}
        self.write_to(model)
        try:
            yield
        finally:
            _assign(model, own)

    def write_to(self, model: nn.Module) -> None:
        """Give the model the averaged weights."""
        _assign(model, self.values)


def changing(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a state dict that training changes: all but frozen parameters. They share their memory."""
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {name: value.detach() for name, value in model.state_dict().items() if name not in frozen}


@torch.no_grad()
def _assign(model: nn.Module, values: dict[str, Tensor]) -> None:
    for name, value in changing(model).items():
        value.copy_(values[name])


def number_format(precision: str, device: torch.device) -> torch.dtype:
    """What ``TrainConfig.precision`` means on a device: "auto" is half precision on CUDA and float32 elsewhere."""
    if precision != "auto":
        return getattr(torch, precision)
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def place(model: Model, device: torch.device) -> Model:
    """The model on a device; on CUDA its convolutions with channels last, as the half-precision units read them."""
    model = model.to(device)
    return model.to(memory_format=torch.channels_last) if device.type == "cuda" else model


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Context in which a model computes in ``precision`` on a device; weights stay float32."""
    dtype = number_format(precision, device)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)
