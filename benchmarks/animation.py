"""Records assets/walk.webp: twenty seconds of the real pages, from photos to masks that a person has judged.

Usage: ``python -m benchmarks.animation http://localhost:8501 assets/walk.webp``

The app's runs folder should hold those of ``benchmarks.screenshots``: one of the sample photos, named ``sample``, and
one of ``sample-views``, named ``views``, both with every stage up to the predictions. What a reviewer decides while it
is recorded stays in ``sample``, under the name Ada.
"""

import argparse
import io
import re
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from benchmarks.screenshots import SIZE, opened_browser, settle

WIDTH = 960  # pixels of a picture in the file
QUALITY = 55
Frame = tuple[Image.Image, int]  # and how long it is shown, in milliseconds


def main() -> None:
    """Record and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("path", type=Path)
    options = parser.parse_args()
    with opened_browser() as browser:
        page = browser.new_page(viewport=SIZE, color_scheme="dark")
        page.set_default_timeout(300_000)
        frames = list(_walk(page, options.address.rstrip("/")))
    first, *others = [picture for picture, _ in frames]
    durations = [duration for _, duration in frames]
    first.save(options.path, save_all=True, append_images=others, duration=durations, loop=0, quality=QUALITY, method=6)
    print(f"{len(frames)} pictures, {sum(durations) / 1000:.1f} s, {options.path.stat().st_size / 1e6:.2f} MB")


def _walk(page: Page, address: str) -> Iterator[Frame]:
    yield from _start(page, address)
    yield from _proposals(page, f"{address}/proposals?run=sample&photo=cat")
    yield from _two_views(page, f"{address}/clusters?run=views", "picked=cluster:1")
    yield from _filter(page, f"{address}/filter?run=views")
    yield from _two_views(page, f"{address}/guide?run=sample&photo=coffee&step=8", "wipe=15")
    yield from _audit(page, f"{address}/audit?run=sample&reviewer=Ada")


def _start(page: Page, address: str) -> Iterator[Frame]:
    page.goto(address)
    settle(page)
    yield _shot(page), 2000
    page.get_by_role("button", name="Find masks").hover()
    yield _shot(page), 1000


def _proposals(page: Page, link: str) -> Iterator[Frame]:
    page.goto(link)
    settle(page)
    yield _shot(page), 2000
    slider = page.get_by_role("slider", name="Link threshold")
    slider.focus()
    for _ in range(3):
        for _ in range(8):
            page.keyboard.press("ArrowRight")
        settle(page)
        yield _shot(page), 700
    yield from _view(page, f"{link}&patch=10-12", 1800)


def _two_views(page: Page, link: str, then: str) -> Iterator[Frame]:
    yield from _view(page, link, 1300)
    yield from _view(page, f"{link}&{then}", 1500)


def _view(page: Page, link: str, duration: int) -> Iterator[Frame]:
    page.goto(link)
    settle(page)
    yield _shot(page), duration


def _filter(page: Page, link: str) -> Iterator[Frame]:
    page.goto(link)
    settle(page)
    yield _shot(page), 1500
    handle = page.get_by_role("slider", name=re.compile("Least mean probability"))
    handle.focus()
    for _ in range(3):
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        settle(page)
        yield _shot(page), 700


def _audit(page: Page, link: str) -> Iterator[Frame]:
    page.goto(link)
    settle(page)
    yield _shot(page), 1500
    for key in "AAX":
        page.keyboard.press(key)
        settle(page)
        yield _shot(page), 900


def _shot(page: Page) -> Image.Image:
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return picture.resize((WIDTH, picture.height * WIDTH // picture.width), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
