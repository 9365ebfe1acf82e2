"""Takes the pictures in assets/ from a running app.

Usage: ``python -m benchmarks.screenshots http://localhost:8501 assets``

The app's runs folder should hold one run of the sample photos, named ``sample``, trained up to stage 2 by a job, and
one of ``sample-views``, named ``views``, with every stage done.
"""

import argparse
import io
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--disable-gpu"]
SIZE = {"width": 1440, "height": 900}
QUALITY = 70  # of WebP: about 60 kB a picture, no difference to be seen
TOP = "scroll-to-top"
SHOTS = {
    "start": ("", TOP),
    "proposals": ("proposals?run=sample&photo=coffee", TOP),
    "affinity": ("proposals?run=sample&photo=cat&patch=10-12", TOP),
    "derivation": ("proposals?run=sample&photo=flower", "1. What the transformer attends to"),
    "compare": ("proposals?run=sample&photo=motorcycle&compare=published", TOP),
    "training": ("training?run=sample&stage=stage2", TOP),
    "clusters": ("clusters?run=views&picked=cluster:1", TOP),
    "detail": ("clusters?run=views&mask=0", TOP),
    "filter": ("filter?run=views&set=filter.min_score%3D0.6", TOP),
    "results": ("results?run=views&results=photos", TOP),
    "audit": ("audit?run=views&reviewer=Ada", TOP),
    "guide": ("guide?run=views&step=4", TOP),
}


def main(address: str, folder: Path, only: Sequence[str]) -> None:
    """Write one picture per page and theme."""
    with opened_browser() as browser:
        for theme in ("dark", "light"):
            for name in only:
                link, target = SHOTS[name]
                page = browser.new_page(viewport=SIZE, color_scheme=theme)
                page.goto(f"{address}/{link}")
                settle(page)
                if target != TOP:
                    page.get_by_text(target).evaluate("node => node.scrollIntoView({block: 'start'})")
                    page.wait_for_timeout(500)
                _save(page.screenshot(), folder / f"{name}-{theme}.webp")
                page.close()


@contextmanager
def opened_browser() -> Iterator[Browser]:
    """Headless Chromium of the system."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def settle(page: Page) -> None:
    """Wait for the page, its script and its pictures."""
    page.locator("[data-testid=stMain] :is(h1, h2, canvas, img)").first.wait_for(timeout=300_000)
    page.wait_for_function("document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'")
    page.wait_for_timeout(4000)  # pictures are decoded after the script has ended


def _save(shot: bytes, path: Path) -> None:
    Image.open(io.BytesIO(shot)).convert("RGB").save(path, quality=QUALITY, method=6)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", help="of the running app")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=SHOTS, default=list(SHOTS), help="pictures; all by default")
    options = parser.parse_args()
    main(options.address.rstrip("/"), options.folder, options.only)
