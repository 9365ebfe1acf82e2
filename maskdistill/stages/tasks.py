"""What a pool's processes are asked to do. Torch is loaded inside them: the parent does without its 700 MB."""

import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from maskdistill.config import RunConfig
from maskdistill.datasets import Photo
from maskdistill.errors import MaskDistillError


@dataclass(frozen=True)
class PhotoResult:
    """One photo's masks as plain values, ready for JSON."""

    number: int  # of the photo in the run, from 0
    annotations: list[dict[str, Any]] = field(default_factory=list)  # COCO, with score and parts
    problem: str | None = None  # a degenerate result, with a hint
    error: str | None = None  # why the photo could not be processed


_worker: dict[str, Any] = {}  # one entry a process: a loaded model cannot travel with a task


def start_worker(run: Path, config: RunConfig, num_threads: int, counter: Any) -> None:
    """Set up a process: its threads, its GPU in turn where there are several, its model. Ctrl-C is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    import torch

    from maskdistill.stages.worker import PhotoWorker

    torch.set_num_threads(num_threads)
    threadpool_limits(num_threads)  # numpy's and scipy's products too: they would take every core in every process
    with counter.get_lock():
        index = counter.value
        counter.value += 1
    try:
        features = replace(config.features, device=_own_device(config.features.device, index))
        _worker["worker"] = PhotoWorker(run, replace(config, features=features))
    except MaskDistillError as error:  # raised here it would only say that the pool is broken
        _worker["error"] = error


def work(number: int, photo: Photo) -> PhotoResult:
    """Masks of one photo."""
    if "error" in _worker:
        raise _worker["error"]
    return _worker["worker"](number, photo)


def settle_precision(precision: str, device: str) -> str:
    """What a precision of "auto" means on this machine."""
    from maskdistill.backbones import choose_device, choose_precision

    return choose_precision(precision, choose_device(device))


def _own_device(name: str, index: int) -> str:
    """The device of the index-th process: the GPUs of the machine in turn."""
    import torch

    from maskdistill.backbones import choose_device

    device = choose_device(name)
    if device.type == "cuda" and device.index is None:
        return f"cuda:{index % torch.cuda.device_count()}"
    return str(device)
