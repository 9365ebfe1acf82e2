"""The Training page on a small run whose artifacts are stand-ins; jobs are rows, and no process is started."""

import json
import os
import re
import time

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from whole_tables import write_whole_table

from app import job_status, stage_jobs
from app.training import live
from maskdistill.config import load_preset
from maskdistill.datasets import open_source
from maskdistill.errors import JobError
from maskdistill.features.registry import SPECS, BackboneChoice
from maskdistill.files import write_json
from maskdistill.jobs import JobState, Submitted, get_job, list_jobs
from maskdistill.jobs.processes import ProcessId
from maskdistill.pseudo_labels.label_maps import write_label_png
from maskdistill.stages import soundness, status, time_estimates
from maskdistill.stages.plan import Plan
from maskdistill.stages.stage_list import BY_NAME, OF_EVERY_RUN
from maskdistill.storage.database import writing
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_photos import write_images

CONFIG = load_preset("quick").with_overrides(
    ["features.backbone=focus_vits14", "features.precision=float32", "features.shorter_side=336"]
)
CHOICE = BackboneChoice(SPECS["focus_vits14"], "")
PHOTOS = ("ant", "bee", "cow")
MASKS = pd.DataFrame({"mask_id": [0, 10, 20], "image_id": PHOTOS})
KNOWN = [time_estimates.Measured(*time_estimates.drivers_of(name, CONFIG), 9.0, 1) for name in OF_EVERY_RUN]


@pytest.fixture(autouse=True)
def stand_ins_are_sound(monkeypatch):
    for module in (soundness, status):
        monkeypatch.setattr(module, "find_damage", lambda _run, _stage: None)


@pytest.fixture
def make_run(runs_folder, photo_folder):
    """``make_run()``: a finished run named sheep; ``make_run(until="clusters")``: one that went so far only."""

    def make(until=OF_EVERY_RUN[-1], config=CONFIG):
        run = Run(runs_folder / "sheep")
        source = open_source(str(photo_folder))
        backbone = {"name": "focus_vits14", "weights": "Offline."}
        run.write_info({"data": source.spec, "config": config.to_dict(), "backbone": backbone, "preset": "quick"})
        write_images(run, source)
        write_whole_table(run.masks_path, MASKS)
        plan = Plan(run, source, config, CHOICE)
        for name in OF_EVERY_RUN[: OF_EVERY_RUN.index(until) + 1]:
            for artifact in BY_NAME[name].artifacts:
                (run.path / artifact).parent.mkdir(parents=True, exist_ok=True)
                (run.path / artifact).write_text('{"num_classes": 2, "photos": [0, 1, 2]}')
            write_json(run.stage_path(name), {"fingerprint": plan.key(name), "made_from": plan.made_from(name)})
        return run

    return make


@pytest.fixture(autouse=True)
def plain_summaries(monkeypatch):
    """The stand-ins hold no rows to count."""
    monkeypatch.setattr("maskdistill.stages.status.SUMMARIES", {})


@pytest.fixture
def calls(monkeypatch):
    """What would be started, in place of starting it."""
    found = []

    def note(run, *arguments, **options):
        found.append((arguments, options))
        add_job(run, arguments=["run"], state="queued")
        return Submitted(list_jobs(run)[0], True)

    monkeypatch.setattr(stage_jobs, "submit_run", note)
    monkeypatch.setattr(stage_jobs, "submit_command", note)
    return found


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


def add_job(run, *, config=CONFIG, epochs=(), **values):
    """A row as a job leaves it; one that works has this very process."""
    row = {"title": "Stage 1", "arguments": ["run", "--data", "x", "--until", "stage1"], "folder": "/", "device": "cpu"}
    row |= {
        "state": "done",
        "turn": 1,
        "token": "x",
        "created": 1.0,
        "settings": json.dumps(config.to_dict()),
        **values,
    }
    if row["state"] in ("queued", "running", "stopping"):
        row.setdefault("process", ProcessId.of(os.getpid()).to_json())
    row["arguments"] = json.dumps(row["arguments"])
    with writing(run) as db:
        marks = ", ".join("?" * len(row))
        number = db.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({marks})", tuple(row.values())).lastrowid
        for epoch, loss in epochs:
            value = {"stage": "stage1", "epoch": epoch, "num_epochs": 9, "losses": {"total": loss}, "metrics": {}}
            db.execute(
                "INSERT INTO events (job, time, kind, value) VALUES (?, ?, 'epoch', ?)",
                (number, 1.0, json.dumps(value)),
            )
    return number


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


def open_training(open_page, **link):
    app = open_page("training", run="sheep", **link)
    assert not app.exception
    return app


def button(app, label):
    return next(item for item in app.button if item.label == label)


def texts(app):
    return "\n".join(item.value for item in [*app.markdown, *app.caption, *app.info, *app.warning, *app.error])


def test_asks_for_photos_when_there_is_no_run(open_page):
    app = open_page("training")
    assert app.info
    assert not app.subheader


def test_asks_to_choose_a_run_when_there_are_some(open_page, make_run):
    make_run()
    app = open_page("training")
    assert app.info
    assert not app.subheader


def test_run_that_trained_nothing_says_what_start_will_do(open_page, make_run):
    make_run(until="proposals")
    app = open_training(open_page)
    assert app.info
    assert app.subheader[0].value == "Stage 1"
    assert "Embeddings, Clusters and Classes." in texts(app)
    assert not button(app, "Start").disabled


def test_says_how_long_it_will_take(open_page, make_run, monkeypatch, tmp_path):
    monkeypatch.setenv("MASKDISTILL_CACHE", str(tmp_path / "cache"))
    make_run(until="clusters")
    assert time_estimates.UNKNOWN in texts(open_training(open_page))
    monkeypatch.setattr(time_estimates, "_read", lambda _path: {time_estimates._machine(): KNOWN})
    st.cache_data.clear()
    assert re.search(r"(About|Roughly) \d+ (s|min)", texts(open_training(open_page)))


def test_damaged_file_of_a_stage_to_be_made_does_not_stand_in_the_way(open_page, make_run):
    run = make_run(until="embeddings")
    (run.path / "clusters.json").write_text("{")
    app = open_training(open_page, stage="clusters")
    assert not button(app, "Start").disabled


def test_finished_run_has_nothing_to_do(open_page, make_run):
    make_run()
    app = open_training(open_page)
    assert button(app, "Start").disabled
    assert button(app, "Run all").disabled


def test_link_chooses_the_stage_and_a_bad_one_is_left_alone(open_page, make_run):
    make_run()
    assert open_training(open_page, stage="clusters").subheader[0].value == "Clusters"
    assert open_training(open_page, stage="nonsense").subheader[0].value == "Stage 2"


def test_stage_without_settings_says_so(open_page, make_run):
    make_run()
    app = open_training(open_page, stage="classes")
    assert app.subheader[0].value == "Classes"
    assert not any(item.label.startswith("Back to the preset") for item in app.button)


@pytest.mark.parametrize("stage", [name for name in OF_EVERY_RUN if name != "classes"])
def test_every_stage_has_a_form(open_page, make_run, stage):
    make_run()
    app = open_training(open_page, stage=stage)
    assert any(item.label.startswith("Back to the preset") for item in app.button)
    assert app.selectbox or app.number_input or app.slider or app.toggle
    assert not app.error


def test_changed_setting_makes_the_stage_and_is_started(open_page, make_run, calls):
    run = make_run()
    app = open_training(open_page, stage="stage1")
    app.number_input(key="field:stage1.epochs").set_value(3).run()
    assert "stage1.epochs = 3" in texts(app).replace("\\", "")
    button(app, "Start").click().run()
    assert not app.exception
    (arguments, options) = calls[0]
    assert arguments == (run.info()["data"],)
    assert options["until"] == "stage1"
    assert options["overrides"] == ["stage1.epochs=3"]
    assert options["title"] == "Stage 1"


def test_change_in_one_form_is_kept_for_the_start_in_another(open_page, make_run, calls):
    make_run()
    app = open_training(open_page, stage="clusters")
    app.number_input(key="field:clusters.num_classes").set_value(7).run()
    app.query_params["stage"] = "stage2"
    app.run()
    app.switch_page("../pages/start.py").run()
    app.switch_page("../pages/training.py").run()
    assert app.subheader[0].value == "Stage 2"
    assert "clusters.num_classes = 7" in texts(app).replace("\\", "")
    assert "Clusters, Classes, Stage 1, Candidates, Filter and Pseudo-labels." in texts(app)
    button(app, "Run all").click().run()
    assert calls[0][1]["overrides"] == ["clusters.num_classes=7"]
    assert calls[0][1]["until"] == OF_EVERY_RUN[-1]


def test_seed_is_of_the_whole_run(open_page, make_run, calls):
    make_run()
    app = open_training(open_page, stage="stage2")
    app.number_input(key="field:seed").set_value(7).run()
    button(app, "Start").click().run()
    assert calls[0][1]["overrides"] == ["seed=7"]


def test_discard_goes_back_to_the_settings_of_the_run(open_page, make_run):
    make_run()
    app = open_training(open_page, stage="stage1")
    app.number_input(key="field:stage1.epochs").set_value(3).run()
    button(app, "Discard").click().run()
    assert app.number_input(key="field:stage1.epochs").value == 10
    assert button(app, "Start").disabled


def test_form_stays_while_the_job_goes_on_to_the_next_stage(open_page, make_run):
    run = make_run(until="clusters")
    add_job(run.path, state="running", stage="stage1")
    app = open_training(open_page)
    assert app.subheader[0].value == "Stage 1"
    with writing(run.path) as db:
        db.execute("UPDATE jobs SET stage = 'candidates'")
    app.run()
    assert app.subheader[0].value == "Stage 1"


def test_setting_that_cannot_work_is_named_once_and_nothing_can_be_started(open_page, make_run):
    make_run()
    app = open_training(open_page, stage="stage1")
    app.text_input(key="field:stage1.milestones").set_value("many").run()
    assert "stage1.milestones" in app.error[0].value
    assert len(app.error) == 1
    assert all(item.label != "Start" for item in app.button)


def test_what_speaks_against_stopping_is_said(open_page, make_run, monkeypatch):
    run = make_run(until="clusters")
    add_job(run.path, state="running", stage="stage1")

    def fail(_run, _number):
        raise JobError("It runs on another machine: stop it there.")

    monkeypatch.setattr(job_status, "stop_job", fail)
    app = open_training(open_page)
    app.button(key="job:Stop").click().run()
    assert "stop it there" in app.warning[0].value


def test_map_is_made_without_the_stages_between(open_page, make_run, calls):
    make_run(until="clusters")
    app = open_training(open_page, stage="projection")
    button(app, "Start").click().run()
    assert calls[0][0] == (["project"],)


def test_error_on_starting_is_shown(open_page, make_run, monkeypatch):
    make_run(until="clusters")

    def fail(*_arguments, **_options):
        raise JobError("Its process cannot be started: no memory.")

    monkeypatch.setattr(stage_jobs, "submit_run", fail)
    app = open_training(open_page, stage="stage1")
    button(app, "Start").click().run()
    assert "cannot be started" in app.error[0].value


def test_photos_that_are_gone_are_named(open_page, make_run, photo_folder):
    make_run()
    photo_folder.rename(photo_folder.with_name("elsewhere"))
    app = open_training(open_page)
    assert any("photos" in item.value for item in app.error)
    assert all(item.label != "Start" for item in app.button)


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


def test_stage_with_a_damaged_record_can_be_made_anew(open_page, make_run):
    run = make_run()
    (run.path / "stages" / "stage1.json").write_text("{")
    app = open_training(open_page, stage="stage1")
    assert not app.exception
    assert not button(app, "Start").disabled


def test_stage_2_on_the_kept_masks_for_the_filter_page(make_run, calls):
    run = make_run()
    stage_jobs.train_on_kept(run, ["filter.min_score=0.7"])
    arguments, options = calls[0]
    assert arguments == (run.info()["data"],)
    assert options["until"] == "stage2"
    assert options["overrides"] == ["filter.min_score=0.7"]
