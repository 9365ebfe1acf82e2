"""Names that a login or a proxy gives: decisions stand under them, whatever the link or the page says."""

import json

import pytest
from oidc_stand_in import login_service

from benchmarks.generated_run import generate_run
from maskdistill.storage.database import reading

pytestmark = pytest.mark.browser

HEADERS = f"--server.trustedUserHeaders={json.dumps({'X-Forwarded-Email': 'email'})}"


@pytest.fixture
def folder(tmp_path):
    """A folder for a server, with a run of some masks."""
    generate_run(tmp_path, 60)
    return tmp_path


@pytest.fixture
def service():
    with login_service() as running:
        yield running


def reviewers(folder):
    with reading(folder / "runs" / "generated") as db:
        return {row[0] for row in db.execute("SELECT reviewer FROM steps")} if db else set()


def accept_a_mask(page, address):
    page.goto(f"{address}/audit?run=generated&reviewer=Mallory")
    page.locator('.annotator .stage[data-mask]:not([data-mask=""])').wait_for()
    assert page.get_by_role("textbox", name="Reviewer").is_disabled()
    page.keyboard.press("a")
    page.locator(".annotator .saved").get_by_text("saved", exact=True).wait_for()


def test_decisions_stand_under_the_name_of_the_login(folder, serve, port, service, open_tab):
    (folder / ".streamlit").mkdir()
    (folder / ".streamlit" / "secrets.toml").write_text(service.secrets_toml(f"http://127.0.0.1:{port}"))
    with serve(folder, port, cwd=folder) as address:
        page = open_tab(f"{address}/audit?run=generated&reviewer=Mallory")
        page.get_by_role("button", name="Log in").wait_for()
        assert page.locator(".annotator").count() == 0
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("button", name="Log out").wait_for()
        accept_a_mask(page, address)
        assert reviewers(folder) == {"ada@lab.example"}
        page.get_by_role("button", name="Log out").click()
        page.get_by_role("button", name="Log in").wait_for()


def test_decisions_stand_under_the_name_of_the_proxy(folder, serve, port, open_tab):
    with serve(folder, port, options=[HEADERS]) as address:
        page = open_tab(address, extra_http_headers={"X-Forwarded-Email": "grace@lab.example"})
        accept_a_mask(page, address)
        assert reviewers(folder) == {"grace@lab.example"}
        nobody = open_tab(f"{address}/audit?run=generated&reviewer=Mallory")
        nobody.get_by_role("alert").wait_for()
        assert nobody.locator(".annotator").count() == 0
