"""The editor of a mask in a browser: mend, keep, undo; two people at once; a server that is killed in the middle."""

import shutil
import time

import numpy as np
import pytest
from tiny_run import WITHOUT_MAP, draw_voc, run_chain, tiny_config

from maskdistill.masks import decode_mask
from maskdistill.review import decisions
from maskdistill.review.decisions import read_repairs
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.run_folder import DRAWN, Run

pytestmark = pytest.mark.browser
MASK = 0


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mend")
    (folder / "weights").mkdir()
    run_chain(folder / "run", draw_voc(folder / "voc"), tiny_config(folder / "weights"), wanted=WITHOUT_MAP)
    return folder / "run"


@pytest.fixture(scope="module")
def address(made, serve_once):
    """Of a server over the runs of all tests, for those that do not stop it."""
    return serve_once(made.parent)


@pytest.fixture
def run(made, request):
    """A run of this test alone, with stored tokens: no transformer is loaded."""
    return Run(shutil.copytree(made, made.parent / "runs" / request.node.name.removeprefix("test_")))


def open_editor(open_tab, address, run, reviewer, more=f"&edit={MASK}", **options):
    page = open_tab(f"{address}/audit?run={run.path.name}&reviewer={reviewer}{more}", **options)
    shown_steps(page, 0)
    return page


def shown_steps(page, number):
    page.locator(f'.editable .layered[data-steps="{number}"]').wait_for()


def place(page, u, v):
    """A point of the photo in shares of the frame, which shows all of it."""
    box = page.locator(".editable .frame").bounding_box()
    return box["x"] + u * box["width"], box["y"] + v * box["height"]


def paint(page, number):
    """A dot with the brush, which changes the mask for certain; there are ``number`` steps then."""
    if page.locator('.mend [data-do="brush"][aria-pressed="true"]').count() == 0:
        page.keyboard.press("b")
    page.mouse.move(*place(page, 0.3 + 0.05 * number, 0.1))
    page.mouse.down()
    page.mouse.move(*place(page, 0.33 + 0.05 * number, 0.12))
    page.mouse.up()


def wait_until_closed(page):
    page.locator(".editable").wait_for(state="detached")


def wait_until_written(run, number, seconds=60):
    deadline = time.monotonic() + seconds
    while len(decisions.steps(run)) < number and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(decisions.steps(run)) == number


def test_mend_keep_and_undo(run, address, open_tab):
    page = open_tab(f"{address}/audit?run={run.path.name}&reviewer=Ada&at={MASK}")
    page.locator(f'.annotator .stage[data-mask="{MASK}"]').wait_for()
    before = page.locator(".annotator .version").inner_text()
    page.keyboard.press("e")
    shown_steps(page, 0)
    page.mouse.move(*place(page, 0.5, 0.5))
    page.locator(".editable .layered[data-preview]").wait_for()  # what a click would change, without the server
    page.mouse.click(*place(page, 0.5, 0.5))
    shown_steps(page, 1)
    paint(page, 1)
    shown_steps(page, 2)
    paint(page, 2)
    shown_steps(page, 3)
    page.keyboard.press("u")
    shown_steps(page, 2)
    assert decisions.version(run) == 0
    page.keyboard.press("Enter")
    wait_until_closed(page)
    page.locator(".annotator .version").get_by_text("as Ada mended it").wait_for()
    (form,) = read_repairs(run).forms.values()
    own = MaskCodes.open(run, "own").decode(form.mask_id)
    assert not np.array_equal(decode_mask(form.code), own)
    page.keyboard.press("u")
    page.locator(".annotator .version").get_by_text(before).wait_for()
    assert read_repairs(run).forms == {}
    page.keyboard.press("Shift+U")
    page.locator(".annotator .version").get_by_text("as Ada mended it").wait_for()
    assert read_repairs(run).forms[form.mask_id].code == form.code


def test_escape_leaves_the_mask_as_it_is(run, address, open_tab):
    page = open_editor(open_tab, address, run, "Ada")
    paint(page, 1)
    shown_steps(page, 1)
    page.keyboard.press("Escape")
    wait_until_closed(page)
    page.wait_for_function("!location.search.includes('edit=')")
    assert decisions.version(run) == 0


def test_two_people_mend_one_mask_at_once(run, address, open_tab):
    ada, bob = (open_editor(open_tab, address, run, name) for name in ("Ada", "Bob"))
    for page in (ada, bob):
        paint(page, 1)
        shown_steps(page, 1)
    ada.keyboard.press("Enter")
    wait_until_closed(ada)
    bob.keyboard.press("Enter")
    bob.locator(".mend .said.problem").get_by_text("Ada mended mask").wait_for()
    shown_steps(bob, 0)  # of Ada's shape
    assert read_repairs(run).forms[MASK].reviewer == "Ada"
    paint(bob, 3)
    shown_steps(bob, 1)
    bob.keyboard.press("Enter")
    wait_until_closed(bob)
    assert read_repairs(run).forms[MASK].reviewer == "Bob"
    assert [step.reviewer for step in decisions.steps(run)] == ["Bob", "Ada"]


def test_what_was_done_is_there_again_after_the_server_was_killed(run, made, serve, port, open_tab):
    with serve(made.parent, port, kill=True) as address:
        page = open_editor(open_tab, address, run, "Ada")
        for number in (1, 2):
            paint(page, number)
            shown_steps(page, number)
    paint(page, 3)
    with serve(made.parent, port, kill=True):
        shown_steps(page, 3)
        paint(page, 4)
        shown_steps(page, 4)
    page.keyboard.press("Enter")
    assert decisions.version(run) == 0
    with serve(made.parent, port):
        wait_until_written(run, 1)
        wait_until_closed(page)
        page.reload()
        page.locator('.annotator .stage[data-mask]:not([data-mask=""])').wait_for()
        assert len(decisions.steps(run)) == 1


def test_touch_and_buttons_alone(run, address, open_tab):
    page = open_editor(open_tab, address, run, "Ada", has_touch=True)
    page.touchscreen.tap(*place(page, 0.5, 0.5))
    shown_steps(page, 1)
    page.locator('.mend [data-do="undo"]').tap()
    shown_steps(page, 0)
    page.locator('.mend [data-do="new"]').tap()
    page.locator(".mend .hint").get_by_text("Click on an object").wait_for()
    page.touchscreen.tap(*place(page, 0.5, 0.5))
    shown_steps(page, 1)
    page.locator('.mend [data-do="keepmask"]').tap()
    wait_until_closed(page)
    assert list(read_repairs(run).forms) == [DRAWN]


def test_from_the_detail_of_a_mask_and_from_proposals(run, address, open_tab):
    page = open_tab(f"{address}/clusters?run={run.path.name}&reviewer=Ada&mask={MASK}")
    page.get_by_role("button", name="Mend").click()
    shown_steps(page, 0)
    paint(page, 1)
    shown_steps(page, 1)
    page.keyboard.press("Enter")
    wait_until_closed(page)
    page.get_by_text(f"Mended mask {MASK}").first.wait_for()  # in the detail's history
    page.goto(f"{address}/proposals?run={run.path.name}&reviewer=Ada")
    page.get_by_role("button", name="Mend the run's masks").click()
    shown_steps(page, 0)
