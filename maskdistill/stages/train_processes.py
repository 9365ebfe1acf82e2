"""Several processes that train one model together: started here, by ``accelerate launch``, ``torchrun`` or Ray Train.

    accelerate launch --num_processes 2 -m maskdistill.stages.train_processes RUN stage2

A batch is shared by all of them, so that the settings mean what they do in one process.
"""

import argparse
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from maskdistill.config import TrainConfig
from maskdistill.datasets import open_source
from maskdistill.errors import ConfigError, MaskDistillError, RunError
from maskdistill.features.backbone import choose_device
from maskdistill.stages.chain import Options, run_stages
from maskdistill.stages.context import Context
from maskdistill.stages.plan import Plan
from maskdistill.stages.stage_list import with_needs
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_lock import hold_run

STAGES = ("stage1", "stage2")
PATIENCE = 30.0  # seconds that a process has to write its checkpoint when it is stopped


def num_processes(config: TrainConfig, device: str) -> int:
    """How many processes train a model: as the settings say, else one a GPU; a patch_head is done sooner by one."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # a launcher has started them
        return 1
    if config.processes:
        return config.processes
    chosen = choose_device(device)
    everywhere = chosen.type == "cuda" and chosen.index is None and config.model != "patch_head"
    return torch.cuda.device_count() if everywhere else 1


def train_in_processes(context: Context, stage: str, size: int) -> None:
    """Train a stage's model by so many processes, and come back when its weights are written.

    Raises:
        MaskDistillError: What one of them raised.
        RunError: If one of them is ended from outside. The others end too, and the next start goes on.
        KeyboardInterrupt: On Ctrl-C, after a checkpoint was written.
    """
    fresh = replace(context, share=None)  # without what this process has read: each of them reads its own
    spawn = multiprocessing.get_context("spawn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ends: list[Connection] = []
    processes: list[BaseProcess] = []
    try:
        for rank in range(size):
            here, there = spawn.Pipe(duplex=False)
            process = spawn.Process(target=_train_rank, args=(rank, size, port, fresh, stage, there), daemon=False)
            process.start()
            there.close()
            ends.append(here)
            processes.append(process)
        _wait_for(processes, ends)
    finally:
        _stop(processes)


def train_rank(run_folder: str, stage: str) -> None:
    """Train as one process of those that a launcher has started; each of them calls this.

    The first one also marks the stage as done. Everything before it must be made.

    Args:
        run_folder: Run folder, which all of them see.
        stage: ``stage1`` or ``stage2``.

    Raises:
        ConfigError: If a stage before it is missing or stale.

    Example:
        ```python
        from ray.train import ScalingConfig
        from ray.train.torch import TorchTrainer

        def loop(config):
            train_rank(config["run"], "stage2")

        workers = ScalingConfig(num_workers=2)
        TorchTrainer(loop, train_loop_config={"run": "/data/runs/voc"}, scaling_config=workers).fit()
        ```
    """
    from maskdistill.stages.train import train_lesson

    run, first = Run(Path(run_folder)), os.environ.get("RANK", "0") == "0"
    info = run.info()
    source = open_source(info["data"])
    source = source.limited(info["limit"]) if info.get("limit") else source
    plan = Plan(run, source, run.config())
    for need in with_needs((stage,), plan.config)[:-1]:
        if not plan.is_done(need):
            raise ConfigError(f"{need} has to be made before {stage}: maskdistill run --run {run.path} --until {need}")
    with hold_run(run.path) if first else nullcontext():
        train_lesson(plan.context(stage, Options(quiet=not first)), stage)
    if first:
        how = Options(limit=info.get("limit", 0), source=source, quiet=True)
        run_stages(run, info["data"], plan.config, wanted=(stage,), options=how)


def _train_rank(rank: int, size: int, port: int, context: Context, stage: str, told: Connection) -> None:
    """One process that ``train_in_processes`` has started."""
    from maskdistill.stages.train import train_lesson

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a checkpoint is written, as on Ctrl-C
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in numbers.items()}, MASTER_ADDR="127.0.0.1")
    if size > 1 and not torch.cuda.is_available():
        torch.set_num_threads(max(1, torch.get_num_threads() // size))
    try:
        train_lesson(context, stage)
    except KeyboardInterrupt:
        sys.exit(1)
    except MaskDistillError as error:
        told.send(error)
        sys.exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _wait_for(processes: Sequence[BaseProcess], ends: Sequence[Connection]) -> None:
    """Until all have ended well; the first that does not ends the wait."""
    running = list(processes)
    while running:
        wait([process.sentinel for process in running])
        for process in [process for process in running if process.exitcode is not None]:
            running.remove(process)
            if process.exitcode:
                raise _reason(processes, ends)


def _reason(processes: Sequence[BaseProcess], ends: Sequence[Connection]) -> MaskDistillError:
    """What one of them says, or which was ended from outside: the others then fail for lack of it, in any order."""
    wait([process.sentinel for process in processes], timeout=1)
    for end in ends:
        if end.poll():
            try:
                return end.recv()
            except EOFError:
                continue
    codes = [process.exitcode or 0 for process in processes]
    name = next((signal.Signals(-code).name for code in codes if code < 0), f"exit code {max(codes)}")
    return RunError(f"A process of the training was ended ({name}). Start again to go on from its last checkpoint.")


def _stop(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        if process.is_alive():
            process.terminate()
    for process in processes:
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()


def main() -> None:
    """The command that a launcher starts in each process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run folder")  # in place of flags, which torchrun would take for its own
    parser.add_argument("stage", choices=STAGES)
    options = parser.parse_args()
    try:
        train_rank(options.run, options.stage)
    except MaskDistillError as error:
        sys.exit(f"maskdistill: {error}")


if __name__ == "__main__":
    main()
