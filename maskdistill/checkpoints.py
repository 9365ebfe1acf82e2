"""Files of weights: read safely, stripped of what training wrapped around them, checked against the model."""

import copy
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor

from maskdistill.errors import CheckpointError

READ_ERRORS = (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError)
PREFIXES = ("module.", "backbone.", "teacher.", "student.", "model.", "encoder.")


def load_weights(model: VisionTransformer, path: Path) -> None:
    """Load a local file into the model; training prefixes are stripped, heads are left out.

    Raises:
        CheckpointError: If the file is missing, cannot be read safely, or lacks weights of this model.
    """
    if not path.is_file():
        raise CheckpointError(f"No file of weights at {path}.")
    state = _strip_prefixes(_read_state_dict(path))
    _check_patch(model, state, path)
    state = checkpoint_filter_fn(state, model)  # names of other releases, DINOv2's registers among them
    own = model.state_dict()
    missing = [name for name in own if name not in state]
    wrong = [name for name in own if name in state and state[name].shape != own[name].shape]
    if missing or wrong:
        name = (missing or wrong)[0]
        problem = "has no" if missing else f"has another shape {tuple(state[name].shape)} of"
        raise CheckpointError(
            f"{path} {problem} '{name}' (and {len(missing) + len(wrong) - 1} more), wanted {tuple(own[name].shape)}. "
            f"Set features.architecture to the model it was saved from."
        )
    model.load_state_dict({name: state[name] for name in own})


def _check_patch(model: VisionTransformer, state: dict[str, Tensor], path: Path) -> None:
    """Refuse another patch size before timm would quietly resample it."""
    name = "patch_embed.proj.weight"
    wanted = model.patch_embed.proj.weight.shape
    if name in state and state[name].shape[-2:] != wanted[-2:]:
        raise CheckpointError(
            f"{path} has another shape {tuple(state[name].shape)} of '{name}', wanted {tuple(wanted)}. "
            "Set features.architecture to the model it was saved from."
        )


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except READ_ERRORS as error:
        raise CheckpointError(f"{path} cannot be read as weights: {first_line(error)}") from error
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds no tensors by name but a {type(loaded).__name__}.")
    while not any(isinstance(value, Tensor) for value in loaded.values()):
        nested = [
            loaded[key] for key in ("teacher", "state_dict", "model", "student") if isinstance(loaded.get(key), dict)
        ]
        if not nested:
            raise CheckpointError(f"{path} holds no tensors under 'teacher', 'state_dict' or 'model'.")
        loaded = nested[0]
    return {name: value for name, value in loaded.items() if isinstance(value, Tensor)}


def _strip_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop what training wrappers put in front of every name, such as ``module.backbone.``."""
    state = copy.copy(state)
    if any(name.startswith("teacher.") for name in state):  # of the two networks of a training, the one DINO releases
        state = {name: value for name, value in state.items() if not name.startswith("student.")}
    changed = True
    while changed:
        changed = False
        for prefix in PREFIXES:
            if any(name.startswith(prefix) for name in state):
                state = {name.removeprefix(prefix): value for name, value in state.items()}
                changed = True
    return state


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for a message of ours."""
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
