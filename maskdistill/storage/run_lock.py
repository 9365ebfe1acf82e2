"""Who works on a run: one command alone, or the shards of one set of masks side by side.

A lock is a file that the system unlocks when its process ends, however that happens.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from maskdistill.errors import RunError

PATIENCE = 0.2  # seconds to wait for a lock: whoever asks whether it is held, holds it for a moment
_RUN = ".stages.lock"  # held while anything of the run as a whole is written
_ONE_ASKS = threading.Lock()  # two threads of a server that ask at the same time would take each other for a command


class RunBusyError(RunError):
    """Another process is at work on the run."""

    def __init__(self, run: Path) -> None:
        super().__init__(f"Another process is at work on {run}. Wait for it, or stop it first.")
        self.run = run

    def __reduce__(self) -> tuple:
        return type(self), (self.run,)


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
    with _hold(run, _RUN, patience):
        if any(_is_held(path) for path in run.glob(".shard-*.lock") if not (masks and masks[:12] in path.name)):
            raise RunBusyError(run)
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


def is_run_held(run: Path) -> bool:
    """Whether a process is at work on a run, or on a shard of it."""
    return any(_is_held(path) for name in (_RUN, ".shard-*.lock") for path in run.glob(name))


@contextmanager
def _hold(run: Path, name: str, patience: float) -> Iterator[None]:
    run.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(run / name).acquire(timeout=patience)
    except Timeout as error:
        raise RunBusyError(run) from error
    with held:
        yield


def _is_held(path: Path) -> bool:
    try:
        with _ONE_ASKS, FileLock(path).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # what may not be written, nobody works on from here
        return False
