"""What goes over the wire between a page and its server: times and bytes of one interaction, seen from the browser.

The times are those of Chromium's network service, so what the page's own script does with a message is not in them:
from the message that asks until the last one of the answer. On one machine that is the server's time.
"""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

QUIET = 0.35  # seconds without a message after the end of a script: more scripts may follow from one action
PATIENCE = 60.0  # seconds


@dataclass(frozen=True)
class Exchange:
    """What one action cost."""

    answered: float  # milliseconds from the question to the end of its answer
    settled: float  # milliseconds until the last message, with all that is redrawn or sent ahead after the answer
    received: int  # bytes to the browser
    sent: int  # bytes to the server


@dataclass
class Wire:
    """Listens to the web sockets of a Playwright page, which must be opened before it goes to its address."""

    page: Any
    _frames: list[tuple[str, float, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        session = self.page.context.new_cdp_session(self.page)
        session.send("Network.enable")
        session.on("Network.webSocketFrameSent", lambda event: self._note("sent", event))
        session.on("Network.webSocketFrameReceived", lambda event: self._note("received", event))

    def measure(self, action: Callable[[], Any]) -> Exchange:
        """Do something in the page and wait until the server has said all it has to say.

        Raises:
            RuntimeError: If the action asked nothing of the server, or it does not come to an end.
        """
        self._frames.clear()
        action()
        self._wait()
        sent = [frame for frame in self._frames if frame[0] == "sent"]
        received = [frame for frame in self._frames if frame[0] == "received"]
        ends = [moment for _, moment, content in received if _ends_script(content)]
        last = ends[-1]
        return Exchange(
            1000 * (ends[0] - sent[0][1]),
            1000 * (last - sent[0][1]),
            sum(len(content) for _, moment, content in received if moment <= last),
            sum(len(content) for _, _, content in sent),
        )

    def _note(self, way: str, event: dict[str, Any]) -> None:
        frame = event["response"]
        if frame["opcode"] == 2:  # binary; the rest is housekeeping
            self._frames.append((way, event["timestamp"], base64.b64decode(frame["payloadData"])))

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        count, since = -1, time.monotonic()
        while time.monotonic() < deadline:
            self.page.wait_for_timeout(50)
            if len(self._frames) != count:
                count, since = len(self._frames), time.monotonic()
            ended = any(way == "received" and _ends_script(content) for way, _, content in self._frames)
            if ended and time.monotonic() - since > QUIET:
                return
        raise RuntimeError("The page asked nothing of the server, or its answer did not come to an end.")


def _ends_script(content: bytes) -> bool:
    """Whether a run of the page, or of a part of it, has come to its end here; not if it only gave way to another."""
    message = ForwardMsg.FromString(content)
    if message.WhichOneof("type") != "script_finished":
        return False
    return message.script_finished != ForwardMsg.ScriptFinishedStatus.FINISHED_EARLY_FOR_RERUN
