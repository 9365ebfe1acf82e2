"""One training loop for every model of both stages: seeded, resumable in the middle of an epoch, on one or many GPUs.

Step s draws the same photos and the same augmentation whatever happened before it, so a training that was killed and
started again ends with the weights of an undisturbed one (bit for bit on a CPU; CUDA sums in no fixed order).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from maskdistill.config import TrainConfig
from maskdistill.errors import CheckpointError, DatasetError
from maskdistill.store import fingerprint
from maskdistill.training_loop import Training, step_generator
from maskdistill.training_state import WEIGHTS, EpochReport, read_history, read_tensors

__all__ = ["Callbacks", "EpochReport", "Task", "TrainResult", "step_generator", "train"]

logger = logging.getLogger(__name__)


class Task(Protocol):
    """What is trained: a model and its data."""

    model: nn.Module  # on its device already; what takes gradients is trained
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
    """Who is told how far a training has come, in its first process; raising KeyboardInterrupt stops it."""

    on_epoch: Callable[[EpochReport], None] | None = None  # after each epoch done by this call
    on_step: Callable[[int, int], None] | None = None  # after each step, with (done, total) in steps
    # With the epochs done, 0 before the first step, to look at the model: as ``Task.metrics`` finds it. An epoch whose
    # end was not saved before the training was killed is looked at again.
    on_look: Callable[[int], None] | None = None


@dataclass(frozen=True)
class TrainResult:
    """A finished training."""

    weights: Path  # model.safetensors: the averaged weights where ``ema`` is above 0; the task's model has them too
    history: tuple[EpochReport, ...]
    resumed_at: int  # steps that were found done; 0 for a fresh start


def train(
    task: Task,
    config: TrainConfig,
    *,
    folder: Path,
    seed: int,
    key: str = "",
    calls: Callbacks = Callbacks(),
) -> TrainResult:
    """Train the task's model, going on from the last checkpoint in ``folder`` if it is of the same training.

    Args:
        task: The model, freshly initialised, and its data.
        config: Settings.
        folder: Where checkpoints, history.jsonl, config.json and the final model.safetensors go. Several processes
            must share it.
        seed: Of the order of photos, their augmentation and dropout.
        key: Fingerprint of the data and of whatever else decides the result; another key starts afresh.
        calls: Who is told how far it has come.

    Returns:
        At once, with the weights loaded, if this training was finished before.

    Raises:
        ConfigError: If the model has no trainable parameter.
        DatasetError: If there is no photo.
        JobError: If the loss or its gradient is no longer a finite number.
        KeyboardInterrupt: On Ctrl-C, after a checkpoint was written.
    """
    if task.num_samples < 1:
        raise DatasetError("There is no photo to train on. Make masks first, or loosen the filter so that some stay.")
    identity = _identity(task.model, config, seed, key)
    finished = _load_finished(task.model, folder, identity)
    if finished is not None:
        return finished
    training = Training(task, config, folder, seed, identity, calls)
    cuda = [training.device] if training.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        resumed_at = training.start()
        try:
            training.run()
        except KeyboardInterrupt:
            training.save_interrupted()
            raise
        training.finish()
    return TrainResult(folder / WEIGHTS, tuple(read_history(folder)), resumed_at)


def _identity(model: nn.Module, config: TrainConfig, seed: int, key: str) -> str:
    """Everything that two trainings must have in common for one to go on where the other stopped."""
    settings = asdict(config)
    del settings["checkpoint_seconds"]
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    return fingerprint([settings, seed, key, shapes, frozen])


def _load_finished(model: nn.Module, folder: Path, identity: str) -> TrainResult | None:
    path = folder / WEIGHTS
    if not path.is_file():
        return None
    try:
        tensors, values = read_tensors(path)
    except CheckpointError as error:
        logger.warning("The finished weights are not used: %s", error)
        return None
    if values.get("identity") != identity:
        return None
    model.load_state_dict(tensors)
    return TrainResult(path, tuple(read_history(folder)), int(values["step"]))
