"""Where photos meet processes: one way to give them work, and two engines that do it."""

from collections.abc import Generator, Iterable, Sized
from dataclasses import dataclass
from typing import Any, Literal

from maskdistill.config import FeatureConfig
from maskdistill.stages import local_pool
from maskdistill.stages.tasks import OnCrash, Task, WorkerSpec

EngineName = Literal["local", "ray"]


@dataclass(frozen=True)
class Workers:
    """How many processes work on photos, and where. Neither changes a result."""

    count: int = 0  # 0: one a core of this machine or the cluster, at most eight a GPU there
    engine: EngineName = "local"
    address: str = ""  # of the cluster, as Ray reads it; empty: RAY_ADDRESS, else a cluster of this machine alone


HERE = Workers()


def map_photos(
    spec: WorkerSpec,
    tasks: Iterable[Task],
    workers: Workers = HERE,
    num_tasks: int | None = None,
    on_crash: OnCrash | None = None,
) -> Generator[Any, None, None]:
    """Process photos and yield their results as they finish, in any order.

    A process that dies takes no other photo with it: what it had in hand is done again, each photo alone.

    Args:
        spec: What each process makes once. Every GPU of the machine or cluster is used unless one is named.
        tasks: Arguments of each call. They are drawn as processes come free, so they may be made, and be large.
        workers: How many, and where; one of the engine ``local`` is this process.
        num_tasks: How many tasks there are, if known and ``tasks`` has no length: no more processes are started.
        on_crash: Result of a task that alone crashes its process, and not for lack of memory, from the task and a
            sentence. None raises an error.

    Raises:
        OutOfMemoryError: If there is not enough memory for a photo alone, naming it.
        RunError: If a photo alone crashes its process and there is no ``on_crash``.
        ConfigError: If the cluster cannot be reached, or does not fit this process.
    """
    num_tasks = len(tasks) if isinstance(tasks, Sized) else num_tasks
    if workers.engine == "ray":
        from maskdistill.stages import ray_pool  # which needs ray

        yield from ray_pool.map_there(spec, tasks, workers.count, workers.address, num_tasks, on_crash)
    else:
        yield from local_pool.map_here(spec, tasks, workers.count, num_tasks, on_crash)


def ask_features(config: FeatureConfig, workers: Workers = HERE) -> FeatureConfig:
    """The settings with what is left to the machine that does the work, asked in another process if that takes torch.

    Raises:
        RunError: If that process is ended from outside.
        ConfigError: As ``map_photos``.
    """
    if workers.engine == "ray":
        from maskdistill.stages import ray_pool

        return ray_pool.ask_features(config, workers.address)
    return local_pool.ask_features(config)
