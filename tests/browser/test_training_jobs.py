"""Jobs started from the Training page: they outlive the tab and the server, stop, wait for each other, and resume."""

import os
import re
import signal
import time

import pytest
from tiny_run import run_chain

from maskdistill.config import load_preset
from maskdistill.jobs import current_job, get_job, list_jobs, stop_job, wait_until_ended

pytestmark = pytest.mark.browser

MINUTES = 180_000  # milliseconds: a busy machine loads torch more than once below
SETTINGS = (
    "features.backbone=focus_vits14",
    "features.shorter_side=168",
    "foreground.enabled=false",
    "embeddings.crop_side=112",
    "embeddings.mirror=false",
    "clusters.num_classes=2",
)
EPOCHS = "2000"  # none of the jobs below is meant to come to its end


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with runs/small: masks and clusters of six photos. Its jobs get slots of their own."""
    folder = tmp_path_factory.mktemp("training")
    config = load_preset("quick").with_overrides(SETTINGS)
    run_chain(folder / "runs" / "small", "sample", config, wanted=("clusters",), limit=6)
    return folder


@pytest.fixture
def run(home):
    """The run's folder; no job is left behind."""
    path = home / "runs" / "small"
    yield path
    for job in list_jobs(path):
        if job.state.is_active:
            stop_job(path, job.id)
    deadline = time.monotonic() + 60
    while any(job.state.is_active for job in list_jobs(path)) and time.monotonic() < deadline:
        time.sleep(0.3)


@pytest.fixture
def site(home, serve, port):
    """Starts the server over the folder; each call another one at the same address."""
    return lambda: serve(home, port, MASKDISTILL_CACHE=str(home / "cache"))


@pytest.fixture(scope="module")
def address(home, serve_once):
    """Of a server over the folder, for tests that do not stop it."""
    return serve_once(home, MASKDISTILL_CACHE=str(home / "cache"))


@pytest.fixture
def open_training(open_tab):
    """``open_training(address)``: the page with the form of stage 1."""

    def open_page(address):
        page = open_tab(f"{address}/training?run=small&stage=stage1")
        page.set_default_timeout(MINUTES)
        page.get_by_role("button", name="Start", exact=True).wait_for()
        return page

    return open_page


def start(page, run, rate):
    """Type the settings and press Start; ``rate`` makes each training another one. Returns the new job."""
    known = len(list_jobs(run))
    for label, value in (("Epochs", EPOCHS), ("Learning rate", rate)):
        field = page.get_by_role("spinbutton", name=label)
        field.fill(value)
        field.press("Enter")
    page.get_by_text(f"stage1.learning_rate = {rate}").wait_for()
    page.get_by_role("button", name="Start", exact=True).click()
    wait_for(page, lambda: len(list_jobs(run)) > known, "The job was not started.")
    job = list_jobs(run)[0]
    page.locator(".st-key-live").get_by_text(re.compile(rf"job {job.id}\b")).first.wait_for()
    return job


def wait_for(page, condition, otherwise):
    deadline = time.monotonic() + MINUTES / 1000
    while not condition():
        assert time.monotonic() < deadline, otherwise
        page.wait_for_timeout(300)


def badge(page, word):
    return page.locator(".st-key-live .stMarkdownBadge", has_text=word)


def epoch(page):
    """The epoch that the photos show; 0 before there are any."""
    when = page.locator(".st-key-live .when")
    found = re.search(r"after epoch (\d+)", when.inner_text()) if when.count() else None
    return int(found[1]) if found else 0


def wait_for_epoch(page, least):
    wait_for(page, lambda: epoch(page) >= least, f"Epoch {least} did not come.")


def curve(page):
    """How long the text of the first curve's path is: it grows with each epoch."""
    line = page.locator(".st-key-live [data-testid=stVegaLiteChart]").first.locator(".mark-line path").first
    return len(line.get_attribute("d"))


def stop(page):
    page.locator(".st-key-live").get_by_role("button", name="Stop", exact=True).first.click()


def resume(page):
    page.locator(".st-key-live").get_by_role("button", name="Resume", exact=True).click()


def test_training_outlives_tab_and_server(run, site, open_training):
    with site() as address:
        page = open_training(address)
        job = start(page, run, "0.006")
        badge(page, "running").wait_for()
        wait_for_epoch(page, 3)
        before = curve(page)
        wait_for(page, lambda: curve(page) > before, "The curve did not grow.")
        seen = epoch(page)
        page.close()
    assert get_job(run, job.id).state == "running"
    time.sleep(3)
    with site() as address:
        page = open_training(address)
        badge(page, "running").wait_for()
        wait_for_epoch(page, seen + 1)


def test_stop_keeps_what_is_done_and_resume_goes_on_from_there(run, address, open_training):
    page = open_training(address)
    job = start(page, run, "0.002")
    wait_for_epoch(page, 3)
    stop(page)
    badge(page, "stopped").wait_for()
    page.get_by_text("What is finished is kept").first.wait_for()
    stopped_at = epoch(page)
    resume(page)
    badge(page, "running").wait_for()
    wait_for_epoch(page, stopped_at + 2)
    assert get_job(run, job.id).attempts == 2
    log = (run / "logs" / f"job-{job.id}.log").read_text()
    assert log.rpartition("attempt 2")[2].count("epoch 1:") == 0


def test_second_job_waits_for_the_first(run, address, open_training):
    page = open_training(address)
    first = start(page, run, "0.003")
    wait_for_epoch(page, 1)
    second = start(page, run, "0.004")
    assert get_job(run, second.id).state == "queued"
    assert current_job(run).id == first.id
    stop(page)
    page.get_by_text(re.compile(rf"Stage 1 · job {second.id}")).first.wait_for()
    badge(page, "running").wait_for()
    wait_until_ended(first, 60)  # both may say "running" for a moment, the first one while it stops
    assert get_job(run, first.id).state == "stopped"
    assert get_job(run, second.id).settings["stage1"]["learning_rate"] == 0.004


def test_killed_worker_is_lost_and_can_be_resumed(run, address, open_training):
    page = open_training(address)
    job = start(page, run, "0.005")
    wait_for_epoch(page, 2)
    os.kill(get_job(run, job.id).pid, signal.SIGKILL)
    badge(page, "lost").wait_for()
    page.get_by_text("ended from outside").first.wait_for()
    resume(page)
    badge(page, "running").wait_for()
    wait_for_epoch(page, 3)


def test_epochs_are_played_back_and_cards_choose_the_form_while_nothing_polls(run, address, open_training, open_tab):
    page = open_training(address)
    if not (run / "stage1" / "samples").is_dir():  # alone, without the tests above
        start(page, run, "0.007")
        wait_for_epoch(page, 2)
        stop(page)
        badge(page, "stopped").wait_for()
    when = page.locator(".st-key-live .when")
    page.get_by_role("slider", name="Epoch", exact=True).press("Home")
    assert when.inner_text() == "before the training"
    page.locator(".st-key-live").get_by_role("button", name="Play").click()
    wait_for(page, lambda: epoch(page) >= 2, "It did not play.")
    page.get_by_role("option", name="Clusters").click()
    page.wait_for_url(re.compile("stage=clusters"))
    page.get_by_role("heading", name="Clusters").wait_for()
    sockets = []
    quiet = open_tab("about:blank")
    quiet.on("websocket", lambda socket: socket.on("framesent", lambda frame: sockets.append(frame)))
    quiet.goto(page.url)
    quiet.get_by_role("heading", name="Clusters").wait_for()
    quiet.wait_for_timeout(3000)
    sent = len(sockets)
    quiet.wait_for_timeout(5000)
    assert len(sockets) == sent
