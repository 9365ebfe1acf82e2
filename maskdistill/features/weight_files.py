"""Files of weights: read safely, stripped of what training wrapped around them, checked against the model."""

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor

from maskdistill.errors import CheckpointError
from maskdistill.roots import confine

READ_ERRORS = (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError)
PREFIXES = (
    "module.", "backbone.", "teacher.", "student.", "model.", "encoder.", "encoder_q.", "base_encoder."
)  # fmt: skip
NESTED = ("teacher", "state_dict", "model", "student")  # where training scripts put the weights; the best goes first
# Of two networks of one training, the one its authors release: DINO's teacher is the average, MoCo's query is trained.
TWINS = (("teacher.", "student."), ("encoder_q.", "encoder_k."), ("base_encoder.", "momentum_encoder."))


def load_weights(model: VisionTransformer, path: Path) -> None:
    """Load a local file into the model; training prefixes are stripped, heads are left out.

    Raises:
        CheckpointError: If the file is missing, cannot be read safely, or lacks weights of this model.
    """
    remedy = "Set features.architecture to the model it was saved from."
    state = strip_prefixes(read_state_dict(path))
    _check_patch(model, state, path, remedy)
    state = checkpoint_filter_fn(state, model)  # names of other releases, DINOv2's registers among them
    own = model.state_dict()
    check_state(own, state, path, remedy)
    model.load_state_dict({name: state[name] for name in own})


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a .safetensors file or of a file that ``torch.save`` wrote, as they are called there.

    Nothing in the file is executed (``weights_only=True``). If it holds a whole training, DINO's teacher is taken.

    Raises:
        CheckpointError: If the file is missing, cannot be read safely, or holds no tensors by name.
    """
    path = confine(path, CheckpointError)
    if not path.is_file():
        raise CheckpointError(f"No file of weights at {path}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):  # DINO's full checkpoints hold their options
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except READ_ERRORS as error:
        raise CheckpointError(f"{path} cannot be read as weights: {first_line(error)}") from error
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds no tensors by name but a {type(loaded).__name__}.")
    while not any(isinstance(value, Tensor) for value in loaded.values()):
        nested = [loaded[key] for key in NESTED if isinstance(loaded.get(key), dict)]
        if not nested:
            raise CheckpointError(f"{path} holds no tensors under 'teacher', 'state_dict' or 'model'.")
        loaded = nested[0]
    return {name: value for name, value in loaded.items() if isinstance(value, Tensor)}


def strip_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop what training wrappers put in front of every name, such as ``module.backbone.``; of twins keep one."""
    state = dict(state)
    changed = True
    while changed:
        changed = False
        for kept, dropped in TWINS:
            if any(name.startswith(kept) for name in state):
                state = {name: value for name, value in state.items() if not name.startswith(dropped)}
        for prefix in PREFIXES:
            if any(name.startswith(prefix) for name in state):
                state = {name.removeprefix(prefix): value for name, value in state.items()}
                changed = True
    return state


def check_state(own: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path, remedy: str) -> None:
    """Refuse a file that lacks a tensor of the model, or has one in another shape.

    Args:
        own: The model's tensors by name.
        state: The file's, under the model's names; it may hold more.
        path: The file, for the message.
        remedy: A sentence that ends the message.

    Raises:
        CheckpointError: Naming the first tensor that is missing or does not fit.
    """
    missing = [name for name in own if name not in state]
    wrong = [name for name in own if name in state and state[name].shape != own[name].shape]
    if missing or wrong:
        name = (missing or wrong)[0]
        problem = "has no" if missing else f"has another shape {tuple(state[name].shape)} of"
        raise CheckpointError(
            f"{path} {problem} '{name}' (and {len(missing) + len(wrong) - 1} more), wanted {tuple(own[name].shape)}. "
            f"{remedy}"
        )


def _check_patch(model: VisionTransformer, state: dict[str, Tensor], path: Path, remedy: str) -> None:
    """Refuse another patch size before timm would quietly resample it."""
    name = "patch_embed.proj.weight"
    if name in state and state[name].shape[-2:] != model.patch_embed.proj.weight.shape[-2:]:
        check_state({name: model.patch_embed.proj.weight}, state, path, remedy)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for a message of ours."""
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
