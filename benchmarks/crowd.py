"""Many people at once on one server: errors, the slowest answer, and what it costs in memory.

    python -m benchmarks.crowd --runs FOLDER [--sessions 50] [--seconds 180] [--seed 0]

Each session speaks Streamlit's own protocol over a web socket, as a browser does, but draws nothing: it opens a page of
a run, moves a slider, ticks a box, chooses another entry, goes to another page, and thinks for a moment in between. All
of it is drawn from the seed; only this machine is talked to. Exit code 1 if a page shows an exception, a session is
cut off, or an answer does not come.
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from benchmarks.report import print_table, write_report
from benchmarks.servers import running_server, wait_until_healthy
from maskdistill.storage.run_folder import list_runs

THINKING = (0.5, 4.0)  # seconds between two actions of a session
PATIENCE = 120.0  # seconds for an answer; above it counts as none
OPENING = 20.0  # seconds within which all sessions come
WARM = 0.4  # part of the time after which memory is compared with the end's
SCRIPTS_END = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)
_MB = 2**20


@dataclass
class Seen:
    """What all sessions have met."""

    seconds: dict[str, list[float]] = field(default_factory=dict)  # of each answer, by page
    actions: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def note(self, page: str, action: str, seconds: float) -> None:
        """An answer that came."""
        self.seconds.setdefault(page, []).append(seconds)
        self.actions[action] += 1


class Session:
    """One person in one tab."""

    def __init__(self, socket: ClientConnection, runs: list[str], generator: random.Random, seen: Seen) -> None:
        self._socket, self._runs, self._generator, self._seen = socket, runs, generator, seen
        self._pages: dict[str, str] = {}  # name -> hash
        self._page = ""
        self._states: dict[str, WidgetState] = {}
        self._widgets: dict[str, tuple[str, Any]] = {}  # id -> kind, element; of the page as it is now
        self._query = ""

    async def live(self, until: float) -> None:
        """Act, wait for the answer, think, and so on."""
        self._query = f"run={self._generator.choice(self._runs)}" if self._runs else ""
        await self._ask("open")
        while time.monotonic() < until:
            await asyncio.sleep(self._generator.uniform(*THINKING))
            action = self._generator.choice(("page", "widget", "widget", "widget", "again"))
            if action == "page" and self._pages:
                self._page = self._generator.choice(list(self._pages))
                self._states.clear()
            elif action == "widget" and self._widgets:
                id = self._generator.choice(list(self._widgets))
                self._states[id] = change(id, *self._widgets[id], self._generator)
                action = self._widgets[id][0]
            await self._ask(action)

    async def _ask(self, action: str) -> None:
        message = BackMsg()
        state = message.rerun_script
        state.query_string = self._query
        state.page_script_hash = self._pages.get(self._page, "")
        state.widget_states.widgets.extend(self._states.values())
        state.context_info.timezone = "UTC"
        began = time.monotonic()
        await self._socket.send(message.SerializeToString())
        await asyncio.wait_for(self._answer(), PATIENCE)
        self._seen.note(self._page or "start", action, time.monotonic() - began)

    async def _answer(self) -> None:
        """Take in messages until the script has come to its end."""
        self._widgets = {}
        while True:
            message = ForwardMsg.FromString(await self._socket.recv())
            kind = message.WhichOneof("type")
            if kind == "navigation":
                self._pages = {
                    page.url_pathname or "start": page.page_script_hash for page in message.navigation.app_pages
                }
            elif kind == "delta":
                self._take(message.delta.new_element)
            elif kind == "script_finished" and message.script_finished in SCRIPTS_END:
                return
            elif kind == "script_finished" and message.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
                self._seen.errors.append(f"{self._page}: the page does not compile")
                return

    def _take(self, element: Any) -> None:
        kind = element.WhichOneof("type")
        if kind == "exception":
            self._seen.errors.append(f"{self._page}: {element.exception.type}: {element.exception.message[:200]}")
        elif kind in ("slider", "checkbox", "selectbox") and not getattr(element, kind).disabled:
            widget = getattr(element, kind)
            if not widget.form_id:
                self._widgets[widget.id] = kind, widget


def change(id: str, kind: str, widget: Any, generator: random.Random) -> WidgetState:
    """Another value of a widget."""
    state = WidgetState(id=id)
    if kind == "checkbox":
        state.bool_value = generator.random() < 0.5
    elif kind == "selectbox":
        state.string_value = generator.choice(list(widget.options) or [""])
    else:
        steps = max(1, round((widget.max - widget.min) / (widget.step or 1)))
        values = sorted(widget.min + (widget.step or 1) * generator.randint(0, steps) for _ in widget.default)
        state.double_array_value.data.extend(min(value, widget.max) for value in values)
    return state


async def crowd(
    address: str, runs: list[str], options: argparse.Namespace, process: psutil.Process
) -> tuple[Seen, dict[str, float]]:
    """All sessions at once, and the server's memory in megabytes at some moments."""
    seen, began = Seen(), time.monotonic()
    memory = {"idle": process.memory_info().rss / _MB}

    async def one(number: int) -> None:
        generator = random.Random(f"{options.seed} {number}")
        await asyncio.sleep(generator.uniform(0, min(OPENING, options.seconds / 4)))
        try:
            async with connect(
                f"{address.replace('http', 'ws', 1)}/_stcore/stream", max_size=None, ping_timeout=None
            ) as socket:
                await Session(socket, runs, generator, seen).live(began + options.seconds)
        except (WebSocketException, OSError, TimeoutError) as error:
            seen.errors.append(f"session {number} is cut off: {type(error).__name__}: {error}")

    async def watch() -> None:
        await asyncio.sleep(options.seconds * WARM)
        memory["warm"] = process.memory_info().rss / _MB
        await asyncio.sleep(options.seconds * (1 - WARM))
        memory["end"] = process.memory_info().rss / _MB

    await asyncio.gather(watch(), *(one(number) for number in range(options.sessions)))
    return seen, memory


def main() -> int:
    """Start a server, let the crowd in, print what it met; returns the exit code."""
    options = _parse()
    runs = [run.name for run in list_runs(options.runs)]
    with running_server(options.runs.absolute()) as (address, process):
        wait_until_healthy(address)
        seen, memory = asyncio.run(crowd(address, runs, options, process))
    rows = [
        [page, len(times), f"{statistics.median(times):.2f}", f"{max(times):.2f}"]
        for page, times in sorted(seen.seconds.items())
    ]
    print_table(
        f"{options.sessions} sessions for {options.seconds} s", ["page", "answers", "median (s)", "slowest (s)"], rows
    )
    print(f"\n  memory of the server (MB): {', '.join(f'{name} {value:.0f}' for name, value in memory.items())}")
    for error in seen.errors[:10]:
        print(f"  ERROR {error}")
    every = [seconds for times in seen.seconds.values() for seconds in times]
    result = {"answers": len(every), "slowest": max(every, default=0.0), "median": statistics.median(every or [0.0])}
    result |= {"errors": seen.errors, "memory": memory, "actions": dict(seen.actions)}
    write_report(
        options.json, {"benchmark": "crowd", "sessions": options.sessions, "seconds": options.seconds, **result}
    )
    return 1 if seen.errors or len(every) < options.sessions else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder of runs; the pages may write into it")
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
