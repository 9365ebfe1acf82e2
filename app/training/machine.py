"""What a job takes of the machine: cores, memory, and NVIDIA's GPUs where their tool is installed."""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil
import streamlit as st

_TTL = 3  # seconds that what the GPUs do is kept: all sessions ask their tool together, for it takes part of a second
_PATIENCE = 2.0  # seconds that nvidia-smi may take
_QUERY = "utilization.gpu,memory.used,memory.total"


@dataclass(frozen=True)
class Reading:
    """The processes of a job at one moment."""

    time: float  # seconds, of a clock that only goes forward
    cpu_seconds: Mapping[tuple[int, float], float] = field(default_factory=dict)  # by pid and start, so far
    memory: int = 0  # bytes, resident


@dataclass(frozen=True)
class Gpu:
    """One GPU as a whole, whoever uses it."""

    busy: float  # share of the last moments, 0 to 1
    used: int  # bytes
    total: int  # bytes


def read_processes(pid: int) -> Reading:
    """CPU time and memory of a process and all it started; nothing in it if the process has gone."""
    spent: dict[tuple[int, float], float] = {}
    memory = 0
    try:
        leader = psutil.Process(pid)
        family = [leader, *leader.children(recursive=True)]
    except psutil.Error:
        return Reading(time.monotonic())
    for process in family:
        try:
            times = process.cpu_times()
            spent[process.pid, process.create_time()] = times.user + times.system
            memory += process.memory_info().rss
        except psutil.Error:  # ended meanwhile
            continue
    return Reading(time.monotonic(), spent, memory)


def cores_busy(before: Reading, now: Reading) -> float:
    """Cores that were busy on average between two readings; a process counts from when it is first seen."""
    seconds = now.time - before.time
    if seconds <= 0:
        return 0.0
    spent = sum(max(0.0, value - before.cpu_seconds.get(key, value)) for key, value in now.cpu_seconds.items())
    return min(spent / seconds, float(os.cpu_count() or 1))


@st.cache_data(ttl=_TTL, max_entries=1, show_spinner=False)
def gpus() -> list[Gpu]:
    """What ``read_gpus`` said within the last seconds."""
    return read_gpus()


def read_gpus() -> list[Gpu]:
    """NVIDIA's GPUs, without loading torch; none if there are none or their tool does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_gpus(answer.stdout)


def parse_gpus(text: str) -> list[Gpu]:
    """The table that ``nvidia-smi`` prints: percent, MiB used, MiB in all; a card that does not tell is left out."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 3 and all(cell.isdecimal() for cell in cells):
            busy, used, total = map(int, cells)
            found.append(Gpu(busy / 100, used * 2**20, total * 2**20))
    return found


def describe(before: Reading, now: Reading, gpus: list[Gpu]) -> str:
    """One line for people."""
    total = psutil.virtual_memory().total
    parts = [f"{cores_busy(before, now):.1f} of {os.cpu_count()} cores", f"{_gb(now.memory)} of {_gb(total)} memory"]
    for number, gpu in enumerate(gpus):
        name = "GPU" if len(gpus) == 1 else f"GPU {number}"
        parts.append(f"{name} {gpu.busy:.0%}, {_gb(gpu.used)} of {_gb(gpu.total)}")
    return " · ".join(parts)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
