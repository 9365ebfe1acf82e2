"""How fast the pages answer: server time of a slider's release, and the time until a page of a fresh server is usable.

    python -m benchmarks.pages [--repeats 15] [--masks 50000]
    python -m benchmarks.pages --memory-runs 5 [--runs FOLDER]

Slider times run the real page through Streamlit's own test client: from the release to the page's last element, so
they hold the masks, the drawing and the rest of the page, but no browser. The first page is timed in headless Chromium,
where there is one, on a server started after another has warmed the disk's cache. The explorer's pages are then
measured in that browser on a generated run of many masks (``benchmarks.explorer``).
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from streamlit.testing.v1 import AppTest

from app import session
from benchmarks import explorer
from benchmarks.generated_run import generate_run
from benchmarks.report import print_table, write_report
from benchmarks.servers import ROOT, browser, running_server, wait_until_healthy
from maskdistill.datasets import open_source, read_photo
from maskdistill.proposals.crf import crf_available

SIZE = (640, 480)  # width, height in pixels


def main() -> None:
    """Time the sliders, then the first page."""
    options = _parse()
    if options.memory_runs:
        found = memory_runs(options.memory_runs, options.runs, options.masks)
        explorer.tell_memory(found)
        write_report(options.json, {"benchmark": "memory", "memory_mb": found})
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MASKDISTILL_RUNS"] = str(Path(folder) / "runs")
        photos = Path(folder) / "photos"
        photos.mkdir()
        photo = next(item for item in open_source("sample").photos if item.id == "cat")
        read_photo(photo).resize(SIZE).save(photos / "cat.png")
        result: dict[str, Any] = {"benchmark": "pages", "photo": list(SIZE)}
        result["server_ms"] = slider_times(str(photos), options.backbone, options.repeats)
    rows = [[name, f"{item['median']:.0f}", f"{item['worst']:.0f}"] for name, item in result["server_ms"].items()]
    print_table(f"Server time on a {SIZE[0]} x {SIZE[1]} photo, cached features", ["interaction", "ms", "worst"], rows)
    result["first_page_s"] = first_page_times(3)
    if result["first_page_s"]:
        rows = [[f"{seconds:.1f}" for seconds in result["first_page_s"]]]
        print_table("From the start of the server to a usable Start page (s)", ["1st", "2nd", "3rd"], rows)
    if options.masks:
        result["explorer"] = explorer_times(options.masks, options.repeats)
        if result["explorer"]:
            explorer.tell(result["explorer"], options.masks)
    write_report(options.json, result)


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


def explorer_times(num_masks: int, repeats: int) -> dict[str, Any] | None:
    """The explorer on a generated run, as ``benchmarks.explorer`` measures it; None without a browser."""
    with browser() as opened, tempfile.TemporaryDirectory() as folder:
        if opened is None:
            return None
        generate_run(Path(folder), num_masks)
        with running_server(Path(folder) / "runs") as (address, process):
            wait_until_healthy(address)
            page = opened.new_context(viewport={"width": 1440, "height": 900}).new_page()
            return explorer.measure(page, urlsplit(address).port, process, repeats)


def memory_runs(count: int, runs: Path | None, num_masks: int) -> list[tuple[float, float]]:
    """MB of ``count`` fresh servers, one after the other, as ``benchmarks.explorer`` measures them on one run.

    Args:
        count: How many.
        runs: Folder with a run named "generated", which is written to; None to generate one.
        num_masks: Of the run that is generated.
    """
    found = []
    with browser() as opened, tempfile.TemporaryDirectory() as folder:
        if opened is None:
            return []
        if runs is None:
            runs = generate_run(Path(folder), num_masks).path.parent
        for _ in range(count):
            with running_server(runs) as (address, process):
                wait_until_healthy(address)
                page = opened.new_context(viewport={"width": 1440, "height": 900}).new_page()
                found.append(explorer.measure_memory(page, urlsplit(address).port, process))
                explorer.tell_memory(found[-1:])
    return found


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="focus_vits14")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--masks", type=int, default=50_000, help="of the generated run; 0 leaves the explorer out")
    parser.add_argument("--memory-runs", type=int, default=0, help="only measure the memory of so many fresh servers")
    parser.add_argument("--runs", type=Path, help="with --memory-runs: folder with a run named generated, written to")
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
