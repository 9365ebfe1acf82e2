"""One slot a device: jobs of all runs of a user on this machine take turns.

A slot is a locked file. The kernel lets go of it when its process dies, however that happens. The files lie in the
user's cache folder and not with the runs: two servers may keep their runs in different places, and a folder of runs may
be shared by machines that have devices of their own.
"""

import socket
from contextlib import ExitStack

from filelock import FileLock, Timeout

from maskdistill.errors import JobError, RunError
from maskdistill.machine import num_gpus
from maskdistill.storage.user_folders import cache_dir


def take_slot(device: str) -> ExitStack | None:
    """Take the device, at once or not at all.

    Args:
        device: As ``device_of`` gives it.

    Returns:
        What lets go of it when closed; None if another job has it.
    """
    with ExitStack() as taken:
        for name in _parts(device):
            try:
                taken.enter_context(_lock(name).acquire(timeout=0))
            except Timeout:
                return None
        return taken.pop_all()


def _parts(device: str) -> list[str]:
    """The slots that make up a device; always in the same order, so that two jobs cannot wait for each other."""
    return [f"cuda:{number}" for number in range(max(1, num_gpus()))] if device == "cuda" else [device]


def _lock(part: str) -> FileLock:
    try:
        folder = cache_dir() / "slots"
        folder.mkdir(parents=True, exist_ok=True)
    except (RunError, OSError) as error:
        raise JobError(
            f"No folder for the locks of the devices ({error}). Set MASKDISTILL_CACHE to a folder that can be written."
        ) from error
    return FileLock(folder / f"{socket.gethostname()}-{part.replace(':', '-')}.lock")
