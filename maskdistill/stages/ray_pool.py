"""The engine ``ray``: actors on a cluster, each with a model of its own. Only this module imports ray.

What is done stays ours: tasks come from the run's own tables and results go into its part files, so the driver, an
actor or a node may die at any moment, and the same command goes on and ends with the same bytes.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from maskdistill.config import FeatureConfig
from maskdistill.errors import ConfigError, RunError
from maskdistill.stages.tasks import (
    MAX_WORKERS,
    OnCrash,
    Task,
    WorkerSpec,
    bytes_of,
    give_up,
    name_of,
    photos_of,
    set_up,
    settle_features,
    too_large,
    work,
)

logger = logging.getLogger(__name__)

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # a busy machine takes longer than Ray's 30
os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of tasks that are not read once one has failed
TASKS_AHEAD = 2  # per actor, so that none waits for the driver
BYTES_AHEAD = 64 * 2**20  # of the arrays in those tasks: Ray keeps them in a store of shared memory
OBJECT_STORE = 200 * 2**20  # bytes, of a cluster that is started here: photos travel as paths
PATIENCE = 10  # seconds for an address to answer
LONG = 120  # seconds without an answer, and none at work, after which a sentence says so
MOST_STARTS = 3  # of an actor whose process dies as it begins
_connected: dict[str, str] = {}  # the address that this process is connected to, if ``connect`` did that
INSTALL_HINT = "The engine ray needs the library ray. Install it: pip install 'maskdistill[ray]'."


def map_there(
    spec: WorkerSpec,
    tasks: Iterable[Task],
    num_workers: int,
    address: str,
    num_tasks: int | None,
    on_crash: OnCrash | None,
) -> Iterator[Any]:
    """``pool.map_photos`` on a cluster.

    Raises:
        ConfigError: If there is no cluster at the address, it runs another version, or a node lacks the run folder.
    """
    queue = iter(tasks)
    first = next(queue, None)
    if first is None:
        return
    ray = connect(address)
    crew = _Crew(ray, spec, _gpu_share(ray, spec.torch, spec.config.features.device), _seen_from_here(spec, first))
    there = ray.cluster_resources()
    most = int(there["GPU"]) * round(1 / crew.gpu_share) if crew.gpu_share else int(there.get("CPU", 1))
    size = num_workers or most or 1
    size = size if num_tasks is None else min(size, num_tasks)
    try:
        yield from crew.map(chain([first], queue), size)
        for task in crew.left:
            yield crew.do_alone(task, on_crash)
    finally:
        crew.end()


def ask_features(config: FeatureConfig, address: str) -> FeatureConfig:
    """``settle_features`` on a process of the cluster that has a GPU, where there is one.

    Raises:
        ConfigError: As ``map_there``.
    """
    ray = connect(address)
    asked = ray.remote(settle_features).options(num_cpus=1, num_gpus=_gpu_share(ray, True, config.device))
    found: FeatureConfig = _answer(ray, asked.remote(config))
    return found


def connect(address: str) -> Any:
    """Ray, connected once for each address; without one, and none in RAY_ADDRESS, a cluster of this machine.

    Raises:
        ConfigError: If ray is not installed, nothing answers there, or the versions of ray or Python differ.
    """
    _take_token()
    try:
        import ray
    except ImportError as error:
        raise ConfigError(INSTALL_HINT) from error
    address = address or os.environ.get("RAY_ADDRESS", "")
    if ray.is_initialized():
        if _connected.get("address", address) == address:  # without an entry somebody else connected, who knows where
            return ray
        ray.shutdown()
    _require_answer(address)
    own = {} if address else {"object_store_memory": OBJECT_STORE, "include_dashboard": False}
    try:
        with _signals_kept():
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.WARNING, **own)
    except ConnectionError as error:
        raise ConfigError(
            f"No Ray cluster was found at '{address}'. Start one (ray start --head), or give --address as that says. "
            "Where a cluster wants a token, this machine needs the same file ~/.ray/auth_token as the head."
        ) from error
    except (RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(
            f"The Ray cluster at '{address or 'this machine'}' cannot be used: {said} Ray and Python must be of the "
            "same version on all nodes."
        ) from error
    except Exception as error:  # Ray raises no other kind where a node of this machine does not come up in time
        raise ConfigError(
            f"Ray cannot be started on this machine: {_short(error)} Free memory, or try again."
        ) from error
    _connected["address"] = address
    return ray


def _take_token() -> None:
    """Clusters of newer versions want a token: Ray sends the one that lies here if it is told so before it loads."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser()
    if "RAY_AUTH_TOKEN" in os.environ or token.is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes over SIGTERM as it starts; here it ends a run as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _require_answer(address: str) -> None:
    """Ray itself tries a wrong address for a minute, and then ends the process."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not address or (not colon and address in ("auto", "local")):
        return
    if not (host and port.isdecimal() and int(port) < 2**16):
        raise ConfigError(f"--address wants HOST:PORT of a Ray cluster, ray://HOST:PORT or auto, got '{address}'.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except OSError as error:
        raise ConfigError(
            f"Nothing answers at '{address}' ({error.strerror or error}). Start Ray there (ray start --head), or give "
            "the address that it says."
        ) from error


def _gpu_share(ray: Any, torch: bool, device: str) -> float:
    """How much of a GPU a process asks for: it waits while masks are cut on a core, so several share one."""
    there = ray.cluster_resources()
    gpus, cores = int(there.get("GPU", 0)), int(there.get("CPU", 1))
    return 1 / min(MAX_WORKERS, max(1, cores // gpus)) if torch and device in ("auto", "cuda") and gpus else 0


def _seen_from_here(spec: WorkerSpec, task: Task) -> tuple[Path, ...]:
    """What every node must see too: the run, the folder of the photos."""
    folders = [spec.run, *(photo.path.parent for photo in photos_of(task))]
    return tuple(path for path in folders if path.is_dir())


class PhotoActor:
    """A process of the cluster: one worker, one thread."""

    def __init__(self, spec: WorkerSpec, wanted: tuple[Path, ...]) -> None:
        self._trouble = _what_is_missing(wanted)
        if not self._trouble:
            set_up(spec, 1, 0)  # Ray shows an actor its own GPU alone

    def start(self) -> None:
        """Comes back once the worker is made, if its process survives that."""

    def work(self, task: Task) -> Any:
        """The result of one task."""
        if self._trouble:
            raise ConfigError(self._trouble)
        return work(*task)


def _what_is_missing(wanted: tuple[Path, ...]) -> str:
    """A sentence, empty if this node sees all; a folder that is new may take a while to be seen."""
    until = time.monotonic() + PATIENCE
    while missing := [path for path in wanted if not path.is_dir()]:
        if time.monotonic() > until:
            return (
                f"The node {socket.gethostname()} does not see {missing[0]}. Runs and photos must lie on a file system "
                "that all nodes see, under the same paths."
            )
        time.sleep(0.5)
    return ""


def _answer(ray: Any, promise: Any) -> Any:
    """What a process says, or the error that it raised, as it raised it."""
    try:
        return ray.get(promise)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error


class _Crew:
    """Actors at work on tasks."""

    def __init__(self, ray: Any, spec: WorkerSpec, gpu_share: float, wanted: tuple[Path, ...]) -> None:
        self._ray, self._wanted, self.gpu_share = ray, wanted, gpu_share
        self._spec = spec  # small, so it travels with the actor: one that starts again still has it
        self._actors: list[Any] = []
        self.left: list[Task] = []  # whose actor died: each of them may be what it died of

    def map(self, queue: Iterator[Task], size: int) -> Iterator[Any]:
        """Results, in any order. An actor that dies gets no work until it is back, on another node if its own is gone.

        Raises:
            RunError: If none of them can start.
        """
        actors = [self._hire() for _ in range(size)]
        waiting: dict[Any, tuple[int, Task | None]] = {}  # by promise the actor's number and task; None: it is starting
        waiting.update((actor.start.remote(), (number, None)) for number, actor in enumerate(actors))
        free: deque[int] = deque()
        failed: Counter[int] = Counter()  # starts, by actor
        more = True  # whether there may be tasks left
        while True:
            while more and free and sum(bytes_of(task) for _, task in waiting.values() if task) < BYTES_AHEAD:
                task = next(queue, None)
                more = task is not None
                if task is not None:
                    number = free.popleft()
                    waiting[actors[number].work.remote(task)] = number, task
            at_work = any(task for _, task in waiting.values())
            if not (more or at_work):
                return
            done = self._wait(list(waiting), idle=not at_work)
            number, task = waiting.pop(done)
            starting = (number, None) in waiting.values()
            try:
                result = _answer(self._ray, done)
            except self._deaths() as error:
                free = deque(other for other in free if other != number)
                if task is None:
                    failed[number] += 1
                else:
                    logger.warning("A process was lost at work on %s, which is tried again alone.", name_of(task))
                    self.left.append(task)
                if failed[number] < MOST_STARTS and not starting:
                    waiting[actors[number].start.remote()] = number, None
                elif not (waiting or free):
                    raise _cannot_start(error) from error
            else:
                if task is not None:
                    yield result
                if not starting:
                    free.extend([number] * (TASKS_AHEAD if task is None else 1))

    def do_alone(self, task: Task, on_crash: OnCrash | None) -> Any:
        """The result of a task whose actor died, by an actor of its own."""
        actor = self._hire()
        try:
            _answer(self._ray, self._wait([actor.start.remote()], idle=True))
        except self._deaths() as error:
            raise _cannot_start(error) from error
        try:
            return _answer(self._ray, actor.work.remote(task))
        except self._deaths() as error:
            if isinstance(error, self._ray.exceptions.OutOfMemoryError) or "OOM" in str(error):
                raise too_large(task) from error
            return give_up(task, f"Ray says: {_short(error)}", on_crash)
        finally:
            self._actors.remove(actor)
            self._ray.kill(actor)

    def end(self) -> None:
        """End all actors at once, also in the middle of a photo."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors.clear()

    def _hire(self) -> Any:
        options = {"num_cpus": 1, "num_gpus": self.gpu_share, "max_restarts": -1, "max_task_retries": 0}
        kind = self._ray.remote(PhotoActor).options(**options)
        self._actors.append(kind.remote(self._spec, self._wanted))
        return self._actors[-1]

    def _wait(self, promises: list[Any], *, idle: bool) -> Any:
        """The first that is answered; nobody at work for long, it is said what that may mean."""
        while True:
            done, _ = self._ray.wait(promises, timeout=LONG if idle else None)
            if done:
                return done[0]
            logger.warning("No process has begun after %d s. The cluster may have no free core or GPU.", LONG)

    def _deaths(self) -> tuple[type[Exception], ...]:
        known = self._ray.exceptions
        return known.RayActorError, known.OutOfMemoryError, known.WorkerCrashedError


def _cannot_start(error: Exception) -> RunError:
    return RunError(f"No process of the cluster can start its work. Ray says: {_short(error)}")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
