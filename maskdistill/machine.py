"""What this machine has: cores, devices, and not always enough memory. Loads no torch."""

import ctypes
import errno
import functools
import os
import platform
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from threadpoolctl import ThreadpoolController

from maskdistill.errors import OutOfMemoryError

# torch's error has a type of its own, of which nothing is imported here; its CPU allocator raises RuntimeError.
_NO_MEMORY = re.compile(
    r"MemoryError|out of memory|not enough memory|an't allocate memory|annot allocate memory|ALLOC_FAILED"
)


# torch and what stands on it import one another in circles: of two threads that begin at different ends one fails.
heavy_imports = threading.RLock()

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Cores this process may use: those it may run on, or as many as a container's share of time is worth, rounded."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota()
    return cores if quota is None else max(1, min(cores, round(quota)))


def one_thread() -> AbstractContextManager[object]:
    """A context in which numpy's and scipy's products take one thread: the same bits whatever the number of cores.

    The libraries that have threads are looked for once, since looking takes longer than what a photo does with them.
    """
    return _thread_pools().limit(limits=1)


@functools.cache
def _thread_pools() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401 - it brings a library of its own, which must be there to be found

    return ThreadpoolController()


def _cpu_quota() -> float | None:
    """Cores' worth of time that the control group of this process is given; None if it is not limited."""
    try:
        if (_CGROUP / "cpu.max").is_file():  # version 2, as a container sees its own group
            quota, period = (_CGROUP / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota, period = (
                (_CGROUP / "cpu" / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")
            )
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # "max", or no such files
        return None


def device_of(name: str) -> str:
    """What ``features.device`` stands for here, without asking torch, which takes seconds to load.

    Returns:
        ``cpu``, ``mps``, ``cuda`` for every GPU, or ``cuda:N``.
    """
    if name != "auto":
        return name
    if num_gpus() and os.environ.get("CUDA_VISIBLE_DEVICES") != "":
        return "cuda"
    return "mps" if sys.platform == "darwin" and platform.machine() == "arm64" else "cpu"


def num_gpus() -> int:
    """NVIDIA's devices, as Linux shows them."""
    return sum(path.name.removeprefix("nvidia").isdecimal() for path in Path("/dev").glob("nvidia[0-9]*"))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, the system, or torch on any device, found too little memory."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if not isinstance(error, RuntimeError):
        return isinstance(error, MemoryError | OutOfMemoryError)
    return says_no_memory(f"{type(error).__name__}: {error}")


def says_no_memory(text: str) -> bool:
    """Whether a message, or a log, is about a lack of memory."""
    return _NO_MEMORY.search(text) is not None


@contextmanager
def explain_lack_of_memory() -> Iterator[None]:
    """Turn a lack of memory into an error that says what to do.

    Raises:
        OutOfMemoryError: If the work inside found too little memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OutOfMemoryError(
            f"There was not enough memory ({reason}). What is finished is kept. Pass --workers 1, set "
            "features.shorter_side or stage1.batch_size and stage2.batch_size lower, then start again."
        ) from error


def give_back_memory() -> None:
    """Let the system have what this process has freed but keeps for its next need, as far as its libraries can.

    After much was read, that is as much again as is in use.
    """
    if (arrow := sys.modules.get("pyarrow")) is not None:
        arrow.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):  # of the GNU C library alone
        ctypes.CDLL(None).malloc_trim(0)
