"""How fast the pages answer: server time of a slider's release, and the time until a page of a fresh server is usable.

    python -m benchmarks.pages [--repeats 7]

Slider times run the real page through Streamlit's own test client: from the release to the page's last element, so
they hold the masks, the drawing and the rest of the page, but no browser. The first page is timed in headless Chromium,
where there is one, on a server started after another has warmed the disk's cache.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from app import state
from benchmarks.report import print_table, write_report
from maskdistill.crf import crf_available
from maskdistill.datasets import open_source, read_photo

ROOT = Path(__file__).resolve().parents[1]
SIZE = (640, 480)  # width, height in pixels
BROWSER_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def main() -> None:
    """Time the sliders, then the first page."""
    options = _parse()
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
        app.toggle(key=state.control_key("crf.enabled")).set_value(True).run()
        times["tau with CRF"] = [_release(app, "proposals.tau", value + 0.01) for value in taus]
    if app.exception:
        raise RuntimeError(app.exception[0].value)
    return {name: {"median": statistics.median(item), "worst": max(item)} for name, item in times.items()}


def _release(app: AppTest, name: str, value: float) -> float:
    slider = app.slider(key=state.control_key(name)).set_value(value)
    start = time.perf_counter()
    slider.run()
    return 1000 * (time.perf_counter() - start)


def first_page_times(count: int) -> list[float]:
    """Seconds from starting the server until the Start page's button can be pressed; empty without a browser."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        return []
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=BROWSER_FLAGS)
        times = [_first_page(browser) for _ in range(count + 1)][1:]  # the first warms the disk's cache
        browser.close()
    return times


def _first_page(browser: Any) -> float:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", f"--server.port={port}"]
    start = time.perf_counter()
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(f"{address}/_stcore/health")
        page = browser.new_page()
        page.goto(address)
        page.get_by_role("button", name="Find masks").wait_for()
        return time.perf_counter() - start
    finally:
        server.terminate()
        server.wait(10)


def _wait(address: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"The server did not answer at {address}.")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="focus_vits14")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
