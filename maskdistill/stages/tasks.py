"""A task of a pool, whatever its engine, and the process that does it. Torch is loaded there: the parent needs none."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from maskdistill.config import FeatureConfig, RunConfig
from maskdistill.datasets import Photo
from maskdistill.errors import MaskDistillError, OutOfMemoryError, RunError
from maskdistill.machine import explain_lack_of_memory

logger = logging.getLogger(__name__)

START_ERRORS = (MaskDistillError, MemoryError, OSError, ImportError, RuntimeError, ValueError)

MAX_WORKERS = 8  # of a machine, or on a GPU: each holds a copy of the model; more cores give each more threads
PHOTOS_ON_GPU = 8  # in a forward pass: one photo alone leaves most of a large GPU idle

Task = tuple[Any, ...]  # arguments of a call; the photo is among them, or its number comes first
OnCrash = Callable[[Task, str], Any]


@dataclass(frozen=True)
class PhotoResult:
    """One photo's masks as plain values, ready for JSON."""

    number: int  # of the photo in the run, from 0
    annotations: list[dict[str, Any]] = field(default_factory=list)  # COCO, with score and parts
    problem: str | None = None  # a degenerate result, with a hint
    error: str | None = None  # why the photo could not be processed
    missed: bool = False  # its file was not there as it was: the next start tries it anew


@dataclass(frozen=True)
class Batch:
    """Photos that are read and sent through the transformer together: a task of some workers."""

    photos: tuple[tuple[int, Photo], ...]  # with the number of each in the run
    wanted: frozenset[int]  # numbers of those whose results are

    @classmethod
    def of(cls, number: int, photo: Photo) -> "Batch":
        """A photo alone."""
        return cls(((number, photo),), frozenset((number,)))

    def singles(self) -> "list[Batch]":
        """Each photo that is wanted alone."""
        return [Batch.of(number, photo) for number, photo in self.photos if number in self.wanted]


@dataclass(frozen=True)
class WorkerSpec:
    """What a process of a pool makes once and then calls for each task."""

    factory: str  # "module:class"; imported in the process, because the parent must not load torch
    run: Path
    config: RunConfig  # with the backbone already chosen
    options: dict[str, Any] = field(default_factory=dict)  # further arguments of the class
    torch: bool = True  # whether the worker needs torch, and with it 700 MB and a device

    def make(self) -> Callable[..., Any]:
        """The worker, for this process."""
        module, _, name = self.factory.partition(":")
        return getattr(import_module(module), name)(self.run, self.config, **self.options)


_worker: dict[str, Any] = {}  # one entry a process: a loaded model cannot travel with a task


def start_worker(spec: WorkerSpec, num_threads: int, counter: Any) -> None:
    """Set up a process that its parent started; Ctrl-C is the parent's."""
    follow_parent()
    with counter.get_lock():
        index = counter.value
        counter.value += 1
    set_up(spec, num_threads, index)


def set_up(spec: WorkerSpec, num_threads: int, index: int) -> None:
    """Make this process ready for tasks: its threads, its GPU in turn where there are several, its worker."""
    try:
        if spec.torch:
            import torch

            torch.set_num_threads(num_threads)
        threadpool_limits(num_threads)  # numpy's and scipy's products too: they would take every core in every process
        if spec.torch:
            features = replace(spec.config.features, device=_own_device(spec.config.features.device, index))
            spec = replace(spec, config=replace(spec.config, features=features))
        _worker["worker"] = spec.make()
    except START_ERRORS as error:  # raised here, only a broken pool would be reported
        _worker["error"] = error


def follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it does: to be called first in each process of a pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()


def _end_with_parent() -> None:
    """A pool's process waits for work for ever, also when the process that would give it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def work(*task: Any) -> Any:
    """One task."""
    if "error" in _worker:
        with explain_lack_of_memory():
            raise _worker["error"]
    return do_task(_worker["worker"], task)


def name_of(task: Task) -> str:
    """The photo or photos of a task, for a sentence."""
    names = [photo.id for photo in photos_of(task)] or [str(task[0])]
    return f"photo{'s' if len(names) > 1 else ''} {', '.join(names)}"


def photos_of(task: Task) -> list[Photo]:
    """The photos among the arguments of a task."""
    found = [item for item in task if isinstance(item, Photo)]
    return found + [photo for item in task if isinstance(item, Batch) for _, photo in item.photos]


def bytes_of(task: Task) -> int:
    """How much memory the arrays of a task take."""
    return sum(getattr(item, "nbytes", 0) for item in task)


def give_up(task: Task, trouble: str, on_crash: OnCrash | None) -> Any:
    """The result of a task that crashes whatever process works on it.

    Raises:
        RunError: If there is no ``on_crash``.
    """
    reason = f"It crashed the process that worked on it. {trouble}"
    if on_crash is None:
        raise RunError(f"{name_of(task)}: {reason} Take the photo away, then start again.")
    logger.warning("Skipped %s: %s", name_of(task), reason)
    return on_crash(task, reason)


def leave_out(task: Task, reason: str) -> PhotoResult:
    """The result of a photo that crashed its process: nothing, and why."""
    return PhotoResult(task[0], error=reason)


def too_large(task: Task) -> OutOfMemoryError:
    """The error of a task for which there is not enough memory, though it is tried alone."""
    return OutOfMemoryError(
        f"There was not enough memory for {name_of(task)}, not even alone in one process. What is finished is kept, "
        "and the next start tries it anew. Free memory, set features.shorter_side lower, or take the photo away."
    )


def do_task(worker: Callable[..., Any], task: Task) -> Any:
    """One task in this process.

    Raises:
        OutOfMemoryError: If there is not enough memory for it.
    """
    with explain_lack_of_memory():
        return worker(*task)


def settle_features(config: FeatureConfig) -> FeatureConfig:
    """The settings with what is left to the machine as it is on this one."""
    from maskdistill.features.backbone import choose_device, choose_precision

    device = choose_device(config.device)
    precision: Any = choose_precision(config.precision, device)
    return replace(config, precision=precision, batch_size=choose_batch_size(config.batch_size, device.type))


def choose_batch_size(size: int, device: str) -> int:
    """Photos in a forward pass; 0 is for what is fast on a device of that kind."""
    return size or (PHOTOS_ON_GPU if device.startswith("cuda") else 1)


def _own_device(name: str, index: int) -> str:
    """The device of the index-th process: the GPUs of the machine in turn."""
    import torch

    from maskdistill.features.backbone import choose_device

    device = choose_device(name)
    if device.type == "cuda" and device.index is None:
        return f"cuda:{index % torch.cuda.device_count()}"
    return str(device)
