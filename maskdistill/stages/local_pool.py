"""The engine ``local``: processes of this machine, a photo a task, a thread a process, a bounded window of tasks."""

import gc
import logging
import multiprocessing
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.process import BaseProcess
from typing import Any, Self

from maskdistill.config import FeatureConfig
from maskdistill.errors import OutOfMemoryError, RunError
from maskdistill.machine import device_of, usable_cores
from maskdistill.stages.tasks import (
    MAX_WORKERS,
    OnCrash,
    Task,
    WorkerSpec,
    bytes_of,
    choose_batch_size,
    do_task,
    follow_parent,
    give_up,
    name_of,
    settle_features,
    start_worker,
    too_large,
    work,
)

logger = logging.getLogger(__name__)

TASKS_AHEAD = 3  # per process, so that none waits for the parent
NOTING_PATIENCE = 2.0  # seconds until an exit code counts as lost
BYTES_AHEAD = 256 * 2**20  # of the arrays in those tasks, beyond which none is added


def map_here(
    spec: WorkerSpec, tasks: Iterable[Task], num_workers: int, num_tasks: int | None, on_crash: OnCrash | None
) -> Iterator[Any]:
    """``pool.map_photos`` on this machine; a machine that gives processes no shared locks does it all in one.

    One process with one thread per core beats one process with all the threads: nothing waits between small products,
    and reading, cutting and encoding overlap with another photo's forward pass.

    Where memory is short, or a process is ended from outside, the photos at hand are tried again, each alone in one
    process; then the work goes on with half the processes.
    """
    num_workers = num_workers or min(usable_cores(), MAX_WORKERS)
    if num_tasks is not None:
        num_workers = min(num_workers, max(1, num_tasks))
    if num_workers == 1 or not _can_have_processes():
        yield from _map_here(spec, tasks)
        return
    queue = iter(tasks)
    while True:
        with _Pool(spec, num_workers) as pool:
            yield from pool.map(queue)
        if not pool.trouble:
            return
        logger.warning("%s The photos at hand are tried again, each alone: %s.", pool.trouble, _names(pool.left))
        yield from _map_alone(spec, pool.left, on_crash)
        num_workers = max(1, num_workers // 2)


def ask_features(config: FeatureConfig) -> FeatureConfig:
    """``settle_features`` in a process of its own, so that this one does not load torch for it.

    Raises:
        RunError: If that process is ended from outside.
    """
    if config.precision != "auto" and not device_of(config.device).startswith("cuda"):
        return replace(config, batch_size=choose_batch_size(config.batch_size, ""))
    if not _can_have_processes():
        return settle_features(config)
    try:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, context, initializer=follow_parent) as executor:
            with _without_interrupts():
                asked = executor.submit(settle_features, config)
            return asked.result()
    except BrokenProcessPool as error:
        raise RunError(
            "The process that loads torch was ended from outside, probably for lack of memory. Free memory, then start "
            "again."
        ) from error


class _Pool:
    """Processes at work, and what became of them."""

    def __init__(self, spec: WorkerSpec, num_workers: int) -> None:
        context = multiprocessing.get_context("spawn")  # never fork once torch is loaded
        arguments = (spec, max(1, usable_cores() // num_workers), context.Value("i", 0))
        self._executor = ProcessPoolExecutor(num_workers, context, initializer=start_worker, initargs=arguments)
        self._ahead = num_workers * TASKS_AHEAD
        self._processes: list[BaseProcess] = []
        self.trouble = ""  # why it ended early: a sentence
        self.lacks_memory = False  # whether that is the reason
        self.left: list[Task] = []  # tasks that it was given and did not do

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the pool at once, also in the middle of a photo: whoever leaves early does not want the rest."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.join(timeout=0.5)
            if process.is_alive():
                process.terminate()
                process.join()
        if self.trouble and not self.lacks_memory:
            self._find_reason()

    def map(self, queue: Iterator[Task]) -> Iterator[Any]:
        """Results, until there are no tasks left or there is trouble."""
        waiting: dict[Future[Any], tuple[Task, int]] = {}  # with the bytes of the arrays that each keeps in memory
        while True:
            while len(waiting) < self._ahead and sum(size for _, size in waiting.values()) < BYTES_AHEAD:
                task = next(queue, None)
                if task is None:
                    break
                waiting[self._submit(task)] = task, bytes_of(task)
            if not waiting:
                return
            finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in finished:
                try:
                    result = future.result()
                except (BrokenProcessPool, OutOfMemoryError) as error:
                    self.lacks_memory = isinstance(error, OutOfMemoryError)
                    self.trouble = "There was not enough memory for all worker processes at once."
                    self.left = [task for task, _ in waiting.values()]
                    return
                del waiting[future]
                yield result

    def _submit(self, task: Task) -> Future[Any]:
        try:
            with _without_interrupts():  # processes that start now inherit it
                future = self._executor.submit(work, *task)
        except BrokenProcessPool as error:
            future = Future()
            future.set_exception(error)
        self._processes = list((self._executor._processes or {}).values()) or self._processes
        return future

    def _find_reason(self) -> None:
        """How the first process ended; the executor itself ended the others by SIGTERM."""
        codes = {_exit_code(process) for process in self._processes} - {0, -signal.SIGTERM}
        name = next((signal.Signals(-code).name for code in codes if code < 0), "")
        self.lacks_memory = not codes or name == "SIGKILL"  # the system's way to free memory
        reason = ", probably by the system for lack of memory" if self.lacks_memory else ""
        self.trouble = f"A worker process was ended{f' by {name}' if name else ''}{reason}."


def _exit_code(process: BaseProcess) -> int:
    """How an ended process ended; the executor's thread may have been told so first, and not have noted it yet."""
    until = time.monotonic() + NOTING_PATIENCE
    while process.exitcode is None and time.monotonic() < until:
        time.sleep(0.01)
    return process.exitcode or 0


def _map_alone(spec: WorkerSpec, tasks: Sequence[Task], on_crash: OnCrash | None) -> Iterator[Any]:
    """Each task in a process that has the machine for itself; the next task has the same one, if it survives."""
    queue = iter(tasks)
    for task in queue:
        with _Pool(spec, 1) as pool:
            yield from pool.map(iter([task]))
            while not pool.trouble and (following := next(queue, None)):
                task = following
                yield from pool.map(iter([task]))
        if pool.trouble:
            yield _give_up(task, pool, on_crash)


def _give_up(task: Task, pool: _Pool, on_crash: OnCrash | None) -> Any:
    if pool.lacks_memory:
        raise too_large(task)
    return give_up(task, pool.trouble, on_crash)


def _map_here(spec: WorkerSpec, tasks: Iterable[Task]) -> Iterator[Any]:
    """In this process, which has the machine for itself."""
    worker = spec.make()
    for task in tasks:
        try:
            result = do_task(worker, task)
        except OutOfMemoryError:
            logger.warning("There was not enough memory for %s. It is tried again.", name_of(task))
        else:
            yield result
            continue
        gc.collect()
        try:
            yield do_task(worker, task)
        except OutOfMemoryError as error:
            raise too_large(task) from error


def _names(tasks: Sequence[Task]) -> str:
    shown = ", ".join(map(name_of, tasks[:MAX_WORKERS]))
    return f"{shown} and {len(tasks) - MAX_WORKERS} more" if len(tasks) > MAX_WORKERS else shown


def _can_have_processes() -> bool:
    """Whether the system gives the locks that processes share: containers may have no /dev/shm, or a full one."""
    try:
        with _without_interrupts():  # the process that counts what is shared starts now
            multiprocessing.get_context("spawn").Value("i", 0)
    except (OSError, ImportError) as error:
        logger.warning("One process does all the work: processes cannot share memory here (%s). Mount /dev/shm.", error)
        return False
    return True


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C and a closed terminal wait meanwhile, and never reach a process that starts now: they are sent to all."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
