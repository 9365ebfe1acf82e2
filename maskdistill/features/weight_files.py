"""Files of weights: read safely, stripped of what training wrapped around them, checked against the model."""

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import beit, eva, vision_transformer
from torch import Tensor

from maskdistill.errors import CheckpointError
from maskdistill.features.families import Vit
from maskdistill.features.registry import check_weight_file
from maskdistill.machine import is_out_of_memory
from maskdistill.roots import confine
from maskdistill.storage.read_files import READ_ERRORS, first_line

LOAD_ERRORS = (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, AssertionError, *READ_ERRORS)
_DEEPEST = 8  # levels of nesting that are looked through: a pickle may hold itself
PREFIXES = (
    "module.", "_orig_mod.", "backbone.", "teacher.", "student.", "model.", "encoder.", "encoder_q.", "base_encoder."
)  # fmt: skip
NESTED = ("teacher", "state_dict", "model", "student")  # where training scripts put the weights; the best goes first
# Of two networks of one training, the one its authors release: DINO's teacher is the average, MoCo's query is trained.
TWINS = (("teacher.", "student."), ("encoder_q.", "encoder_k."), ("base_encoder.", "momentum_encoder."))


def load_weights(model: Vit, path: Path) -> None:
    """Load a local file into the model; training prefixes are stripped, heads are left out.

    Raises:
        CheckpointError: If the file is missing, cannot be read safely, or lacks weights of this model.
    """
    remedy = "Set features.architecture to the model it was saved from."
    state = strip_prefixes(read_state_dict(path))
    _check_patch(model, state, path, remedy)
    try:
        state = _timm_names(state, model)
    except LOAD_ERRORS as error:  # shapes that cannot be converted
        raise CheckpointError(f"{path} does not fit {type(model).__name__}: {first_line(error)}. {remedy}") from error
    own = model.state_dict()
    check_state(own, state, path, remedy)
    model.load_state_dict({name: state[name] for name in own})


def _timm_names(state: dict[str, Tensor], model: Vit) -> dict[str, Tensor]:
    """timm's names for those of other releases: DINOv2's registers, DINOv3's blocks, EVA's halves of a layer."""
    module = {eva.Eva: eva, beit.Beit: beit}.get(type(model), vision_transformer)
    return module.checkpoint_filter_fn(state, model)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a .safetensors file or of a file that ``torch.save`` wrote, as they are called there.

    Nothing in the file is executed (``weights_only=True``). If it holds a whole training, DINO's teacher is taken.

    Raises:
        CheckpointError: If the file is missing, cannot be read safely, or holds no tensors by name.
    """
    path = confine(path, CheckpointError)
    check_weight_file(path)
    try:
        if path.suffix == ".safetensors":
            loaded: Any = load_file(path)
        else:
            with torch.serialization.safe_globals([argparse.Namespace]):  # DINO's full checkpoints hold their options
                loaded = torch.load(path, map_location="cpu", weights_only=True)
    except LOAD_ERRORS as error:
        if is_out_of_memory(error):
            raise CheckpointError(
                f"{path} ({path.stat().st_size:,} bytes) needs more memory than there is, or it is damaged: "
                f"{first_line(error)}."
            ) from error
        raise CheckpointError(
            f"{path} cannot be read as weights: {first_line(error)}. Give a .safetensors file, or a .pth file with "
            "tensors only."
        ) from error
    state = _find_tensors(loaded, path)
    _check_tensors(state, path)
    return state


def _find_tensors(loaded: Any, path: Path) -> dict[str, Tensor]:
    """The tensors by name, however deep a training script put them."""
    for _ in range(_DEEPEST):
        if not isinstance(loaded, dict):
            raise CheckpointError(f"{path} holds no tensors by name but a {type(loaded).__name__}.")
        state = {name: value for name, value in loaded.items() if isinstance(name, str) and isinstance(value, Tensor)}
        if state:
            return state
        loaded = next((loaded[key] for key in NESTED if isinstance(loaded.get(key), dict)), {})
    raise CheckpointError(f"{path} holds no tensors under 'teacher', 'state_dict' or 'model'.")


def _check_tensors(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that are no plain arrays of real numbers."""
    for name, value in state.items():
        if value.layout != torch.strided or value.is_meta or value.is_quantized or value.is_complex():
            kind = "without values" if value.is_meta else f"{value.layout}, {value.dtype}"
            raise CheckpointError(f"'{name}' of {path} is no plain tensor ({kind}). Save it dense, in float32.")


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
    """Refuse a file that lacks a tensor of the model, has one in another shape, or numbers that are not finite.

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
    for name in own:
        if state[name].is_floating_point() and not state[name].float().isfinite().all():
            raise CheckpointError(
                f"'{name}' of {path} holds numbers that are not finite (NaN or infinite): the training that saved it "
                "went wrong. Take an earlier checkpoint of it."
            )


def _check_patch(model: Vit, state: dict[str, Tensor], path: Path, remedy: str) -> None:
    """Refuse another patch size before timm would quietly resample it."""
    name = "patch_embed.proj.weight"
    if name in state and state[name].shape[-2:] != model.patch_embed.proj.weight.shape[-2:]:
        check_state({name: model.patch_embed.proj.weight}, state, path, remedy)
