"""Shared by tests that start a server by a command."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

PATIENCE = 300  # seconds


@pytest.fixture
def unused_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def _serving(
    command: Sequence[object], folder: Path, port: int, environment: Mapping[str, str], *, asks: str = "_stcore/health"
) -> Iterator[str]:
    server = subprocess.Popen([str(word) for word in command], cwd=folder, env=environment, start_new_session=True)
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/{asks}", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # make, and the server that it started
        server.wait(30)


def _wait_until_healthy(address: str, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"The server did not answer at {address}.")


@pytest.fixture
def serving() -> Callable[..., AbstractContextManager[str]]:
    """``serving(command, folder, port, environment)``: address of what the command serves, ended afterwards.

    ``asks`` is the path that answers once it is there.
    """
    return _serving
