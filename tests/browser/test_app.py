"""One walk through the real app: find masks, click a patch, move a slider, reopen the link."""

import re

import pytest
from slow_line import SlowLine

pytestmark = pytest.mark.browser

PATIENCE = 60_000  # milliseconds
LATE = 0.8  # seconds, most of the time between two refreshes
JOB = 240_000  # milliseconds for the masks of the sample photos, first start of the transformer included
PAINTED = """canvas => {
  if (!canvas.width) return false;
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return data.some(value => value > 0);
}"""


def picture(page):
    """What lies over the photo, as text that can be compared."""
    return page.locator("canvas").first.evaluate("canvas => canvas.toDataURL()")


def wait_until_painted(page):
    page.locator("canvas").first.wait_for()
    page.wait_for_function(
        f"() => {{ const find = root => root.querySelector('canvas') || [...root.querySelectorAll('*')]"
        f".map(node => node.shadowRoot && find(node.shadowRoot)).find(Boolean);"
        f" const canvas = find(document); return canvas && ({PAINTED})(canvas); }}"
    )


def wait_until_other(page, before):
    for _ in range(100):
        if picture(page) != before:
            return
        page.wait_for_timeout(100)
    raise AssertionError("The picture did not change.")


def wait_until_idle(page):
    page.wait_for_function("document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'")
    page.wait_for_timeout(300)


def settled_picture(page):
    """The picture once neither it nor the link has changed for a second: several keys may still be on their way."""
    seen = None
    while True:
        wait_until_idle(page)
        now = (page.url, picture(page))
        if now == seen:
            return now[1]
        seen = now
        page.wait_for_timeout(1000)


def move_slider(page, label, key, times):
    slider = page.get_by_role("slider", name=label)
    slider.focus()
    for _ in range(times):
        page.keyboard.press(key)


def find_masks(page, address):
    """Press the one button of Start and wait for the page that it leads to."""
    page.goto(address)
    page.get_by_role("button", name="Find masks").click()
    page.get_by_text(re.compile("Starting|photos")).first.wait_for()
    page.wait_for_url(re.compile("/proposals"), timeout=JOB)
    wait_until_painted(page)


@pytest.fixture(scope="module")
def run_link(server, browser):
    """Makes masks of the sample photos by the one button; returns the address it arrives at."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    find_masks(page, server)
    page.wait_for_url(re.compile("run=sample"))
    url = page.url
    context.close()
    return url


def test_button_makes_masks_and_arrives_at_them(run_link, open_tab):
    page = open_tab(run_link)
    wait_until_painted(page)
    assert page.get_by_text("Mask 1").first.is_visible()
    page.locator(".badge").nth(9).wait_for()  # the run's scores on the thumbnails
    assert not page.locator("[data-testid=stException]").count()


def test_click_on_a_patch_shows_which_are_similar(run_link, open_tab):
    page = open_tab(run_link.replace("photo=astronaut", "photo=cat"))
    wait_until_painted(page)
    wait_until_idle(page)
    before = picture(page)
    frame = page.locator(".frame").first
    box = frame.bounding_box()
    frame.click(position={"x": 0.36 * box["width"], "y": 0.42 * box["height"]})
    page.wait_for_url(re.compile("patch="))
    page.get_by_text("The patch you clicked").wait_for()
    wait_until_other(page, before)
    assert page.get_by_role("button", name="Affinity", exact=True, pressed=True).is_visible()
    assert page.locator(".ring").first.is_visible()


def test_arrives_over_a_slow_line(run_link, server, open_tab):
    """What the live parts of Start ask while the next page comes must not call Start back."""
    line = SlowLine(int(server.rsplit(":", 1)[1]), LATE)
    try:
        find_masks(open_tab("about:blank"), f"http://127.0.0.1:{line.port}")
    finally:
        line.close()


def test_slider_changes_the_mask_and_the_link_reopens_it(run_link, open_tab):
    page = open_tab(run_link.replace("photo=astronaut", "photo=coffee"))
    wait_until_painted(page)
    wait_until_idle(page)
    before = picture(page)
    move_slider(page, "Link threshold", "ArrowRight", 30)
    page.wait_for_url(re.compile("proposals.tau"))
    wait_until_other(page, before)
    changed = settled_picture(page)
    again = open_tab(page.url)
    wait_until_painted(again)
    assert settled_picture(again) == changed


def test_masks_hide_while_the_key_is_held(run_link, open_tab):
    page = open_tab(run_link)
    wait_until_painted(page)
    wait_until_idle(page)
    layers = page.locator("canvas").first
    page.locator("h1").first.click()
    page.keyboard.down("h")
    layers.wait_for(state="hidden")
    page.keyboard.up("h")
    layers.wait_for(state="visible")


def test_several_objects_are_listed_with_their_scores(run_link, open_tab):
    page = open_tab(f"{run_link.replace('photo=astronaut', 'photo=coffee')}&set=proposals.num_objects%3D3")
    wait_until_painted(page)
    assert page.locator(".mask .score").count() >= 2
    assert page.locator(".mask .part").first.get_attribute("title")


def test_downloads_hold_the_derivation(run_link, open_tab):
    page = open_tab(run_link)
    wait_until_painted(page)
    wait_until_idle(page)
    page.get_by_role("button", name="Download").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Everything as zip").click()
    assert download.value.suggested_filename == "astronaut.zip"


@pytest.mark.parametrize("link", ["proposals?run=gone&set=proposals.tua%3D1&patch=9999-1", "nowhere"])
def test_broken_link_never_ends_in_a_traceback(server, open_tab, link):
    page = open_tab(f"{server}/{link}")
    page.locator("h1").first.wait_for()
    wait_until_idle(page)
    assert not page.locator("[data-testid=stException]").count()
