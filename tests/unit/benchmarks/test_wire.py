"""What the browser tells late of the action before is no answer to this one."""

import base64
from types import SimpleNamespace

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks import wire
from benchmarks.relay import Passed
from benchmarks.wire import Wire

END = ForwardMsg(script_finished=ForwardMsg.FINISHED_SUCCESSFULLY).SerializeToString()
PART = ForwardMsg(session_event={}).SerializeToString()


class Page:
    """A browser that passes on, at each wait, the next few events of a list."""

    def __init__(self, *events):
        self.events, self.listeners = list(events), {}
        session = SimpleNamespace(send=lambda name: None, on=self.listeners.__setitem__)
        self.context = SimpleNamespace(new_cdp_session=lambda page: session)

    def wait_for_timeout(self, _milliseconds):
        for event in self.events.pop(0) if self.events else ():
            event()

    def frame(self, way, moment, content=b""):
        name = {"up": "Network.webSocketFrameSent", "down": "Network.webSocketFrameReceived"}[way]
        response = {"opcode": 2, "payloadData": base64.b64encode(content).decode()}
        return lambda: self.listeners[name]({"timestamp": moment, "response": response})


def test_late_news_of_the_action_before_is_passed_over(monkeypatch):
    monkeypatch.setattr(wire, "QUIET", 0.0)
    page, relay = Page(), SimpleNamespace(passed=[])

    def pass_on(way, moment, content=b""):
        return lambda: relay.passed.append(Passed(way, moment, 10, content))

    page.events = [
        [page.frame("down", 0.5, END), pass_on("up", 1.0), page.frame("up", 1.1)],
        [page.frame("down", 1.2, PART)],
        [page.frame("down", 1.6, END)],  # the browser is told before the relay has noted it
        [pass_on("down", 1.5, END)],
    ]
    found = Wire(page, relay).measure(lambda: None)
    assert (round(found.answered), round(found.shown)) == (500, 500)
