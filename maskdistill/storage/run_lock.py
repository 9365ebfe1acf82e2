"""Who works on a run: one command alone, or the shards of one set of masks side by side.

A lock is a file that the system unlocks when its process ends, however that happens.
"""

import json
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from maskdistill.datasets.addresses import without_secrets
from maskdistill.errors import RunError
from maskdistill.files import remove_leftovers, require_writable

PATIENCE = 0.2  # seconds to wait for a lock: whoever asks whether it is held, holds it for a moment
_RUN = ".stages.lock"  # held while anything of the run as a whole is written
_SHARDS = ".shard-*.lock"
_LENGTH = 120  # characters of a command in a message
_ONE_ASKS = threading.Lock()  # two threads of a server that ask at the same time would take each other for a command


@dataclass(frozen=True)
class Holder:
    """Who holds a lock. It stands in a file beside the lock; if it is there and the lock is free, it was killed."""

    command: str
    pid: int
    host: str
    since: float  # seconds since 1970

    @classmethod
    def of_this_process(cls) -> Self:
        """What a person would recognize this process by."""
        program, arguments = Path(sys.argv[0] or "python"), sys.argv[1:]
        if program.name == "job_worker.py":
            command = f"job {arguments[-1]} of the app"
        else:
            name = program.parent.name if program.name == "__main__.py" else program.name
            command = without_secrets(shlex.join([name, *arguments]))
        return cls(command, os.getpid(), socket.gethostname(), time.time())

    @classmethod
    def read(cls, lock: Path) -> Self | None:
        """Who holds a lock, or held it when it was killed; None if nobody said so."""
        try:
            return cls(**json.loads(_note_path(lock).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def __str__(self) -> str:
        command = self.command if len(self.command) <= _LENGTH else f"{self.command[: _LENGTH - 1]}…"
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"'{command}', process {self.pid} on {self.host}, since {since}"


class RunBusyError(RunError):
    """Another process is at work on the run."""

    def __init__(self, run: Path, holder: Holder | None = None) -> None:
        who = f": {holder}" if holder else ""
        super().__init__(f"Another process is at work on {run}{who}. Wait for it, or stop it first.")
        self.run, self.holder = run, holder

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.run, self.holder)


def refuse_if_held(run: Path) -> None:
    """Find out early what ``hold_run`` would refuse, before anything is made or read.

    Raises:
        RunBusyError: If another process is at work.
    """
    for path in _locks(run):
        try:
            with FileLock(path).acquire(timeout=PATIENCE):
                pass
        except Timeout as error:
            raise RunBusyError(run, Holder.read(path)) from error
        except (OSError, NotImplementedError):  # ``hold_run`` says what is wrong
            return


@contextmanager
def hold_run(run: Path, *, masks: str = "", patience: float = PATIENCE) -> Iterator[None]:
    """Be the only process that writes into a run.

    Args:
        run: Run folder; made if missing.
        masks: Fingerprint of masks whose shards may be at work meanwhile; empty allows none.
        patience: Seconds to wait for the lock.

    Raises:
        RunBusyError: If another process is at work.
    """
    require_writable(run)
    with _hold(run, _RUN, patience):
        for path in run.glob(_SHARDS):
            if not (masks and masks[:12] in path.name) and _is_held(path):
                raise RunBusyError(run, Holder.read(path))
        yield


@contextmanager
def hold_shard(run: Path, masks: str, shard: str) -> Iterator[None]:
    """Be the only process that makes a shard of some masks. To be taken while the run is held.

    Args:
        run: Run folder.
        masks: Fingerprint of the masks.
        shard: Name of the shard.

    Raises:
        RunBusyError: If another process makes it.
    """
    with _hold(run, f".shard-{masks[:12]}-{shard}.lock", PATIENCE):
        yield


def is_shard_held(run: Path, masks: str) -> bool:
    """Whether a process makes a shard of some masks."""
    return any(_is_held(path) for path in run.glob(f".shard-{masks[:12]}-*.lock"))


def is_run_held(run: Path) -> bool:
    """Whether a process is at work on a run, or on a shard of it."""
    return any(_is_held(path) for path in _locks(run))


def _locks(run: Path) -> Iterator[Path]:
    return (path for name in (_RUN, _SHARDS) for path in run.glob(name))


@contextmanager
def _hold(run: Path, name: str, patience: float) -> Iterator[None]:
    run.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(run / name).acquire(timeout=patience)
    except Timeout as error:
        raise RunBusyError(run, Holder.read(run / name)) from error
    except NotImplementedError as error:
        raise RunError(f"The file system of {run} knows no locks. Choose a run folder on another one.") from error
    with held:
        note = _note_path(run / name)
        if note.exists():
            remove_leftovers(run)
        with suppress(OSError):  # a full disk: whoever asks learns less
            note.write_text(json.dumps(asdict(Holder.of_this_process())), encoding="utf-8")
        try:
            yield
        finally:
            with suppress(OSError):
                note.unlink(missing_ok=True)


def _note_path(lock: Path) -> Path:
    return lock.with_suffix(".json")


def _is_held(path: Path) -> bool:
    try:
        with _ONE_ASKS, FileLock(path).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # what may not be written, nobody works on from here
        return False
