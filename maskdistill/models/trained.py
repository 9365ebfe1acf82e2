"""Trained models read back from the file that ``train`` left, whichever model it is."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from maskdistill.errors import CheckpointError
from maskdistill.features.weight_files import check_state
from maskdistill.models.training.checkpoint import read_tensors

_REMEDY = "Train the stage again."

Model = TypeVar("Model", bound=nn.Module)


def load_trained(path: Path, kind: str, last_layer: str, build: Callable[[int, Mapping[str, Tensor]], Model]) -> Model:
    """A model with the weights of a model.safetensors.

    Args:
        path: The file.
        kind: What people call the model, for the message.
        last_layer: Name of the weights that have a row for each class and one for the background.
        build: K and the file's tensors by name -> a new model that takes them.

    Raises:
        CheckpointError: If the file cannot be read, or is of another model.
    """
    tensors, _ = read_tensors(path)
    if last_layer not in tensors:
        raise CheckpointError(f"{path} holds no {kind}: it has no '{last_layer}'. {_REMEDY}")
    model = build(len(tensors[last_layer]) - 1, tensors)
    check_state(model.state_dict(), tensors, path, _REMEDY)
    model.load_state_dict(tensors)
    return model
