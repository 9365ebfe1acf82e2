"""One training loop for every model of both stages: seeded, resumable in the middle of an epoch, on one or many GPUs.

Step s draws the same photos and the same augmentation whatever happened before it, so a training that was killed and
started again ends with the weights of an undisturbed one (bit for bit on a CPU; CUDA sums in no fixed order).
"""

import logging
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from maskdistill.config import TrainConfig
from maskdistill.config.training import HOW
from maskdistill.errors import CheckpointError, DatasetError
from maskdistill.models.training.checkpoint import WEIGHTS, read_history, read_tensors
from maskdistill.models.training.loop import Training
from maskdistill.models.training.task import Callbacks, Task, TrainResult
from maskdistill.storage.run_folder import fingerprint

logger = logging.getLogger(__name__)


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
        calls: Called as it goes on.

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
    for name in HOW:
        del settings[name]
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
