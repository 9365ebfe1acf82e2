"""How fast this machine is: what its finished stages took, and a short benchmark for what it has not done yet.

Both are kept in ``speeds.json`` in the user's cache folder, by machine, for such a folder may be shared by several.
"""

import json
import logging
import socket
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from maskdistill.files import write_atomically
from maskdistill.storage.user_folders import cache_dir

logger = logging.getLogger(__name__)

VERSION = 1  # raise it when the costs change that measurements are compared with; older files are then left unread
KEPT = 5  # measurements of one kind of work, the newest; their median counts
SIDE = 256  # rows and columns of the benchmark's matrices: in cache, so that others at work disturb it little
BENCHMARK_SECONDS = 0.3
REFERENCE_GFLOPS = 92.5  # per second, of the benchmark on one core of the machine that the costs were measured on


@dataclass(frozen=True)
class Measured:
    """One finished piece of work."""

    kind: str  # stages of one kind run the same code
    drivers: dict[str, Any]  # settings that decide its speed
    seconds: float
    expected: float  # seconds, of the same work on the reference machine with as many cores

    @property
    def slowness(self) -> float:
        """How much longer it took than on the reference machine."""
        return self.seconds / self.expected


class Speeds:
    """What is known of this machine. Nothing is read before the first question, and nothing raises for want of a file.

    Args:
        num_cores: Cores that this process may use.
        path: Where it is kept; None is the user's cache folder.
    """

    def __init__(self, num_cores: int, path: Path | None = None) -> None:
        self._machine = f"{socket.gethostname()}, {num_cores} cores"
        self._path = path

    def note(self, measured: Measured) -> None:
        """Remember a measurement; a cache folder that cannot be written is named in the log."""

        def add(record: dict[str, Any]) -> None:
            same = [
                item
                for item in record["measured"]
                if (item["kind"], item["drivers"]) == (measured.kind, measured.drivers)
            ]
            others = [item for item in record["measured"] if item not in same]
            record["measured"] = [*others, *same[1 - KEPT :], asdict(measured)]

        self._change(add)

    def slowness(self, kind: str, drivers: Mapping[str, Any]) -> tuple[float, bool] | None:
        """How much slower than the reference this machine did such work.

        Returns:
            The median factor, and whether it is of the very same drivers rather than of others; None if nothing of
            the kind was measured.
        """
        known = [item for item in self._read()["measured"] if item["kind"] == kind]
        same = [item for item in known if _agrees(item["drivers"], drivers)]
        if not known:
            return None
        # The lower one of two: whatever else was at work then can only have slowed it down.
        return statistics.median_low(Measured(**item).slowness for item in same or known), bool(same)

    def benchmark(self) -> float:
        """How much slower than the reference one core is, by a product of matrices; timed once a machine."""
        gflops = self._read()["gflops"]
        if not gflops:
            gflops = time_products()
            self._change(lambda record: record.update(gflops=gflops))
        return REFERENCE_GFLOPS / gflops

    def _change(self, change: Callable[[dict[str, Any]], None]) -> None:
        try:
            content = self._read_all()
            change(content["machines"].setdefault(self._machine, _empty()))
            write_atomically(self._file(), json.dumps(content, indent=1))
        except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home at all
            logger.info("The speed of this machine is not remembered: %s", error)

    def _read(self) -> dict[str, Any]:
        return self._read_all()["machines"].get(self._machine) or _empty()

    def _read_all(self) -> dict[str, Any]:
        try:
            content = json.loads(self._file().read_text(encoding="utf-8"))
        except (OSError, ValueError, RuntimeError):
            content = None
        known = isinstance(content, dict) and content.get("version") == VERSION
        return content if known else {"version": VERSION, "machines": {}}

    def _file(self) -> Path:
        return self._path or cache_dir() / "speeds.json"


def time_products() -> float:
    """GFLOP per second of one core in products of float32 matrices, the best of some; it takes a third of a second."""
    matrix = np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype=np.float32)
    best, ends = float("inf"), time.monotonic() + BENCHMARK_SECONDS
    with threadpool_limits(1):
        while time.monotonic() < ends:
            # CPU time: others that use the machine now will not use it for the whole of a long stage.
            began = time.thread_time()
            np.dot(matrix, matrix)
            best = min(best, time.thread_time() - began)
    return 2 * SIDE**3 / max(best, 1e-6) / 1e9


def _empty() -> dict[str, Any]:
    return {"gflops": 0.0, "measured": []}


def _agrees(known: Any, asked: Any) -> bool:
    """Whether drivers are the same, as far as they are asked for: None agrees with anything."""
    if isinstance(known, dict) and isinstance(asked, Mapping):
        return known.keys() == asked.keys() and all(_agrees(known[name], asked[name]) for name in known)
    return asked is None or known == asked
