"""The suite's own rule: no socket leads beyond this machine, in tests or in what they start."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

FAR = "192.0.2.1"  # of documentations, nobody's


@pytest.fixture
def attempts(no_other_machine: Path):
    """What was tried, forgotten at the end."""
    yield lambda: no_other_machine.read_text() if no_other_machine.is_file() else ""
    no_other_machine.unlink(missing_ok=True)


@pytest.mark.parametrize(
    "reach",
    [
        lambda: socket.create_connection((FAR, 80), timeout=1),
        lambda: socket.socket().connect_ex((FAR, 80)),
        lambda: socket.socket(type=socket.SOCK_DGRAM).connect((FAR, 1)),
        lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", (FAR, 53)),
        lambda: socket.getaddrinfo("example.org", 80),
        lambda: socket.gethostbyname("example.org"),
        lambda: socket.socket().bind(("0.0.0.0", 0)),
        lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80)),
    ],
)
def test_other_machines_are_refused_and_written_down(reach, attempts):
    with pytest.raises(OSError, match="may not reach"):
        reach()
    assert "socket." in attempts()


def test_so_are_they_in_processes(attempts):
    code = f"import socket; socket.create_connection(('{FAR}', 80), timeout=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "may not reach" in done.stderr
    assert FAR in attempts()


def test_this_machine_is_open(tmp_path, attempts):
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
    assert attempts() == ""
