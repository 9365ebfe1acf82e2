"""What can happen to a file of weights: other tensors, other values beside them."""

from collections.abc import Callable
from pathlib import Path

import torch
from file_damage import Kinds
from safetensors.torch import load_file, save_file

from maskdistill.models.training.checkpoint import read_tensors, write_tensors


def weight_kinds(_path: Path, _seed: int) -> Kinds:
    return {
        "weights of another network": lambda path: _weights(path, lambda _: {"a": torch.ones(3)}),
        "a tensor less": lambda path: _weights(path, lambda tensors: dict(list(tensors.items())[1:])),
        "no tensors": lambda path: _weights(path, lambda _: {}),
        "NaN everywhere": lambda path: _weights(path, _not_numbers),
        "a class more": lambda path: _weights(path, _another_class),
        "without our values": lambda path: save_file(load_file(path), path),
        "values that are no JSON": lambda path: save_file(load_file(path), path, metadata={"maskdistill": "{"}),
        "values of a later version": lambda path: save_file(load_file(path), path, metadata={"maskdistill": "[]"}),
        "a header too long": lambda path: path.write_bytes(b"\xff" * 7 + b"\x7f" + path.read_bytes()[8:]),
    }


def _weights(path: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    tensors, values = read_tensors(path)
    write_tensors(path, change(tensors), values)


def _not_numbers(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value * float("nan") for name, value in tensors.items()}


def _another_class(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The last layer with a row more, as of a run with more clusters."""
    classes = min(len(value) for value in tensors.values() if value.ndim)
    return {
        name: torch.cat([value, value[-1:]]) if value.ndim and len(value) == classes else value
        for name, value in tensors.items()
    }
