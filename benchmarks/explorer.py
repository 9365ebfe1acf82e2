"""How fast the explorer answers on a run of many masks: server time, bytes and memory, seen from a real browser.

Does what a person does: opens pages, draws lassos, moves a threshold, judges masks by key. Each time is the server's,
from the message that asks to the end of the answer; "browser" adds what Chromium needs to take the answer in, and
"settled" is when the rest has come too, as the pictures that are sent ahead; "processor" is what the server itself
worked, on all cores, which other work on the machine changes little (``benchmarks.wire``). Run it by
``benchmarks.pages``.
"""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import psutil

from benchmarks.relay import Relay
from benchmarks.report import print_table
from benchmarks.wire import Exchange, Wire

MANY = 200_000  # masks from which the second column counts
LIMITS = {  # milliseconds that were asked for: of fewer masks at the median, of more at the 95th percentile
    **{f"open {name}": (500, 500) for name in ("Clusters", "Filter", "Results", "Audit", "Start", "Proposals")},
    "open Training": (500, 500),
    "threshold": (150, 300),
    "lasso": (300, 500),
    "next mask": (100, 100),
}
READY = {  # by page: shown once it can be used
    "Clusters": "canvas.over",
    "Filter": ".count.masks b",
    "Results": "h1",
    "Audit": ".annotator .mask-id",
    "Start": "h1",
    "Proposals": "h1",
    "Training": "h1",
}
PAGES = tuple(READY)
Memory = tuple[float, float]  # resident MB, and those that are not pages of files: libraries, mapped tables
FRAMES = 60  # of the map, drawn while it is dragged
LEAST_FRAMES = 20  # a second, that were asked for
_DRAG = """(canvas, frames) => new Promise((done) => {
  const box = canvas.getBoundingClientRect(), moments = [];
  const step = (moment) => {
    moments.push(moment);
    if (moments.length > frames) { done(moments); return; }
    const turn = (6.283 * moments.length) / frames;
    const [x, y] = [box.width / 2 + 90 * Math.sin(turn), 200 + 60 * Math.cos(turn)];
    const at = { clientX: box.left + x, clientY: box.top + y };
    canvas.dispatchEvent(new PointerEvent("pointermove", { ...at, bubbles: true, pointerId: 1 }));
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""
MEASURED_PAGES = PAGES[:4]  # those that the memory is measured on
LASSO_MASKS = 100_000  # about so many are inside a lasso, or a fifth to a third of fewer
MEMORY_AT = (20, 200)  # interactions after which the server's memory is read


def tell(result: dict[str, Any], num_masks: int) -> None:
    """Print what ``measure`` found."""
    rows = [
        [*_row(name, exchanges, num_masks), *(f"{size:.0f}" for size in result["after_mb"][name])]
        for name, exchanges in result["exchanges"].items()
    ]
    times = ["median ms", "95th %", "asked", "processor ms", "browser ms", "settled ms"]
    head = ["interaction", *times, "kB to browser", "kB to server"]
    print_table(f"Server time at {num_masks:,} masks, and its memory after it", [*head, "MB", "without files"], rows)
    first = [[name, f"{exchange['answered']:.0f}"] for name, exchange in result["first"].items()]
    print_table("The first time on this server, what is read once a run with it", ["page", "ms"], first)
    rows = [[name, f"{found['median']:.0f}", f"{found['worst']:.0f}"] for name, found in result["frames"].items()]
    if rows:
        print_table(f"Frames a second while the map is dragged, {LEAST_FRAMES} asked", ["map", "median", "worst"], rows)
    tell_memory([result["memory_mb"]])


def tell_memory(found: list[tuple[Memory, Memory]]) -> None:
    """Print what ``measure_memory`` found, one server a row."""
    rows = []
    for first, last in found:
        sizes = [f"{size:.0f}" for size in (*first, *last)]
        rows.append([*sizes, f"{100 * (last[0] / first[0] - 1):+.1f} %"])
    head = [title for count in MEMORY_AT for title in (f"after {count}", "without files")]
    print_table("Memory of the server (MB)", [*head, "growth"], rows)


def measure(
    page: Any,
    server_port: int,
    process: psutil.Process,
    repeats: int,
    num_masks: int,
    pages: Sequence[str] = PAGES,
) -> dict[str, Any]:
    """Every interaction ``repeats`` times, after one that is not counted; and the memory after 20 and 200 of them.

    Args:
        page: Of playwright, not gone anywhere yet.
        server_port: Of the app, with a run named "generated".
        process: The app's.
        repeats: Of each interaction.
        num_masks: Of the run.
        pages: Those that are measured; the memory is always that of ``MEASURED_PAGES``.

    Returns:
        ``exchanges``: list of ``Exchange`` as dictionaries by name of the interaction; ``after_mb``: memory after each;
        ``first``: the exchange of each page opened first; ``frames``: of the map, a second; ``memory_mb``: twice.
    """
    relay = Relay(server_port)
    wire = Wire(page, relay, process)
    first = {"Clusters": _arrive(page, wire, relay)}
    for name in pages:  # imports, and what is read once a server
        found = _open(page, wire, name)
        first.setdefault(name, found)
    measured: dict[str, list[Exchange]] = {}
    after: dict[str, Memory] = {}

    def note(name: str, found: list[Exchange]) -> None:
        measured[name], after[name] = found, memory_of(process)

    frames = {}
    for name in pages:
        note(f"open {name}", [_open_from_another(page, wire, name) for _ in range(repeats)])
        if name in _ACTIONS:
            _settle(page)
            note(_ACTIONS[name][0], [_act(page, wire, name, turn, num_masks) for turn in range(repeats + 1)][1:])
            _settle(page)
        if name == "Clusters":
            frames = _frames(page)
    exchanges = {name: [vars(exchange) for exchange in found] for name, found in measured.items()}
    memory = _memory(page, wire, process, num_masks)
    relay.close()
    first_time = {name: vars(exchange) for name, exchange in first.items()}
    return {"exchanges": exchanges, "after_mb": after, "first": first_time, "frames": frames, "memory_mb": memory}


def memory_of(process: psutil.Process) -> Memory:
    """Resident MB, and those without pages of files, which Linux alone tells apart."""
    found = process.memory_info()
    return found.rss / 1e6, (found.rss - getattr(found, "shared", 0)) / 1e6


def measure_memory(page: Any, server_port: int, process: psutil.Process, num_masks: int) -> tuple[Memory, Memory]:
    """Memory of a fresh server after 20 and 200 interactions, after each page was open once."""
    relay = Relay(server_port)
    wire = Wire(page, relay, process)
    _arrive(page, wire, relay)
    for name in MEASURED_PAGES:
        _open(page, wire, name)
    found = _memory(page, wire, process, num_masks)
    relay.close()
    return found


def _arrive(page: Any, wire: Wire, relay: Relay) -> Exchange:
    return wire.measure(lambda: page.goto(f"http://127.0.0.1:{relay.port}/clusters?run=generated&reviewer=bench"))


def _memory(page: Any, wire: Wire, process: psutil.Process, num_masks: int) -> tuple[Memory, Memory]:
    """Memory of the server after 20 and after 200 further interactions of all kinds."""
    found = []
    for count in range(1, MEMORY_AT[1] + 1):
        name = MEASURED_PAGES[count // 10 % len(MEASURED_PAGES)]
        if count % 10 == 0 or name not in _ACTIONS:
            _open(page, wire, name)
            _settle(page)
        else:
            if count == 1:
                _open(page, wire, name)
            _act(page, wire, name, count, num_masks)
        if count in MEMORY_AT:
            found.append(memory_of(process))
    return found[0], found[1]


def _act(page: Any, wire: Wire, name: str, turn: int, num_masks: int) -> Exchange:
    _, prepare, act = _ACTIONS[name]
    prepare(page, turn, num_masks)
    return wire.measure(partial(act, page, turn))


def _open(page: Any, wire: Wire, name: str) -> Exchange:
    found = wire.measure(lambda: page.get_by_role("link", name=name, exact=True).first.click())
    page.locator(READY[name]).first.wait_for()
    return found


def _open_from_another(page: Any, wire: Wire, name: str) -> Exchange:
    """From another page, so that the whole page is new."""
    other = "Start" if name != "Start" else "Results"
    wire.measure(lambda: page.get_by_role("link", name=other, exact=True).first.click())
    return _open(page, wire, name)


def _settle(page: Any) -> None:
    """Until pictures that are sent ahead have come."""
    page.wait_for_timeout(1200)


def _lasso(page: Any, turn: int, num_masks: int) -> None:
    """Around about a fifth of the map, or as many masks as are wanted; another one each time."""
    box = page.locator("canvas.over").bounding_box()
    left = box["x"] + box["width"] * (0.12 + 0.06 * (turn % 5))
    top = box["y"] + box["height"] * (0.1 + 0.03 * (turn % 4))
    share = min(1.0, LASSO_MASKS / (num_masks / 5)) ** 0.5
    width, height = 0.42 * box["width"] * share, 0.5 * box["height"] * share
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((width, 0), (width, height), (0, height), (0, 0.1 * height)):
        page.mouse.move(left + x, top + y, steps=6)
    page.wait_for_timeout(300)  # what the pointer met on its way is answered


def _frames(page: Any) -> dict[str, dict[str, float]]:
    """Frames a second while the map is dragged, with a selection and zoomed in: median and worst."""
    found = {"with a selection": _drag(page)}
    page.keyboard.press("+")
    page.keyboard.press("+")
    found["zoomed"] = _drag(page)
    page.keyboard.press("0")
    page.keyboard.press("Escape")
    page.wait_for_timeout(1000)
    found["whole"] = _drag(page)
    return found


def _drag(page: Any) -> dict[str, float]:
    canvas = page.locator("canvas.over")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 200)
    page.mouse.down(button="middle")
    moments = canvas.evaluate(_DRAG, FRAMES)
    page.mouse.up(button="middle")
    taken = sorted(after - before for before, after in pairwise(moments))
    page.keyboard.press("0")
    return {"median": 1000 / statistics.median(taken), "worst": 1000 / taken[-1]}


def _release(page: Any, _turn: int) -> None:
    page.mouse.up()


def _threshold(page: Any, turn: int) -> None:
    """One step of the first threshold by key."""
    handle = page.locator(".cards .line.least").first
    handle.focus()
    handle.press("ArrowRight" if turn // 10 % 2 == 0 else "ArrowLeft")


def _next_mask(page: Any, turn: int) -> None:
    page.keyboard.press("ax"[turn % 2])


def _nothing(_page: Any, _turn: int, _num_masks: int) -> None:
    """Some actions need no preparing."""


Act = Callable[[Any, int], None]
_ACTIONS: dict[
    str, tuple[str, Callable[[Any, int, int], None], Act]
] = {  # by page: name, what goes before, what is measured
    "Clusters": ("lasso", _lasso, _release),
    "Filter": ("threshold", _nothing, _threshold),
    "Audit": ("next mask", _nothing, _next_mask),
}


def _row(name: str, exchanges: list[dict[str, float]], num_masks: int) -> list[str]:
    of = {way: sorted(exchange[way] for exchange in exchanges) for way in exchanges[0]}
    at_95 = of["answered"][round(0.95 * (len(exchanges) - 1))]
    answered, shown, settled = (f"{statistics.median(of[way]):.0f}" for way in ("answered", "shown", "settled"))
    received, sent = (statistics.median(of[way]) / 1e3 for way in ("received", "sent"))
    worked = statistics.mean(of["worked"])
    asked = str(LIMITS[name][num_masks >= MANY])
    times = [answered, f"{at_95:.0f}", asked, f"{worked:.0f}", shown, settled]
    return [name, *times, f"{received:.0f}", f"{sent:.1f}"]
