"""A line between browser and server on which answers take their time."""

import queue
import socket
import threading
import time


class SlowLine:
    """Listens on ``port`` and passes all on to the server's; what that answers comes ``delay`` seconds later."""

    def __init__(self, server_port: int, delay: float) -> None:
        self._server_port, self._delay = server_port, delay
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
            late: queue.Queue[tuple[float, bytes]] = queue.Queue()
            for work in (
                lambda browser=browser, server=server: _carry(browser, server.sendall),
                lambda server=server, late=late: _carry(server, lambda chunk: late.put((self._due(), chunk))),
                lambda browser=browser, late=late: _deliver(late, browser),
            ):
                threading.Thread(target=work, daemon=True).start()

    def _due(self) -> float:
        return time.monotonic() + self._delay


def _carry(source, put) -> None:
    """Hand on what comes, and an empty chunk at the end."""
    try:
        while chunk := source.recv(1 << 16):
            put(chunk)
        put(b"")
    except OSError:
        pass  # one side has gone


def _deliver(late, browser) -> None:
    try:
        while True:
            due, chunk = late.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not chunk:
                break
            browser.sendall(chunk)
    except OSError:
        pass
    browser.close()
