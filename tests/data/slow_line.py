"""A line between browser and server on which answers take their time."""

import queue
import socket
import threading
import time
from typing import Literal

from benchmarks.relay import Relay


class SlowLine(Relay):
    """Listens on ``port`` and passes all on to the server's; what that answers comes ``delay`` seconds later."""

    def __init__(self, server_port: int, delay: float) -> None:
        self._delay = delay
        super().__init__(server_port)

    def _carry(self, source: socket.socket, target: socket.socket, way: Literal["up", "down"]) -> None:
        super()._carry(source, _Late(target, self._delay) if way == "down" else target, way)


class _Late:
    """What a socket takes, handed to it later."""

    def __init__(self, target: socket.socket, delay: float) -> None:
        self._target, self._delay = target, delay
        self._waiting: queue.Queue[tuple[float, bytes]] = queue.Queue()
        threading.Thread(target=self._deliver, daemon=True).start()

    def sendall(self, chunk: bytes) -> None:
        self._waiting.put((time.monotonic() + self._delay, chunk))

    def close(self) -> None:
        self.sendall(b"")

    def _deliver(self) -> None:
        try:
            while (item := self._waiting.get())[1]:
                time.sleep(max(0.0, item[0] - time.monotonic()))
                self._target.sendall(item[1])
        except OSError:
            pass  # the browser has gone
        finally:
            self._target.close()
