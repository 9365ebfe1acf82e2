"""What a training keeps on disk: checkpoints it can go on from, one line an epoch, the final weights.

Every file of tensors is one safetensors file that carries its plain values and a checksum in its own header, so tensors
and values cannot come from different moments, and damage is seen even where the file's length is right.
"""

import contextlib
import json
import logging
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from maskdistill.errors import CheckpointError
from maskdistill.files import replace_atomically, write_atomically
from maskdistill.storage.read_files import first_line

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"
PREVIOUS = "checkpoint.previous.safetensors"
WEIGHTS = "model.safetensors"
HISTORY = "history.jsonl"

METADATA = "maskdistill"  # key of our values in the header of a safetensors file


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch."""

    epoch: int  # from 1
    num_epochs: int
    step: int  # steps done since the beginning
    losses: dict[str, float]  # mean over the epoch's steps, by name; "total" is what was minimised
    learning_rate: float  # of the epoch's last step
    metrics: dict[str, float]  # the task's own check, never with ground truth
    seconds: float  # training alone, without checks and checkpoints
    samples_per_second: float  # photos
    grad_norm: float  # mean over the epoch's steps, before clipping


@dataclass
class EpochSums:
    """Sums over the steps of an epoch that is not finished."""

    steps: int = 0
    samples: int = 0
    seconds: float = 0.0
    grad_norm: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)

    def add(self, losses: dict[str, float], grad_norm: float, samples: int, seconds: float) -> None:
        """Take in one step; ``samples`` are photos."""
        self.steps += 1
        self.samples += samples
        self.seconds += seconds
        self.grad_norm += grad_norm if math.isfinite(grad_norm) else 0.0  # float16 skips a step that overflows
        for name, value in losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + value


@dataclass
class Snapshot:
    """A training between two steps."""

    step: int  # steps done
    tensors: dict[str, Tensor]
    values: dict[str, Any] = field(default_factory=dict)  # ready for JSON


def save_snapshot(folder: Path, snapshot: Snapshot, identity: str) -> None:
    """Write the checkpoint in one step; the one before it is kept too.

    Raises:
        CheckpointError: If it cannot be written.
    """
    path = folder / CHECKPOINT

    def write(temporary: Path) -> None:
        write_tensors(
            temporary, snapshot.tensors, {"identity": identity, "step": snapshot.step, "values": snapshot.values}
        )
        with contextlib.suppress(FileNotFoundError):  # the first one, or another writer was faster
            path.replace(folder / PREVIOUS)

    replace_atomically(path, write)


def load_snapshot(folder: Path, identity: str) -> Snapshot | None:
    """The newest checkpoint that is whole and belongs to ``identity``; None if there is none.

    A damaged one is named in the log and removed, so that it cannot push out the good one behind it.
    """
    for name in (CHECKPOINT, PREVIOUS):
        path = folder / name
        if not path.is_file():
            continue
        try:
            tensors, values = read_tensors(path)
            if values["identity"] == identity:
                return Snapshot(int(values["step"]), tensors, values["values"])
            logger.info("%s is of another training (settings, seed or data differ) and is not used.", path)
        except (CheckpointError, KeyError) as error:
            logger.warning("The checkpoint %s is not used: %s", path, error)
            path.unlink(missing_ok=True)
    return None


def write_tensors(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write tensors by name with plain values beside them; not in one step, see ``replace_atomically``.

    Raises:
        CheckpointError: If the file cannot be written.
    """
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    # One entry only: safetensors writes several in a random order, and equal trainings should give equal files.
    metadata = {METADATA: json.dumps({"values": values, "crc32": _checksum(copies)}, sort_keys=True)}
    try:
        save_file(copies, path, metadata=metadata)
    except SafetensorError as error:
        raise CheckpointError(f"Cannot write {path}: {first_line(error)}. Is the disk full?") from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Inverse of ``write_tensors``.

    Raises:
        CheckpointError: If the file is missing, cut off, changed, or not written by ``write_tensors``.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {first_line(error)}.") from error
    if METADATA not in metadata:
        raise CheckpointError(f"{path} was not written by a training of this project.")
    try:
        known = json.loads(metadata[METADATA])
        checksum, values = known["crc32"], known["values"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} was written by another version of this project.") from error
    if checksum != _checksum(tensors):
        raise CheckpointError(f"{path} is damaged: its checksum does not fit its content.")
    return tensors, values


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    checksum = 0
    for name in sorted(tensors):
        content = tensors[name].reshape(-1).view(torch.uint8).numpy().data if tensors[name].numel() else b""
        checksum = zlib.crc32(content, zlib.crc32(name.encode(), checksum))
    return checksum


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's memory as tensors by ``number.name`` and the values that are no tensors, likewise."""
    flat = {
        f"{number}.{name}": value
        for number, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }
    tensors = {name: value for name, value in flat.items() if isinstance(value, Tensor)}
    return tensors, {name: value for name, value in flat.items() if name not in tensors}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
) -> None:
    """Inverse of ``optimizer_state``; learning rates and other settings stay those of ``optimizer``."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **values}.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def read_history(folder: Path) -> list[EpochReport]:
    """The finished epochs of a training, in order; a last line that was cut off is left out."""
    path = folder / HISTORY
    if not path.is_file():
        return []
    reports = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            reports.append(EpochReport(**json.loads(line)))
        except (ValueError, TypeError):
            logger.warning("A line of %s cannot be read and is left out.", path)
    return reports


def append_history(folder: Path, report: EpochReport) -> None:
    """Add one line; a value that is not finite is left out, for JSON knows none."""
    with (folder / HISTORY).open("a", encoding="utf-8") as file:
        file.write(_line(report))


def write_history(folder: Path, reports: Iterable[EpochReport]) -> None:
    """Replace the whole history in one step."""
    write_atomically(folder / HISTORY, "".join(_line(report) for report in reports))


def _line(report: EpochReport) -> str:
    values = asdict(report)
    values["metrics"] = {name: value for name, value in report.metrics.items() if math.isfinite(value)}
    return json.dumps(values) + "\n"
