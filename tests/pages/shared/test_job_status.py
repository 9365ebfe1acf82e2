"""A run's job as the Start page and the sidebar show it, with rows of jobs made by hand."""

import json
import os
import sqlite3

import pytest
from jobs_data import add_row

from app import job_status
from app.session import Key
from maskdistill.errors import RunError
from maskdistill.jobs import JobState, get_job, list_jobs
from maskdistill.jobs.processes import ProcessId
from maskdistill.storage.database import writing
from maskdistill.storage.progress import Reporter

JOB_DONE = "VALUES ('Stage 1', '[]', '/', 'cpu', 'done', 1, 't', 1.0)"


@pytest.fixture
def add_job(runs_folder):
    """Writes a job of the run ``sample``, which is what the Start page suggests."""

    def add(state, **values):
        row = {"title": "Finding masks", "arguments": [state], "process": ProcessId.of(os.getpid()), **values}
        add_row(runs_folder / "sample", state=state, **row)
        return runs_folder / "sample"

    return add


def buttons(app, label):
    return [item for item in app.button if item.label == label]


def progress_texts(app):
    return [item.proto.text.replace("\\", "") for item in app.get("progress")]


def test_job_at_work_shows_how_far_it_is(add_job, open_page):
    far = {"stage": "proposals", "done": 3, "total": 12, "unit": "photos", "rate": 0.5, "seconds_left": 18.0}
    add_job("running", **far)
    add_job("queued", title="Training", turn=2)
    app = open_page("start")
    assert not app.exception
    assert progress_texts(app)[-1] == "Proposals: 3 of 12 photos · 0.5 photos per second · 18 s left"
    assert any(item.value.startswith("1 more") for item in app.caption)
    assert buttons(app, "Find masks")[0].disabled


def test_stop_asks_and_does_not_wait(add_job, open_page):
    run = add_job("running")
    app = open_page("start")
    buttons(app, "Stop")[-1].click().run()
    assert get_job(run, 1).state is JobState.STOPPING
    assert not buttons(app, "Stop")
    assert progress_texts(app)[-1] == "Asked to stop."


@pytest.mark.parametrize("state", ["lost", "failed", "stopped"])
def test_job_that_ended_before_its_end_can_be_resumed(add_job, open_page, monkeypatch, state):
    run = add_job(state, message="Its process was ended from outside.")
    resumed = []
    monkeypatch.setattr(job_status, "resume_job", lambda *job: resumed.append(job))
    app = open_page("start")
    shown = app.info if state == "stopped" else app.error
    assert "Its process was ended from outside." in [item.value for item in shown]
    buttons(app, "Resume")[0].click().run()
    assert resumed == [(run, 1)]


def test_job_that_is_done_leads_on(add_job, open_page):
    run = add_job("done", message="12 masks.")
    (run / "run.json").write_text(json.dumps({"data": "sample", "config": {}}))
    app = open_page("start")
    assert "12 masks." in [item.value for item in app.success]
    assert buttons(app, "See the masks")


def test_sidebar_says_once_how_what_it_saw_at_work_ended(add_job, open_page):
    run = add_job("running", title="Stage 1", stage="stage1", done=3, total=12, unit="steps")
    (run / "run.json").write_text(json.dumps({"data": "sample", "config": {}}))
    app = open_page("start")
    with writing(run) as db:
        db.execute("UPDATE jobs SET state = 'done'")
    app.run()
    assert [item.value.count("sample") for item in app.sidebar.success] == [1]
    buttons(app, "Dismiss")[0].click().run()
    assert not app.sidebar.success
    assert not open_page("start").sidebar.success  # a session that saw nothing at work is told nothing


def test_only_runs_whose_files_have_changed_are_opened(runs_folder, open_page, monkeypatch):
    """Each rerun opened the database of every run: 80 ms for a hundred."""
    for number in range(100):
        run = runs_folder / f"run-{number}"
        with writing(run) as db:
            db.execute("INSERT INTO jobs (title, arguments, folder, device, state, turn, token, created) " + JOB_DONE)
        (run / "run.json").write_text(json.dumps({"data": "sample", "config": {}}))
    opened = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: opened.append(path) or connect(path, **options))
    app = open_page("guide")
    opened.clear()
    app.run()
    assert not opened
    with writing(runs_folder / "run-7") as db:
        db.execute("UPDATE jobs SET state = 'queued', title = 'Stage 9'")
    opened.clear()
    app.run()
    assert opened
    assert all("/run-7/" in path for path in opened)
    assert any("Stage 9" in item.value for item in app.sidebar.caption)


def test_command_typed_in_a_terminal_is_shown_and_cannot_be_stopped(runs_folder, open_page):
    Reporter(runs_folder / "sample" / "progress.json", "proposals", 12, 5, quiet=True)
    app = open_page("start")
    assert progress_texts(app)[-1].startswith("Proposals: 5 of 12 photos · ")
    assert not buttons(app, "Stop")
    assert list_jobs(runs_folder / "sample") == []


def test_damaged_database_is_told_and_the_page_stays(runs_folder, open_page):
    (runs_folder / "sample").mkdir(parents=True)
    (runs_folder / "sample" / "run.sqlite").write_bytes(b"not a database" * 100)
    app = open_page("start")
    assert not app.exception
    assert buttons(app, "Find masks")


def test_database_that_is_locked_while_a_job_is_followed_is_a_notice(add_job, open_page, monkeypatch):
    def fail(_run):
        raise RunError("run.sqlite cannot be used: database is locked.")

    add_job("running", stage="proposals", done=3, total=12)
    monkeypatch.setattr(job_status, "list_jobs", fail)
    app = open_page("start")
    assert not app.exception
    assert progress_texts(app)


def test_nothing_polls_when_nothing_runs(add_job, open_page, monkeypatch):
    add_job("done")
    monkeypatch.setattr(job_status.st, "fragment", None)
    assert not open_page("start").exception


def test_arrival_waits_until_nothing_of_the_old_page_is_left(add_job, open_page):
    run = add_job("running")
    (run / "run.json").write_text(json.dumps({"data": "sample", "config": {}}))
    app = open_page("start")
    app.session_state[f"page:{Key.STARTED}"] = "sample"
    with writing(run) as db:
        db.execute("UPDATE jobs SET state = 'done'")
    app.run()
    assert any("Proposals" in item.value for item in app.caption)
    assert not app.title
    assert not app.exception
    app.session_state[Key.SWITCH_SIGNAL] = {"shown": True}
    app.run()
    assert app.title[0].value == "Proposals"


def test_link_taken_while_a_page_is_being_opened_counts(runs_folder, open_page):
    app = open_page("start")
    buttons(app, "Try settings first")[0].click().run()
    assert any("Proposals" in item.value for item in app.caption)
    app.switch_page("../pages/guide.py").run()
    assert app.title[0].value == "Guide"
    assert not app.exception
