"""Audit in several tabs of a browser, with a server that is killed, held up, or that cannot write."""

import re
import shutil
import sqlite3
from contextlib import closing

import pytest

from benchmarks.generated_run import generate_run
from maskdistill.review.decisions import Kind
from maskdistill.storage.database import database_path, reading
from maskdistill.storage.run_folder import Run

pytestmark = pytest.mark.browser

SAVED = re.compile(r"^\s*saved\s*$")
KIND_OF = {"a": Kind.MARK, "x": Kind.MARK, "u": Kind.UNDO, "U": Kind.REDO}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for a server, with a run of many masks; made once."""
    folder = tmp_path_factory.mktemp("audit")
    generate_run(folder, 400)
    return folder


@pytest.fixture(scope="module")
def address(folder, serve_once):
    """Of a server over the runs of all tests, for those that do not stop it."""
    return serve_once(folder)


@pytest.fixture
def run(folder, request):
    """A run of this test alone."""
    name = request.node.name.removeprefix("test_")
    return Run(shutil.copytree(folder / "runs" / "generated", folder / "runs" / name))


def open_audit(open_tab, address, run, reviewer):
    page = open_tab(f"{address}/audit?run={run.path.name}&reviewer={reviewer}")
    page.on("dialog", lambda dialog: dialog.accept())
    wait_until_ready(page)
    return page


def wait_until_ready(page):
    page.locator('.annotator .stage[data-mask]:not([data-mask=""])').wait_for()


def press(page, keys, pause=60):
    for key in keys:
        page.keyboard.press("Shift+U" if key == "U" else key)
        page.wait_for_timeout(pause)


def shown(page):
    return int(page.locator(".annotator .stage").get_attribute("data-mask"))


def wait_until_saved(page):
    page.locator(".annotator .saved").get_by_text(SAVED).wait_for()


def written(run, reviewer):
    """Steps of a person in the order in which they were written: tab, number, kind, mask."""
    select = """SELECT client, seq, kind, mask_id FROM steps LEFT JOIN marks ON marks.step = steps.id
        WHERE reviewer = ? ORDER BY steps.id"""
    with reading(run.path) as db:
        return [tuple(row) for row in db.execute(select, (reviewer,))] if db else []


def claims(run):
    with reading(run.path) as db:
        return db.execute("SELECT * FROM claims").fetchall()


def test_strokes_and_undos_under_way_when_the_server_is_killed_are_written_once_and_in_order(
    folder, run, serve, port, open_tab
):
    before, meanwhile, after = "axauaxxuUaxaxuaxaxa", "axua", "xau"
    with serve(folder, port, kill=True) as address:
        page = open_audit(open_tab, address, run, "Grace")
        press(page, before, pause=25)  # faster than they are written
    press(page, meanwhile)
    assert not SAVED.match(page.locator(".annotator .saved").inner_text())
    acknowledged = written(run, "Grace")
    with serve(folder, port):
        wait_until_saved(page)
        wait_until_ready(page)
        press(page, after)
        wait_until_saved(page)
    steps = written(run, "Grace")
    assert steps[: len(acknowledged)] == acknowledged
    assert [kind for _, _, kind, _ in steps] == [KIND_OF[key] for key in before + meanwhile + after]
    assert len({(client, seq) for client, seq, _, _ in steps}) == len(steps)
    for tab in {client for client, _, _, _ in steps}:
        numbers = [seq for client, seq, _, _ in steps if client == tab]
        assert numbers == list(range(1, len(numbers) + 1))


def test_what_was_not_saved_when_a_page_is_loaded_again_is_said_and_saved(run, address, open_tab, hold_up):
    page = open_audit(open_tab, address, run, "Ada")
    first = shown(page)
    with hold_up(address):
        press(page, "axu")
        with pytest.raises(Exception, match="Timeout"):
            page.reload(timeout=1000)  # the server answers later
    page.locator(".annotator .notice").get_by_text("before this page was loaded").or_(
        page.locator(".annotator .notice").get_by_text("Saved now")
    ).first.wait_for()
    wait_until_saved(page)
    steps = written(run, "Ada")
    assert [kind for _, _, kind, _ in steps] == [Kind.MARK, Kind.MARK, Kind.UNDO]
    assert [seq for _, seq, _, _ in steps] == [1, 2, 3]
    assert steps[0][3] == first


def test_tabs_of_one_person_and_a_colleague_show_other_masks(run, address, open_tab):
    pages = [open_audit(open_tab, address, run, name) for name in ("Ada", "Ada", "Bob")]
    for _ in range(15):
        assert len({shown(page) for page in pages}) == 3
        for page in pages:
            press(page, "a", pause=20)
            wait_until_ready(page)
    for page in pages:
        wait_until_saved(page)
    judged = [mask_id for name in ("Ada", "Bob") for _, _, _, mask_id in written(run, name)]
    assert len(judged) == len(set(judged)) == 45
    here = [shown(page) for page in pages[:2]]
    pages[0].reload()  # the same mask comes back
    wait_until_ready(pages[0])
    assert [shown(page) for page in pages[:2]] == here
    pages[1].get_by_role("link", name="Clusters", exact=True).first.click()
    pages[1].locator("canvas.over").wait_for()
    left = {row["session"] for row in claims(run)}
    assert len(left) == 2  # the masks of the tab that was left are free, those of the other one are not
    third = open_audit(open_tab, address, run, "Ada")
    assert shown(third) not in {here[0], shown(pages[2]), *judged}
    assert left < {row["session"] for row in claims(run)}


def test_database_that_another_program_holds_is_said_and_the_strokes_are_saved_later(run, address, open_tab):
    page = open_audit(open_tab, address, run, "Ada")
    with closing(sqlite3.connect(database_path(run.path), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        press(page, "ax")
        page.get_by_role("alert").get_by_text("Not saved").wait_for()
        assert written(run, "Ada") == []
    wait_until_saved(page)
    page.get_by_role("alert").wait_for(state="hidden")
    assert [seq for _, seq, _, _ in written(run, "Ada")] == [1, 2]
    assert page.locator("[data-testid=stException]").count() == 0


WAYS = {
    "link": """[...document.querySelectorAll("a")].find((link) => link.textContent.includes("Clusters")).click()""",
    "back": """history.pushState({}, "", "/clusters" + location.search); dispatchEvent(new Event("popstate"))""",
}


@pytest.mark.parametrize("way", WAYS)
def test_way_to_another_page_right_after_a_message_leads_there(run, address, open_tab, way):
    page = open_audit(open_tab, address, run, "Ada")
    told = """document.dispatchEvent(new KeyboardEvent("keydown", { key: "z", bubbles: true }))"""
    page.evaluate(f"() => {{ {told}; {WAYS[way]}; }}")  # Streamlit sends what it was told after this
    page.locator("canvas.over").wait_for()
