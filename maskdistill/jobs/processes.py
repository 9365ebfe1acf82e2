"""Which process is meant by a number, whether it is alive, and ending what it left behind.

A process is known by its number, its start and its machine, none of which a changed clock or a reused number disturbs.
"""

import contextlib
import json
import os
import socket
import sys
from dataclasses import asdict, dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Self

import psutil

MARK = "MASKDISTILL_JOB"  # environment variable that every process of an attempt inherits: its token
_PROC = Path("/proc")
_ROUNDS = 5  # a process that is being ended may have started one more


class Life(Enum):
    """What can be known of a process from here."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"  # on another machine, or in another container


@dataclass(frozen=True)
class Place:
    """Where numbers of processes mean something: a machine since it was switched on, and a container of it."""

    host: str  # for people
    machine: str  # its id, empty if it has none
    boot: str  # changes when the machine is restarted, empty if unknown
    namespace: str  # of process numbers, empty if there is but one


@dataclass(frozen=True)
class ProcessId:
    """One process, never to be mistaken for another."""

    pid: int
    began: str  # clock ticks since the machine was switched on, where the system tells; else seconds since 1970
    place: Place

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process that has this number now; None if none has."""
        began = _start_of(pid)
        return None if began is None else cls(pid, began, here())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Inverse of ``to_json``."""
        values = json.loads(text)
        return cls(values["pid"], values["began"], Place(**values["place"]))

    def to_json(self) -> str:
        """Text for a database."""
        return json.dumps(asdict(self))

    @property
    def is_local(self) -> bool:
        """Whether it is, or was, where this process is."""
        return self.place == here()

    @property
    def was_rebooted(self) -> bool:
        """Whether its machine is this one, restarted since. Without an id it may be another one of the same name."""
        mine = here()
        same = bool(mine.machine) and (self.place.host, self.place.machine) == (mine.host, mine.machine)
        return same and self.place.boot != mine.boot

    def life(self) -> Life:
        """Whether it is alive. A zombie is not."""
        if self.was_rebooted:
            return Life.DEAD
        if not self.is_local:
            return Life.UNKNOWN
        return Life.ALIVE if _start_of(self.pid) == self.began else Life.DEAD


@lru_cache(maxsize=1)
def here() -> Place:
    """The place of this process."""
    namespace = ""
    with contextlib.suppress(OSError):
        namespace = os.readlink(_PROC / "self/ns/pid")
    return Place(
        host=socket.gethostname(),
        machine=_read(Path("/etc/machine-id")),
        boot=_read(_PROC / "sys/kernel/random/boot_id"),
        namespace=namespace,
    )


def end_processes(token: str, *, spare: int = 0) -> int:
    """End every process of an attempt but ``spare``, wherever it has gone; returns how many there were."""
    ended = 0
    for _ in range(_ROUNDS):
        found = [process for process in _marked(token) if process.pid != spare]
        if not found:
            break
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                process.kill()
        psutil.wait_procs(found, timeout=1.0)
        ended += len(found)
    return ended


def count_oom_kills() -> int | None:
    """How often this system has ended a process for lack of memory since it was switched on; None if unknown."""
    for line in _read(_PROC / "vmstat").splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return None


def _marked(token: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == token:
                found.append(process)
    return found


def _start_of(pid: int) -> str | None:
    """When a process began; None if there is none, or only a zombie."""
    if sys.platform == "linux":
        # The name stands in brackets and may hold anything; after it come the state and, as the 20th, the start.
        fields = _read(_PROC / str(pid) / "stat").rpartition(")")[2].split()
        return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else None
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            return f"{process.create_time():.2f}"
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
