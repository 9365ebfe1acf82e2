"""Forbids every Python process of the tests to speak with another machine, or to ask for one's address.

Python imports a module of this name at its start, where ``tests/conftest.py`` has put this folder in PYTHONPATH; so
servers, jobs and pools started by tests are held to it too. What was tried is written down, since libraries take a
refusal for a missing network and go on; the test during which it was tried fails.
"""

import errno
import os
import socket
import sys
from ipaddress import ip_address

LOG = "MASKDISTILL_TESTS_SOCKETS"  # environment variable: file that attempts are written to
_NAMED = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_ADDRESSED = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind")


def is_loopback(host: object) -> bool:
    """Whether a host is this machine, without asking anybody."""
    if host in (None, "", b"", "localhost", b"localhost", socket.gethostname()):
        return True
    try:
        return ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """The hook.

    Raises:
        OSError: If another machine would be reached.
    """
    if event in _NAMED:
        host = arguments[0]
    elif event in _ADDRESSED:
        address = arguments[1]
        if not isinstance(address, tuple):  # of the file system, or of a socket that is connected
            return
        host = address[0]
    else:
        return
    if is_loopback(host):
        return
    path = os.environ.get(LOG)
    if path:
        with open(path, "a", encoding="utf-8") as log:
            log.write(f"{event} {host} by {' '.join(sys.argv[:4])}\n")
    raise OSError(errno.ENETUNREACH, f"The tests may not reach {host} ({event})")


sys.addaudithook(watch)
