"""Takes the pictures in assets/ from a running app.

Usage: ``python -m benchmarks.screenshots http://localhost:8501 assets``

The app's runs folder should hold one run of the sample photos, named ``sample``, trained up to stage 2 by a job, and
one of ``sample-views``, named ``views``, with every stage done.
"""

import io
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--disable-gpu"]
SIZE = {"width": 1440, "height": 900}
LIMIT = 400_000  # bytes a picture
FLAT = 24  # colours that are not rounded
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


def main(address: str, folder: Path) -> None:
    """Write one PNG per page and theme."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        for theme in ("dark", "light"):
            for name, (link, target) in SHOTS.items():
                page = browser.new_page(viewport=SIZE, color_scheme=theme)
                page.goto(f"{address}/{link}")
                _settle(page)
                if target != TOP:
                    page.get_by_text(target).evaluate("node => node.scrollIntoView({block: 'start'})")
                    page.wait_for_timeout(500)
                _save(page.screenshot(), folder / f"{name}-{theme}.png")
                page.close()
        browser.close()


def _settle(page: Page) -> None:
    page.locator("[data-testid=stMain] :is(h1, h2, canvas, img)").first.wait_for(timeout=60_000)
    page.wait_for_function("document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'")
    page.wait_for_timeout(4000)  # pictures are decoded after the script has ended


def _save(shot: bytes, path: Path) -> None:
    """Round colours by as little as brings the file under the limit; a palette would shift the colour scales."""
    pixels = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(np.int32)
    codes = pixels @ np.array([65536, 256, 1])
    colours, counts = np.unique(codes, return_counts=True)
    flat = np.isin(codes, colours[counts.argsort()[-FLAT:]])  # grounds, borders and buttons keep their colour
    for step in (1, 2, 4, 6, 8, 10, 12):
        rounded = np.clip((pixels + step // 2) // step * step, 0, 255)
        Image.fromarray(np.where(flat[..., None], pixels, rounded).astype(np.uint8)).save(path, optimize=True)
        if path.stat().st_size < LIMIT:
            return


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), Path(sys.argv[2]))
