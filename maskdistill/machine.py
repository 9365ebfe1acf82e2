"""What this machine has: cores and devices. Loads no torch."""

import os
import platform
import sys
from pathlib import Path


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    return sum(path.name.removeprefix("nvidia").isdigit() for path in Path("/dev").glob("nvidia[0-9]*"))
