"""The Training page on a small run whose artifacts are stand-ins: its stages, their settings, and what it starts."""

import re

import pytest
import streamlit as st
from shown_page import button, texts
from training_page import CONFIG, open_training

from app import stage_jobs
from maskdistill.errors import JobError
from maskdistill.stages import time_estimates
from maskdistill.stages.stage_list import OF_EVERY_RUN

KNOWN = [time_estimates.Measured(*time_estimates.drivers_of(name, CONFIG), 9.0, 1) for name in OF_EVERY_RUN]


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


def test_setting_that_cannot_work_is_named_once_and_nothing_can_be_started(open_page, make_run):
    make_run()
    app = open_training(open_page, stage="stage1")
    app.text_input(key="field:stage1.milestones").set_value("many").run()
    assert "stage1.milestones" in app.error[0].value
    assert len(app.error) == 1
    assert all(item.label != "Start" for item in app.button)


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
