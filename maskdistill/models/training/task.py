"""What a training is given and what it gives back: the task, callbacks, the result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from maskdistill.models.training.checkpoint import EpochReport


class Task(Protocol):
    """What is trained: a model and its data."""

    @property
    def model(self) -> nn.Module:
        """On its device already; what takes gradients is trained."""
        ...

    num_samples: int  # photos

    def loss(self, indices: Sequence[int], generator: torch.Generator) -> dict[str, Tensor]:
        """Scalar losses by name of the photos ``indices``; their sum is minimised.

        Reads and augments the photos itself. ``generator`` (on the CPU) is the only source of randomness, besides
        torch's global one inside the model (dropout), which the loop seeds for every step.
        """
        ...

    def metrics(self) -> dict[str, float]:
        """A cheap check after an epoch, such as agreement with the pseudo-labels; never with ground truth.

        The model is in eval mode and has the weights that would be kept; gradients are off.
        """
        ...


@dataclass(frozen=True)
class Callbacks:
    """Called as a training goes on, in its first process; raising KeyboardInterrupt stops it."""

    on_epoch: Callable[[EpochReport], None] | None = None  # after each epoch done by this call
    on_step: Callable[[int, int], None] | None = None  # after each step, with (done, total) in steps
    # With the epochs done, 0 before the first step, to inspect the model as it is then. An epoch whose
    # end was not saved before the training was killed is inspected again.
    on_inspect: Callable[[int], None] | None = None


@dataclass(frozen=True)
class TrainResult:
    """A finished training."""

    weights: Path  # model.safetensors: the averaged weights where ``ema`` is above 0; the task's model has them too
    history: tuple[EpochReport, ...]
    resumed_at: int  # steps that were found done; 0 for a fresh start
