"""The state of a training and its steps; ``maskdistill.models.training.train`` is the way in."""

import contextlib
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import reduce
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from maskdistill.config import TrainConfig
from maskdistill.errors import JobError
from maskdistill.files import replace_atomically, write_json
from maskdistill.models.training.checkpoint import (
    PREVIOUS,
    WEIGHTS,
    EpochReport,
    EpochSums,
    Snapshot,
    append_history,
    load_snapshot,
    optimizer_state,
    read_history,
    restore_optimizer,
    save_snapshot,
    write_history,
    write_tensors,
)
from maskdistill.models.training.distributed import Processes
from maskdistill.models.training.optim import (
    AveragedWeights,
    autocast,
    learning_rate,
    make_optimizer,
    number_format,
    place,
    trainable,
)
from maskdistill.models.training.task import Callbacks, Task

logger = logging.getLogger(__name__)

_ORDER, _AUGMENT, _GLOBAL = range(3)  # streams of random numbers that have nothing to do with each other


def step_generator(seed: int, *numbers: int) -> torch.Generator:
    """A generator that depends on all these numbers and on nothing else."""
    return torch.Generator().manual_seed(derive_seed(seed, *numbers))


def derive_seed(seed: int, *numbers: int) -> int:
    """A seed made of several numbers; nearby ones give unrelated seeds."""
    return int(np.random.SeedSequence([seed % 2**64, *numbers]).generate_state(1, np.uint64)[0])


class Training:
    """A training at work. ``step`` steps are done, and between two steps everything here is of one moment."""

    def __init__(
        self, task: Task, config: TrainConfig, folder: Path, seed: int, identity: str, calls: Callbacks
    ) -> None:
        self.task, self.config, self.folder, self.seed, self.identity = task, config, folder, seed, identity
        self.calls = calls
        self.processes = Processes.join(next(task.model.parameters()).device)
        self.device = self.processes.device
        self.model = place(task.model, self.device)
        self.optimizer = make_optimizer(self.model, config)
        scaled = number_format(config.precision, self.device) == torch.float16
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=scaled)
        self.average = AveragedWeights(self.model, config.ema) if config.ema else None
        self.steps_per_epoch = math.ceil(task.num_samples / config.batch_size)
        self.total = self.steps_per_epoch * config.epochs
        self.step = 0
        self.sums = EpochSums()
        self._saved_at = time.monotonic()
        self._buffers: list[Tensor] | None = None  # as they were before the step at work; None between steps
        self._updating = False

    def start(self) -> int:
        """Go on from the last checkpoint, or afresh; returns the steps found done."""
        self.processes.wait()  # nobody reads while another process of this training still writes
        snapshot = load_snapshot(self.folder, self.identity)
        if snapshot is not None:
            self._restore(snapshot)
            logger.info("Going on after step %d of %d in %s.", self.step, self.total, self.folder)
        self.processes.wait()
        averaged = self.average.values.values() if self.average else ()
        self.processes.copy_from_first([*self.model.state_dict().values(), *averaged])
        if self.processes.is_first:
            self._tidy_folder()
        return self.step

    def run(self) -> None:
        """All steps that are left."""
        if self.step == 0:
            self._inspect()
        while True:
            if self.sums.steps == self.steps_per_epoch:
                self._end_epoch()
            if self.step == self.total:
                return
            self._one_step()
            if self.calls.on_step and self.processes.is_first:
                self.calls.on_step(self.step, self.total)
            if time.monotonic() - self._saved_at >= self.config.checkpoint_seconds:
                self.save()

    def save(self) -> None:
        """Write a checkpoint (the first process alone does)."""
        if self.processes.is_first:
            save_snapshot(self.folder, self._snapshot(), self.identity)
        self._saved_at = time.monotonic()

    def save_interrupted(self) -> None:
        """Write a checkpoint of the moment before the step that was interrupted, if there was one."""
        if self._updating:
            logger.warning("Stopped while weights were changing: the last checkpoint in %s counts.", self.folder)
            return
        if self._buffers is not None:
            for buffer, value in zip(self.model.buffers(), self._buffers, strict=True):
                buffer.copy_(value)
        self.save()

    def finish(self) -> None:
        """Write the final weights and leave them in the model."""
        if self.average:
            self.average.write_to(self.model)
        path = self.folder / WEIGHTS
        if self.processes.is_first:
            values = {"identity": self.identity, "step": self.step}
            state = self.model.state_dict()
            replace_atomically(path, lambda temporary: write_tensors(temporary, state, values))
            (self.folder / PREVIOUS).unlink(missing_ok=True)
        self.processes.wait()
        self.model.eval()

    def _one_step(self) -> None:
        began = time.monotonic()
        indices = self._batch()
        rank = self.processes.rank
        self._seed_globally(derive_seed(self.seed, _GLOBAL, self.step, rank))
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        self._buffers = [buffer.clone() for buffer in self.model.buffers()]
        with autocast(self.config.precision, self.device):
            losses = self.task.loss(
                self.processes.share_of(indices), step_generator(self.seed, _AUGMENT, self.step, rank)
            )
        self.scaler.scale(reduce(torch.add, losses.values())).backward()
        values = self._average_over_processes(losses)
        norm = self._clip(values)
        self._update(values, norm, len(indices), began)

    def _seed_globally(self, seed: int) -> None:
        # Not torch.manual_seed: where there is no GPU it queues a call for one, with a stack trace, at every step.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _batch(self) -> list[int]:
        """Photos of the step. Batches are as even as can be: one photo alone would leave batch norm nothing to do."""
        epoch, batch = divmod(self.step, self.steps_per_epoch)
        order = torch.randperm(self.task.num_samples, generator=step_generator(self.seed, _ORDER, epoch))
        length, longer = divmod(self.task.num_samples, self.steps_per_epoch)  # the first ``longer`` have one more
        first = batch * length + min(batch, longer)
        return order[first : first + length + (batch < longer)].tolist()

    def _average_over_processes(self, losses: dict[str, Tensor]) -> dict[str, float]:
        """Average losses, gradients and float buffers; returns the losses as numbers, with their total."""
        reported = torch.stack([value.detach().float() for value in losses.values()])
        parameters = trainable(self.model)
        for parameter in parameters if self.processes.size > 1 else ():
            if parameter.grad is None:  # unused in this process, perhaps not in another
                parameter.grad = torch.zeros_like(parameter)
        buffers = [buffer for buffer in self.model.buffers() if buffer.is_floating_point()]
        self.processes.average([reported, *_gradients(parameters), *buffers])
        values = dict(zip(losses, reported.tolist(), strict=True))
        return {**values, "total": sum(values.values())}

    def _clip(self, losses: dict[str, float]) -> float:
        """Norm of the gradient before clipping, after a check that both it and the losses are finite."""
        self.scaler.unscale_(self.optimizer)
        parameters = trainable(self.model)
        norm = get_total_norm(_gradients(parameters))
        # With float16 an infinite gradient only means that the scale was too large: the scaler skips that step.
        if not math.isfinite(losses["total"]) or not (self.scaler.is_enabled() or norm.isfinite()):
            raise JobError(self._diverged(losses, float(norm)))
        if self.config.clip_norm:
            clip_grads_with_norm_(parameters, self.config.clip_norm, norm)
        return float(norm)

    def _diverged(self, losses: dict[str, float], norm: float) -> str:
        parts = ", ".join(f"{name} {value:g}" for name, value in losses.items())
        return (
            f"The training diverged in epoch {self.step // self.steps_per_epoch + 1}, step {self.step + 1}: losses "
            f"{parts}; gradient {norm:g}; learning rate {self._rate(self.step):g}. Lower learning_rate, raise warmup, "
            f"set clip_norm=1, or set precision=float32. The last good checkpoint stays in {self.folder}."
        )

    def _rate(self, step: int) -> float:
        return learning_rate(self.config, step, self.steps_per_epoch)

    def _update(self, losses: dict[str, float], norm: float, samples: int, began: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(self.step)
        self._updating = True
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        if self.average:
            self.average.update(self.model, self.step)
        self.sums.add(losses, norm, samples, time.monotonic() - began)
        self._buffers = None
        self._updating = False

    def _end_epoch(self) -> None:
        report = self._report()
        self._inspect()
        if self.processes.is_first:
            append_history(self.folder, report)
        self.sums = EpochSums()
        self.save()
        if self.calls.on_epoch and self.processes.is_first:
            self.calls.on_epoch(report)

    def _report(self) -> EpochReport:
        sums = self.sums
        return EpochReport(
            epoch=self.step // self.steps_per_epoch,
            num_epochs=self.config.epochs,
            step=self.step,
            losses={name: value / sums.steps for name, value in sums.losses.items()},
            learning_rate=self._rate(self.step - 1),
            metrics=self._metrics() if self.processes.is_first else {},
            seconds=sums.seconds,
            samples_per_second=sums.samples / max(sums.seconds, 1e-9),
            grad_norm=sums.grad_norm / sums.steps,
        )

    def _metrics(self) -> dict[str, float]:
        with self._kept_weights():
            return {name: float(value) for name, value in self.task.metrics().items()}

    def _inspect(self) -> None:
        if self.calls.on_inspect and self.processes.is_first:
            with self._kept_weights():
                self.calls.on_inspect(self.step // self.steps_per_epoch)

    @contextlib.contextmanager
    def _kept_weights(self) -> Iterator[None]:
        """The model in eval mode with the weights that would be kept; no gradients."""
        self.model.eval()
        kept = self.average.placed_in(self.model) if self.average else contextlib.nullcontext()
        with kept, torch.no_grad():
            yield

    def _snapshot(self) -> Snapshot:
        memory, numbers = optimizer_state(self.optimizer)
        averaged = self.average.values if self.average else {}
        parts = {"model": self.model.state_dict(), "optimizer": memory, "average": averaged}
        tensors = {f"{part}:{name}": value for part, values in parts.items() for name, value in values.items()}
        values = {"sums": asdict(self.sums), "optimizer": numbers, "scaler": self.scaler.state_dict()}
        return Snapshot(self.step, tensors, values)

    def _restore(self, snapshot: Snapshot) -> None:
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "average": {}}
        for key, value in snapshot.tensors.items():
            part, name = key.split(":", 1)
            parts[part][name] = value
        self.model.load_state_dict(parts["model"])
        restore_optimizer(self.optimizer, parts["optimizer"], snapshot.values["optimizer"])
        if self.average is not None:
            for name, value in parts["average"].items():
                self.average.values[name].copy_(value)
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(snapshot.values["scaler"])
        self.sums = EpochSums(**snapshot.values["sums"])
        self.step = snapshot.step

    def _tidy_folder(self) -> None:
        """Make files agree with where the training stands: killed a moment ago, it may have written one epoch more."""
        (self.folder / WEIGHTS).unlink(missing_ok=True)  # of another training, or damaged
        for part in self.folder.glob(".*.safetensors.*.tmp"):  # a process that was killed while it wrote left these
            part.unlink(missing_ok=True)
        epochs_done = (self.step - self.sums.steps) // self.steps_per_epoch
        write_history(self.folder, [report for report in read_history(self.folder) if report.epoch <= epochs_done])
        write_json(self.folder / "config.json", {**asdict(self.config), "seed": self.seed, "identity": self.identity})


def _gradients(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]
