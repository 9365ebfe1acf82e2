"""Where jobs work on photos, as chosen on Start and Training."""

import pytest
from shown_page import button

from app import engine_choice, stage_jobs
from app.start import launch_form
from maskdistill.cli.job_command import read_command
from maskdistill.errors import JobError
from maskdistill.roots import VARIABLE as ROOTS


@pytest.fixture
def with_ray(monkeypatch):
    monkeypatch.setattr(engine_choice, "find_spec", lambda name: name)
    for name in ("MASKDISTILL_ENGINE", "RAY_ADDRESS", ROOTS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def started(monkeypatch):
    """Flags of the jobs that would be started."""
    found = []

    def note(*_, flags, **__):
        found.append(flags)
        raise JobError("Not started: a test.")

    for module in (launch_form, stage_jobs):
        monkeypatch.setattr(module, "submit_run", note)
    return found


def choose(app, engine, address=""):
    app.segmented_control(key="engine").set_value(engine).run()
    if address:
        app.text_input(key="cluster address").set_value(address).run()


def press(app, label):
    button(app, label).click().run()


@pytest.fixture
def start_page(open_page, photo_folder):
    app = open_page("start")
    app.segmented_control(key="source kind").set_value("path").run()
    app.text_input(key="source path").set_value(str(photo_folder)).run()
    app.selectbox(key="backbone").set_value("focus_vits14").run()
    return app


def test_without_ray_nothing_is_asked(start_page, started, monkeypatch):
    monkeypatch.setattr(engine_choice, "find_spec", lambda name: None)
    assert "engine" not in {item.key for item in start_page.segmented_control}
    press(start_page, "Find masks")
    assert started == [[]]


@pytest.mark.usefixtures("with_ray")
class TestWithRay:
    @pytest.mark.parametrize(
        ("engine", "address", "flags"),
        [
            ("local", "", []),
            ("ray", "", ["--engine", "ray"]),
            ("ray", " head:6379 ", ["--engine", "ray", "--address", "head:6379"]),
        ],
    )
    def test_the_choice_goes_into_the_command(self, start_page, started, engine, address, flags):
        start_page.run()
        choose(start_page, engine, address)
        press(start_page, "Find masks")
        assert started == [flags]

    def test_what_the_server_was_started_with_is_the_default(self, request, started, monkeypatch):
        monkeypatch.setenv("MASKDISTILL_ENGINE", "ray")
        start_page = request.getfixturevalue("start_page")
        assert start_page.segmented_control(key="engine").value == "ray"
        press(start_page, "Find masks")
        choose(start_page, "local")
        press(start_page, "Find masks")
        assert started == [[], ["--engine", "local"]]

    def test_training_starts_jobs_there_too(self, open_page, editable_run, started):
        app = open_page("training", run=editable_run.name)
        choose(app, "ray", "head:6379")
        press(app, "Run all")
        assert started == [["--engine", "ray", "--address", "head:6379"]]

    def test_visitors_connect_the_server_to_no_machine_of_theirs(self, start_page, monkeypatch, tmp_path):
        monkeypatch.setenv(ROOTS, str(tmp_path))
        start_page.run()
        start_page.segmented_control(key="engine").set_value("ray").run()
        assert "cluster address" not in {item.key for item in start_page.text_input}
        with pytest.raises(JobError, match="RAY_ADDRESS"):
            read_command(tmp_path / "run", ["run", "--data", "sample", "--engine", "ray", "--address", "host:1"])
