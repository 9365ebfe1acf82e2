"""A server from its cold start: the first page that it is asked for, and what it writes into its log."""

import re

import pytest
from tiny_run import draw_voc, run_chain, tiny_config

pytestmark = pytest.mark.browser

PAGES = ("Start", "Proposals", "Clusters", "Filter", "Training", "Results", "Audit", "Guide")
# What the server says of itself: where it can be seen.
GREETING = re.compile(r"MaskDistill: http://127\.0\.0\.1:\d+/")


@pytest.fixture
def folder(tmp_path):
    """A folder for a server, with a finished run."""
    run_chain(tmp_path / "runs" / "tiny", draw_voc(tmp_path / "voc"), tiny_config(tmp_path))
    return tmp_path


def idle(page):
    page.wait_for_function("document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'")


def test_cold_server_says_at_once_what_it_does_and_its_log_stays_empty(folder, serve, port, open_tab):
    with serve(folder, port) as address:
        page = open_tab(f"{address}/clusters?run=tiny")
        page.get_by_text("libraries").wait_for()  # and no blank page
        page.get_by_role("heading", name="Clusters", exact=True).wait_for()
        for name in PAGES:
            idle(page)
            page.get_by_role("link", name=name, exact=True).first.click()
            page.get_by_role("heading").first.wait_for()
            idle(page)
            assert page.locator("[data-testid=stException]").count() == 0, name
        page.goto(f"{address}/proposals?sort=worst&photo=cat")  # without a run: the sample photos
        page.locator("canvas").first.wait_for()
        idle(page)
    log = (folder / "server.log").read_text()
    assert [line for line in log.splitlines() if not GREETING.fullmatch(line)] == []
