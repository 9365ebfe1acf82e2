"""Trained models read back from the file that ``train`` left, whichever model it is."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from maskdistill.errors import CheckpointError
from maskdistill.features.weight_files import check_state
from maskdistill.models.training.checkpoint import read_tensors
from maskdistill.storage.read_files import first_line, remedy_of

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
    remedy = remedy_of(path)
    try:
        tensors, _ = read_tensors(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error} {remedy}") from error
    if last_layer not in tensors or tensors[last_layer].ndim == 0:
        raise CheckpointError(f"{path} holds no {kind}: it has no '{last_layer}'. {remedy}")
    if not all(bool(values.isfinite().all()) for values in tensors.values()):
        raise CheckpointError(f"{path} holds weights that are not finite. {remedy}")
    try:
        model = build(len(tensors[last_layer]) - 1, tensors)
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is of another model than a {kind} ({first_line(error)}). {remedy}") from error
    check_state(model.state_dict(), tensors, path, remedy)
    model.load_state_dict(tensors)
    return model
