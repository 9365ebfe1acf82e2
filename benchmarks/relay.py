"""A relay between a browser and the app's server that notes when each message passes.

A browser tells of a message when its own script has room for it, so what it draws meanwhile would count as the server's
time. The relay stands in between: it sees a question when it leaves the browser, and an answer when the server lets go.
"""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_BINARY = 2  # opcode of the frames that hold Streamlit's messages
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Passed:
    """A message of a web socket."""

    way: Literal["up", "down"]  # to the server or to the browser
    moment: float  # seconds of the monotonic clock, when its last byte passed
    size: int  # bytes
    content: bytes  # of those to the browser; empty of the others, whose bytes are masked


class Relay:
    """Listens on ``port`` and passes everything on to the server's."""

    def __init__(self, server_port: int) -> None:
        self.passed: list[Passed] = []
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                browser, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                return
            for end in (browser, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._carry, args=(browser, server, "up"), daemon=True).start()
            threading.Thread(target=self._carry, args=(server, browser, "down"), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, way: Literal["up", "down"]) -> None:
        frames = _Frames()
        try:
            while chunk := source.recv(_CHUNK):
                moment = time.monotonic()
                target.sendall(chunk)
                for size, content in frames.take(chunk):
                    self.passed.append(Passed(way, moment, size, content))
        except OSError:
            pass  # one side has gone
        finally:
            for end in (source, target):
                end.close()


class _Frames:
    """Cuts what passes one way into messages, from where the connection becomes a web socket (RFC 6455)."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._is_socket: bool | None = None  # None until the head of the first request or answer has passed

    def take(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """Size and content of each binary message that is complete now; content only if it is not masked."""
        if self._is_socket is False:
            return
        self._buffer += chunk
        if self._is_socket is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._is_socket = b"upgrade: websocket" in bytes(self._buffer[:end]).lower()
            del self._buffer[: end + 4]
            if not self._is_socket:
                return
        while (frame := self._cut()) is not None:
            opcode, size, content = frame
            if opcode == _BINARY:
                yield size, content

    def _cut(self) -> tuple[int, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        masked, length, start = bool(buffer[1] & 0x80), buffer[1] & 0x7F, 2
        if length >= 126:
            start += 2 if length == 126 else 8
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start], "big")
        start += 4 if masked else 0
        if len(buffer) < start + length:
            return None
        content = b"" if masked else bytes(buffer[start : start + length])
        opcode = buffer[0] & 0x0F
        del buffer[: start + length]
        return opcode, length, content
