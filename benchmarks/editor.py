"""How long the editor of a mask takes: opening it, a click, a stroke of the brush, and the preview under the pointer.

    python -m benchmarks.editor --runs FOLDER --run NAME [--masks 5] [--clicks 4] [--json FILE]

FOLDER/NAME is a run with clusters; nothing is kept, so nothing is written into it. Masks spread over the run are opened
in Chromium, and each is clicked at random places around it. A click's time is taken at a relay before the server's
door, as ``benchmarks.wire`` tells, and in the browser from the question until the new mask can be seen; a preview's is
what the browser takes to compute and draw it, without the server.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks.relay import Relay
from benchmarks.report import print_table, write_report
from benchmarks.servers import browser, running_server, wait_until_healthy
from benchmarks.wire import Exchange, Wire
from maskdistill.storage.run_folder import Run

HOVERS = 12  # a mask
LAYERED = ".editable .layered"


def main() -> None:
    """Open masks and click."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--masks", type=int, default=5)
    parser.add_argument("--clicks", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    ids = Run(options.runs / options.run).masks()["mask_id"].tolist()
    chosen = ids[:: max(1, len(ids) // options.masks)][: options.masks]
    with running_server(options.runs) as (address, _), browser() as chromium:
        if chromium is None:
            raise SystemExit("There is no Chromium on this machine.")
        wait_until_healthy(address)
        found = measure(chromium, urlsplit(address).port, options.run, chosen, options.clicks)
    header = ["what", "n", "at the door, ms", "95 %", "seen, ms", "kB"]
    rows = [_row(name, found[name]) for name in ("open", "click", "stroke", "undo") if found[name]]
    print_table(f"{len(chosen)} masks of {options.run}", header, rows)
    previews = found["preview"]
    text = f"{statistics.median(previews):.1f} ms, at most {max(previews):.1f} ms" if previews else "none"
    print(f"  preview under the pointer, in the browser alone, {len(previews)} times: {text}")
    kept = {name: items if name == "preview" else [vars(item) for item in items] for name, items in found.items()}
    write_report(options.json, {"benchmark": "editor", "run": options.run, **kept})


def measure(chromium: Any, port: int | None, run: str, masks: Sequence[int], clicks: int) -> dict[str, list[Any]]:
    """Exchanges by what was done, and milliseconds of previews.

    Args:
        chromium: Of playwright.
        port: Of the server.
        run: Name of the run.
        masks: Ids of the masks that are opened.
        clicks: On each.
    """
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    relay = Relay(port or 0)
    wire, generator = Wire(page, relay), np.random.default_rng(0)
    found: dict[str, list[Any]] = {name: [] for name in ("open", "click", "stroke", "undo", "preview")}
    for place, mask_id in enumerate([masks[0], *masks]):  # the first loads libraries and is opened twice
        link = f"http://127.0.0.1:{relay.port}/audit?run={run}&reviewer=bench&edit={mask_id}"
        if place:
            page.evaluate("sessionStorage.clear()")  # what was not kept would be there again
        opened = wire.measure(lambda link=link: page.goto(link))
        _steps(page, 0)
        if place == 0:
            _try(page, wire, generator, 1, {name: [] for name in found})
            continue
        found["open"].append(opened)
        _try(page, wire, generator, clicks, found)
    relay.close()
    page.close()
    return found


def _try(page: Any, wire: Wire, generator: np.random.Generator, clicks: int, found: dict[str, list[Any]]) -> None:
    for _ in range(HOVERS):
        page.mouse.move(*_place(page, generator))
        page.wait_for_timeout(60)
        found["preview"].append(float(page.locator(LAYERED).get_attribute("data-preview") or "nan"))
    found["preview"] = [value for value in found["preview"] if value == value]
    for number in range(1, clicks + 1):
        x, y = _place(page, generator)
        found["click"].append(wire.measure(lambda x=x, y=y: page.mouse.click(x, y)))
        _steps(page, number)
    page.keyboard.press("b")
    found["stroke"].append(wire.measure(lambda: _stroke(page, generator)))
    _steps(page, clicks + 1)
    found["undo"].append(wire.measure(lambda: page.keyboard.press("u")))
    _steps(page, clicks)


def _steps(page: Any, number: int) -> None:
    page.locator(f'{LAYERED}[data-steps="{number}"]').wait_for(timeout=60_000)


def _place(page: Any, generator: np.random.Generator) -> tuple[float, float]:
    box = page.locator(".editable .frame").bounding_box()
    u, v = generator.uniform(0.3, 0.7, 2)
    return box["x"] + u * box["width"], box["y"] + v * box["height"]


def _stroke(page: Any, generator: np.random.Generator) -> None:
    page.mouse.move(*_place(page, generator))
    page.mouse.down()
    page.mouse.move(*_place(page, generator), steps=8)
    page.mouse.up()


def _row(name: str, exchanges: Sequence[Exchange]) -> list[str]:
    answered = sorted(item.answered for item in exchanges)
    at_95 = answered[round(0.95 * (len(answered) - 1))]
    shown = statistics.median(item.shown for item in exchanges)
    size = statistics.median(item.received for item in exchanges) / 1e3
    return [
        name,
        f"{len(answered)}",
        f"{statistics.median(answered):.0f}",
        f"{at_95:.0f}",
        f"{shown:.0f}",
        f"{size:.0f}",
    ]


if __name__ == "__main__":
    main()
