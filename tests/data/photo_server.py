"""A web server of photos that can be told to fail, and what tests ask of it."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

SECRET = "SECRETSIGNATURE"


def picture(value, size=(20, 30)):
    buffer = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; knows ranges unless told otherwise, and fails as often as told."""

    ranges = True
    heads = True

    def do_GET(self):
        self.server.asked.append((self.command, self.path))
        if self.server.broken > 0:
            self.server.broken -= 1
            if self.server.how == "cut":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"x" * 10)
                self.close_connection = True
                return
            self.send_error(self.server.how)
            return
        if self.command == "HEAD" and not self.heads:
            self.send_error(403)
            return
        path = Path(self.translate_path(self.path))
        wanted = self.headers.get("Range")
        if self.command == "HEAD" or wanted is None or not self.ranges or not path.is_file():
            super().do_HEAD() if self.command == "HEAD" else super().do_GET()
            return
        first, last = map(int, wanted.removeprefix("bytes=").split("-"))
        content = path.read_bytes()[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{path.stat().st_size}")
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        self.end_headers()
        self.wfile.write(content)

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *_):
        pass


@contextmanager
def serving(folder: Path) -> Iterator[ThreadingHTTPServer]:
    """The server of a folder, with what it was ``asked``, how often it still is ``broken``, and ``how``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    server.asked, server.broken, server.how = [], 0, 503
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
