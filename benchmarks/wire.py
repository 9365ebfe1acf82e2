"""What one interaction costs on the wire: the server's time, the browser's, and bytes.

The server's time is taken at a relay before its door (``benchmarks.relay``), from the message that asks until the last
one of the answer. The browser's own begins with the same message and ends when its script has taken in that last one,
so it holds what the page draws in between; seen from Chromium's debugging protocol.
"""

import base64
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import dropwhile
from typing import Any

import psutil
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks.relay import Passed, Relay

QUIET = 0.35  # seconds without a message after the end of a script: more scripts may follow from one action
PATIENCE = 300.0  # seconds: a large run is read once


@dataclass(frozen=True)
class Exchange:
    """What one action cost."""

    answered: float  # milliseconds at the server's door, from the question to the end of its answer
    shown: float  # milliseconds in the browser, from the question until it has taken in the answer
    settled: float  # milliseconds at the door until the last message, with all that is sent ahead after the answer
    received: int  # bytes to the browser
    sent: int  # bytes to the server
    worked: float = 0.0  # milliseconds of the server's processor, until all is said; whatever else the machine does


@dataclass
class Wire:
    """Listens to the web sockets of a Playwright page, which must be opened before it goes to its address."""

    page: Any
    relay: Relay
    server: psutil.Process | None = None
    _frames: list[tuple[str, float, bytes]] = field(default_factory=list)  # in the browser

    def __post_init__(self) -> None:
        session = self.page.context.new_cdp_session(self.page)
        session.send("Network.enable")
        session.on("Network.webSocketFrameSent", lambda event: self._note("up", event))
        session.on("Network.webSocketFrameReceived", lambda event: self._note("down", event))

    def measure(self, action: Callable[[], Any]) -> Exchange:
        """Do something in the page and wait until the server has said all it has to say.

        Raises:
            RuntimeError: If the action asked nothing of the server, or it does not come to an end.
        """
        self._frames.clear()
        self.relay.passed.clear()
        before = self._worked()
        action()
        self._wait()
        worked = self._worked() - before
        passed = list(self.relay.passed)
        asked = next(message.moment for message in passed if message.way == "up")
        ends = self._said_ends()
        shown_from = next(moment for way, moment, _ in self._frames if way == "up")
        shown_at = next(self._shown_ends())
        told = [message for message in passed if message.moment <= ends[-1]]
        return Exchange(
            1000 * (ends[0] - asked),
            1000 * (shown_at - shown_from),
            1000 * (ends[-1] - asked),
            sum(message.size for message in told if message.way == "down"),
            sum(message.size for message in told if message.way == "up"),
            worked,
        )

    def _worked(self) -> float:
        if self.server is None:
            return 0.0
        times = self.server.cpu_times()
        return 1000 * float(times.user + times.system)

    def _note(self, way: str, event: dict[str, Any]) -> None:
        frame = event["response"]
        if frame["opcode"] == 2:  # binary; the rest is housekeeping
            self._frames.append((way, event["timestamp"], base64.b64decode(frame["payloadData"])))

    def _said_ends(self) -> list[float]:
        """When each end of an answer to what was asked passed the relay."""
        answer = dropwhile(lambda message: message.way == "down", list(self.relay.passed))
        return [message.moment for message in answer if _ends_script(message)]

    def _shown_ends(self) -> Iterator[float]:
        """When the browser had taken in each end of an answer to what was asked; not one of what was asked before."""
        asked = dropwhile(lambda frame: frame[0] == "down", list(self._frames))
        return (moment for way, moment, content in asked if way == "down" and _is_end(content))

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        count, since = -1, time.monotonic()
        while time.monotonic() < deadline:
            self.page.wait_for_timeout(50)
            if len(self._frames) != count:
                count, since = len(self._frames), time.monotonic()
            ended = next(self._shown_ends(), 0.0) and self._said_ends()
            if ended and time.monotonic() - since > QUIET:
                return
        raise RuntimeError("The page asked nothing of the server, or its answer did not come to an end.")


def _ends_script(message: Passed) -> bool:
    return message.way == "down" and _is_end(message.content)


def _is_end(content: bytes) -> bool:
    """Whether a run of the page, or of a part of it, has come to its end here; not if it only gave way to another."""
    message = ForwardMsg.FromString(content)
    if message.WhichOneof("type") != "script_finished":
        return False
    return message.script_finished != ForwardMsg.ScriptFinishedStatus.FINISHED_EARLY_FOR_RERUN
