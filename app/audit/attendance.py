"""Which browser sessions audit on this server, and whether each still has its tab open. No drawing in here."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from maskdistill.storage.run_folder import Run

_LOOK = 0.05  # seconds between two looks at a connection


@dataclass(frozen=True)
class Attendant:
    """A session that audits."""

    session: str  # as claims name it
    connection: str  # as the server names it
    run: Run
    reviewer: str


class Attendance:
    """The sessions that audit; all threads share it."""

    def __init__(self, is_connected: Callable[[str], bool] = lambda _connection: True) -> None:
        self._is_connected = is_connected
        self._there: dict[str, Attendant] = {}
        self._lock = threading.Lock()

    def attend(self, attendant: Attendant) -> bool:
        """Be there; whether this session was there all the time, as the same person on the same run."""
        with self._lock:
            before = self._there.get(attendant.session)
            self._there[attendant.session] = attendant
            return before == attendant

    def leave(self, session: str) -> None:
        """Be there no more."""
        with self._lock:
            self._there.pop(session, None)

    def has(self, session: str) -> bool:
        """Whether a session is there, with its tab open."""
        with self._lock:
            found = self._there.get(session)
        return found is not None and self._is_connected(found.connection)

    def stays(self, session: str, seconds: float) -> bool:
        """Whether a session is there, and still is after so many seconds."""
        until = time.monotonic() + seconds
        while self.has(session):
            if time.monotonic() >= until:
                return True
            time.sleep(_LOOK)
        return False

    def take_gone(self) -> list[Attendant]:
        """Those whose tab was closed or lost its connection, each once: they are there no more."""
        with self._lock:
            gone = [each for each in self._there.values() if not self._is_connected(each.connection)]
            for each in gone:
                del self._there[each.session]
        return gone


@st.cache_resource
def attendance() -> Attendance:
    """Of this server."""
    return Attendance(_is_connected)


def connection() -> str:
    """This browser session, as the server names it."""
    context = get_script_run_ctx()
    return context.session_id if context is not None else ""


def _is_connected(connection: str) -> bool:
    return not runtime.exists() or bool(runtime.get_instance().is_active_session(connection))
