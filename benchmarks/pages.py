"""How fast the pages answer: server time of a slider's release, and the time until a page of a fresh server is usable.

    python -m benchmarks.pages [--repeats 15] [--masks 50000]
    python -m benchmarks.pages --explorer --masks 1000000 --keep FOLDER [--only Clusters Audit]
    python -m benchmarks.pages --memory-runs 5 [--keep FOLDER]

Slider times run the real page through Streamlit's own test client: from the release to the page's last element, so
they hold the masks, the drawing and the rest of the page, but no browser. The first page is timed in headless Chromium,
where there is one, on a server started after another has warmed the disk's cache. The explorer's pages are then
measured in that browser on a generated run of many masks (``benchmarks.explorer``); ``--explorer`` measures them alone.
A million masks take some minutes to generate: ``--keep`` leaves the run in a folder for the next time.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from streamlit.testing.v1 import AppTest

from app import session
from benchmarks import explorer
from benchmarks.generated_run import kept_run
from benchmarks.report import print_table, write_report
from benchmarks.servers import ROOT, browser, running_server, wait_until_healthy
from maskdistill.datasets import open_source, read_photo
from maskdistill.proposals.crf import crf_available

SIZE = (640, 480)  # width, height in pixels
FIRST_OPEN = 300_000  # milliseconds: a large run is read once


def main() -> None:
    """Time the sliders, then the first page."""
    options = _parse()
    if options.memory_runs:
        found = memory_runs(options.memory_runs, options.keep, options.masks)
        explorer.tell_memory(found)
        write_report(options.json, {"benchmark": "memory", "memory_mb": found})
        return
    result: dict[str, Any] = {"benchmark": "pages"}
    if not options.explorer:
        result |= _sliders_and_first_page(options.backbone, options.repeats)
    if options.masks:
        result["explorer"] = explorer_times(options.masks, options.repeats, options.keep, options.only)
        if result["explorer"]:
            explorer.tell(result["explorer"], options.masks)
    write_report(options.json, result)


def _sliders_and_first_page(backbone: str, repeats: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MASKDISTILL_RUNS"] = str(Path(folder) / "runs")
        photos = Path(folder) / "photos"
        photos.mkdir()
        photo = next(item for item in open_source("sample").photos if item.id == "cat")
        read_photo(photo).resize(SIZE).save(photos / "cat.png")
        times = slider_times(str(photos), backbone, repeats)
    rows = [[name, f"{item['median']:.0f}", f"{item['worst']:.0f}"] for name, item in times.items()]
    print_table(f"Server time on a {SIZE[0]} x {SIZE[1]} photo, cached features", ["interaction", "ms", "worst"], rows)
    first_page = first_page_times(3)
    if first_page:
        rows = [[f"{seconds:.1f}" for seconds in first_page]]
        print_table("From the start of the server to a usable Start page (s)", ["1st", "2nd", "3rd"], rows)
    return {"photo": list(SIZE), "server_ms": times, "first_page_s": first_page}


def slider_times(data: str, backbone: str, repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each interaction: median and worst."""
    app = AppTest.from_file(ROOT / "app" / "main.py", default_timeout=120).run().switch_page("../pages/proposals.py")
    app.query_params.update({"data": data, "set": [f"features.backbone={backbone}"]})
    app.run()
    taus = [round(0.1 + 0.05 * step, 2) for step in range(repeats)]
    times = {"tau": [_release(app, "proposals.tau", value) for value in taus]}
    times["number of objects"] = [_release(app, "proposals.num_objects", 2 + step % 3) for step in range(repeats)]
    _release(app, "proposals.num_objects", 1)
    if crf_available():
        app.toggle(key=session.control_key("crf.enabled")).set_value(True).run()
        times["tau with CRF"] = [_release(app, "proposals.tau", value + 0.01) for value in taus]
    if app.exception:
        raise RuntimeError(app.exception[0].value)
    return {name: {"median": statistics.median(item), "worst": max(item)} for name, item in times.items()}


def _release(app: AppTest, name: str, value: float) -> float:
    find = app.select_slider if name == "proposals.num_objects" else app.slider
    slider = find(key=session.control_key(name)).set_value(value)
    start = time.perf_counter()
    slider.run()
    return 1000 * (time.perf_counter() - start)


def first_page_times(count: int) -> list[float]:
    """Seconds from starting the server until the Start page's button can be pressed; empty without a browser."""
    with browser() as opened:
        if opened is None:
            return []
        return [_first_page(opened) for _ in range(count + 1)][1:]  # the first warms the disk's cache


def _first_page(opened: Any) -> float:
    start = time.perf_counter()
    with running_server() as (address, _):
        wait_until_healthy(address)
        page = opened.new_page()
        page.goto(address)
        page.get_by_role("button", name="Find masks").wait_for()
        return time.perf_counter() - start


def explorer_times(
    num_masks: int, repeats: int, keep: Path | None = None, pages: Sequence[str] = explorer.PAGES
) -> dict[str, Any] | None:
    """The explorer on a generated run, as ``benchmarks.explorer`` measures it; None without a browser.

    Args:
        num_masks: Of the run.
        repeats: Of each interaction.
        keep: Folder of the run, for the next time; None for one that goes.
        pages: Names of those that are measured.
    """
    with browser() as opened, tempfile.TemporaryDirectory() as folder:
        if opened is None:
            return None
        runs = kept_run(keep or Path(folder), num_masks).path.parent
        with running_server(runs) as (address, process):
            wait_until_healthy(address)
            page = opened.new_context(viewport={"width": 1440, "height": 900}).new_page()
            page.set_default_timeout(FIRST_OPEN)
            return explorer.measure(page, urlsplit(address).port, process, repeats, num_masks, pages)


def memory_runs(count: int, keep: Path | None, num_masks: int) -> list[tuple[explorer.Memory, explorer.Memory]]:
    """Memory of ``count`` fresh servers, one after the other, as ``benchmarks.explorer`` measures them on one run.

    Args:
        count: How many.
        keep: As ``explorer_times`` takes it.
        num_masks: Of the run.
    """
    found = []
    with browser() as opened, tempfile.TemporaryDirectory() as folder:
        if opened is None:
            return []
        runs = kept_run(keep or Path(folder), num_masks).path.parent
        for _ in range(count):
            with running_server(runs) as (address, process):
                wait_until_healthy(address)
                page = opened.new_context(viewport={"width": 1440, "height": 900}).new_page()
                found.append(explorer.measure_memory(page, urlsplit(address).port, process, num_masks))
                explorer.tell_memory(found[-1:])
    return found


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="focus_vits14")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--masks", type=int, default=50_000, help="of the generated run; 0 leaves the explorer out")
    parser.add_argument("--memory-runs", type=int, default=0, help="only measure the memory of so many fresh servers")
    parser.add_argument("--explorer", action="store_true", help="only measure the explorer on the generated run")
    parser.add_argument(
        "--only", nargs="+", choices=explorer.PAGES, default=explorer.PAGES, help="pages of the explorer"
    )
    parser.add_argument("--keep", type=Path, help="generate the run in this folder, or use the one that is there")
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
