"""Many photos over several processes: one photo a task, one thread a process, a bounded window of tasks."""

import multiprocessing
from collections.abc import Generator, Iterable, Iterator, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from maskdistill.errors import RunError
from maskdistill.machine import usable_cores
from maskdistill.stages.tasks import WorkerSpec, do_task, settle_precision, start_worker, work

MAX_WORKERS = 8  # each holds a copy of the model; more cores give each more threads
TASKS_AHEAD = 3  # per process, so that none waits for the parent
BYTES_AHEAD = 256 * 2**20  # of the arrays in those tasks, beyond which none is added


def map_photos(
    spec: WorkerSpec, tasks: Iterable[tuple[Any, ...]], num_workers: int = 0, num_tasks: int | None = None
) -> Generator[Any, None, None]:
    """Process photos and yield their results as they finish, in any order.

    One process with one thread per core beats one process with all the threads: nothing waits between small products,
    and reading, cutting and encoding overlap with another photo's forward pass.

    Args:
        spec: What each process makes once. Every GPU of the machine is used unless one is named.
        tasks: Arguments of each call. They are drawn as processes come free, so they may be made, and be large.
        num_workers: Processes; 0 chooses one per core, at most ``MAX_WORKERS``; 1 works in this process.
        num_tasks: How many tasks there are, if known and ``tasks`` has no length: no more processes are started.

    Raises:
        OutOfMemoryError: If there is not enough memory for a task.
        RunError: If a process was ended from outside, usually for lack of memory.
    """
    cores = usable_cores()
    num_workers = num_workers or min(cores, MAX_WORKERS)
    num_tasks = len(tasks) if isinstance(tasks, Sized) else num_tasks
    if num_tasks is not None:
        num_workers = min(num_workers, max(1, num_tasks))
    if num_workers == 1:
        worker = spec.make()
        yield from (do_task(worker, task) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")  # never fork once torch is loaded
    arguments = (spec, max(1, cores // num_workers), context.Value("i", 0))
    pool = ProcessPoolExecutor(num_workers, context, initializer=start_worker, initargs=arguments)
    try:
        yield from _stream(pool, tasks, num_workers * TASKS_AHEAD)
    except BrokenProcessPool as error:
        raise RunError(
            "A worker process was ended from outside, usually for lack of memory. Finished photos are kept: "
            "start the same command again, with --workers 1 if it happens again."
        ) from error
    finally:
        _shut_down(pool)


def _stream(pool: ProcessPoolExecutor, tasks: Iterable[tuple[Any, ...]], ahead: int) -> Iterator[Any]:
    waiting: dict[Future, int] = {}  # bytes of the arrays that each keeps in memory
    queue = iter(tasks)
    while True:
        while len(waiting) < ahead and sum(waiting.values()) < BYTES_AHEAD:
            task = next(queue, None)
            if task is None:
                break
            waiting[pool.submit(work, *task)] = sum(getattr(item, "nbytes", 0) for item in task)
        if not waiting:
            return
        finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in finished:
            del waiting[future]
            yield future.result()


def _shut_down(pool: ProcessPoolExecutor) -> None:
    """End the pool at once, also in the middle of a photo: whoever leaves early does not want the rest."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.join(timeout=0.5)
        if process.is_alive():
            process.terminate()
            process.join()


def ask_precision(precision: str, device: str) -> str:
    """``settle_precision`` in a process of its own, so that this one does not load torch for it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(settle_precision, precision, device).result()
