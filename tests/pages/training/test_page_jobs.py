"""Jobs on the Training page: at work, waiting, ended, and those before; they are rows, and no process is started."""

import time

import numpy as np
import pytest
import streamlit as st
from shown_page import button, texts
from training_page import CONFIG, add_job, open_training

from app import job_status
from app.training import live
from maskdistill.errors import JobError
from maskdistill.files import write_json
from maskdistill.jobs import JobState, get_job
from maskdistill.pseudo_labels.label_maps import write_label_png
from maskdistill.storage.database import writing

PHOTOS = ("ant", "bee", "cow")


@pytest.fixture
def timers(monkeypatch):
    """How often each fragment of the page's own column asks to be drawn again."""
    found = []
    fragment = st.fragment

    def note(function=None, **options):
        if function is not None and function.__module__ == live.__name__:
            found.append(options.get("run_every"))
        return fragment(function, **options)

    monkeypatch.setattr(st, "fragment", note)
    return found


def add_samples(run, stage="stage1", epochs=3):
    """Label maps of three photos, as a training leaves them."""
    folder = run.path / stage / "samples"
    labels = np.zeros((12, 16), np.uint8)
    labels[3:9, 4:12] = 1
    for number in range(len(PHOTOS)):
        for part in ("target", *(f"epoch-{epoch:03d}" for epoch in range(epochs + 1))):
            write_label_png(folder / part / f"{number}.png", labels)
    (run.path / stage / "history.jsonl").touch()
    photos = [{"number": n, "id": id, "height": 12, "width": 16} for n, id in enumerate(PHOTOS)]
    write_json(folder / "samples.json", {"training": "x", "num_epochs": epochs, "num_classes": 1, "photos": photos})


def test_form_stays_while_the_job_goes_on_to_the_next_stage(open_page, make_run):
    run = make_run(until="clusters")
    add_job(run.path, state="running", stage="stage1")
    app = open_training(open_page)
    assert app.subheader[0].value == "Stage 1"
    with writing(run.path) as db:
        db.execute("UPDATE jobs SET stage = 'candidates'")
    app.run()
    assert app.subheader[0].value == "Stage 1"


def test_nothing_polls_while_nothing_runs(open_page, make_run, timers):
    run = make_run()
    add_job(run.path, epochs=[(1, 0.5)])
    open_training(open_page)
    assert timers
    assert set(timers) == {None}


def test_job_at_work_is_shown_live(open_page, make_run, timers):
    run = make_run(until="clusters")
    add_job(
        run.path,
        state="running",
        started=time.time(),
        stage="stage1",
        done=30,
        total=120,
        unit="steps",
        rate=10.0,
        seconds_left=9.0,
    )
    app = open_training(open_page)
    assert timers[-1] == live.REFRESH
    assert any("30 of 120 steps · 10 steps per second · 9 s left" in item.proto.text for item in app.get("progress"))
    assert " cores · " in texts(app)
    assert "Job 1 " in texts(app)
    assert button(app, "Start").disabled


def test_stop_asks_the_job_to_stop(open_page, make_run, monkeypatch):
    run = make_run(until="clusters")
    add_job(run.path, state="running", stage="stage1")
    asked = []
    monkeypatch.setattr(job_status, "stop_job", lambda run, number: asked.append((run, number)))
    app = open_training(open_page)
    app.button(key="job:Stop").click().run()
    assert asked == [(run.path, 1)]


def test_what_speaks_against_stopping_is_said(open_page, make_run, monkeypatch):
    run = make_run(until="clusters")
    add_job(run.path, state="running", stage="stage1")

    def fail(_run, _number):
        raise JobError("It runs on another machine: stop it there.")

    monkeypatch.setattr(job_status, "stop_job", fail)
    app = open_training(open_page)
    app.button(key="job:Stop").click().run()
    assert "stop it there" in app.warning[0].value


def test_waiting_job_is_listed_and_can_be_taken_out(open_page, make_run):
    run = make_run(until="clusters")
    add_job(run.path, state="running", stage="stage1")
    add_job(run.path, state="queued", title="Stage 2", arguments=["run", "--data", "x", "--until", "stage2"], turn=2)
    app = open_training(open_page)
    assert "**Stage 2** · job 2" in texts(app)
    app.button(key="queue:2:Stop").click().run()
    assert get_job(run.path, 2).state is JobState.STOPPED


@pytest.mark.parametrize("state", ["lost", "failed", "stopped"])
def test_job_that_ended_early_says_why_and_can_be_resumed(open_page, make_run, monkeypatch, state):
    run = make_run(until="clusters")
    add_job(run.path, state=state, message="Its process was ended from outside.", epochs=[(1, 0.9)])
    asked = []
    monkeypatch.setattr(job_status, "resume_job", lambda run, number: asked.append(number))
    app = open_training(open_page)
    assert "ended from outside" in texts(app)
    app.button(key="job:Resume").click().run()
    assert asked == [1]


def test_duplicate_puts_a_jobs_settings_into_the_forms(open_page, make_run, calls):
    run = make_run()
    past = CONFIG.with_overrides(["stage1.epochs=4", "clusters.num_classes=5", "features.backbone=auto"])
    add_job(run.path, config=past, stage="stage1")
    app = open_training(open_page)
    app.button(key="job:Duplicate").click().run()
    assert app.subheader[0].value == "Stage 1"
    assert app.number_input(key="field:stage1.epochs").value == 4
    app.number_input(key="field:stage1.epochs").set_value(6).run()
    button(app, "Start").click().run()
    assert calls[0][1]["overrides"] == ["clusters.num_classes=5", "stage1.epochs=6"]


def test_start_while_a_job_waits_takes_its_settings_along(open_page, make_run, calls):
    run = make_run()
    add_job(run.path, state="running", stage="stage1", config=CONFIG.with_overrides(["stage1.epochs=4"]))
    app = open_training(open_page, stage="stage2")
    app.number_input(key="field:stage2.epochs").set_value(5).run()
    button(app, "Start").click().run()
    assert calls[0][1]["overrides"] == ["stage1.epochs=4", "stage2.epochs=5"]


def test_history_has_a_row_a_job(open_page, make_run):
    run = make_run()
    add_job(run.path, epochs=[(1, 0.9), (2, 0.25)], started=5.0, seconds=61.0)
    add_job(run.path, state="failed", message="Diverged.", title="Stage 2")
    app = open_training(open_page)
    table = app.dataframe[0].value
    assert table["Job"].tolist() == [2, 1]
    assert table["Message"].tolist() == ["Diverged.", ""]
    assert table["Loss"].tolist()[1] == 0.25


def test_job_of_a_link_is_shown_and_one_that_is_not_there_is_named(open_page, make_run):
    run = make_run()
    add_job(run.path, title="First")
    add_job(run.path, title="Second")
    app = open_training(open_page, job="1")
    assert "**First** · job 1" in texts(app)
    app.button(key="job:Current job").click().run()
    assert "**Second** · job 2" in texts(app)
    app = open_training(open_page, job="77")
    assert "77" in app.error[0].value
    button(app, "Show the current job").click().run()
    assert "**Second** · job 2" in texts(app)


def test_photos_as_the_model_sees_them_come_with_the_curves(open_page, make_run):
    run = make_run()
    add_samples(run)
    add_job(run.path, stage="stage1", epochs=[(1, 0.9), (2, 0.5), (3, 0.25)])
    app = open_training(open_page)
    assert "**Predictions of Stage 1**" in texts(app)
    add_samples(run, "stage2")
    app.run()
    assert app.segmented_control[0].options == ["Stage 1", "Stage 2"]


def test_long_names_and_markup_are_shown_as_they_are(open_page, make_run):
    run = make_run()
    add_job(run.path, title="x" * 200, message="**bold** [link](http://x) " * 20, state="failed")
    app = open_training(open_page)
    assert "\\*\\*bold\\*\\*" in texts(app)
