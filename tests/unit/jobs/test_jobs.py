"""Jobs from the command to the end: what is refused, what a job tells, and how it ends."""

import json
import os
from pathlib import Path

import pytest
from fake_jobs import ask_ready, do, states_of
from jobs_data import PATIENCE, add_row, wait_for

from maskdistill.cli.job_command import submit_command, submit_run
from maskdistill.config import load_preset
from maskdistill.errors import ConfigError, JobError
from maskdistill.jobs import (
    JobState,
    current_job,
    get_job,
    list_jobs,
    log_path,
    log_tail,
    read_events,
    resume_job,
    stop_job,
    wait_until_ended,
)
from maskdistill.jobs.processes import ProcessId

pytestmark = pytest.mark.usefixtures("started")


def test_job_does_its_work_and_leaves_no_process(run, started):
    job = do(run, "quick")
    assert (job.state, job.message, job.title, job.attempts) == (JobState.DONE, "Made 3 masks.", "Quick", 1)
    assert (job.stage, job.done, job.total, job.unit, job.share) == ("proposals", 4, 4, "photos", 1.0)
    assert job.created <= job.started <= job.ended
    assert 0 < job.seconds < job.ended - job.created + 1
    assert states_of(run, 1) == ["queued", "running", "done"]
    stages = [event.value for event in read_events(run, 1) if event.kind == "stage"]
    assert stages[-1] == {"stage": "proposals", "what": "done", "sentence": "Made 3 masks."}
    wait_for(lambda: started[0].poll() == 0)
    assert not list((run / "logs").glob(".*"))


def test_log_holds_the_command_and_what_was_printed(run):
    job = do(run, "bad")
    first, last = log_tail(run, job.id).splitlines()
    assert first.startswith("----- attempt 1, ")
    assert first.endswith(f": maskdistill run --data bad --run {run}")
    assert last == "maskdistill: No such thing. Do it so."
    assert log_tail(run, job.id, lines=1) == last


def test_relative_folder_means_the_same_to_the_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert do(Path("here"), "quick").state is JobState.DONE
    assert [job.title for job in list_jobs(tmp_path / "here")] == ["Quick"]


def test_error_that_nobody_expected_ends_in_a_sentence_and_a_trace(run):
    job = do(run, "fault")
    assert job.state is JobState.FAILED
    assert job.message.startswith("ZeroDivisionError: division by zero. This is a fault of the program; the log says")
    assert states_of(run, 1)[-1] == "failed"
    assert "Traceback" in log_tail(run, 1)


@pytest.mark.parametrize(
    ("what", "why"), [("vanish", "was ended from outside, or crashed."), ("crash", "Fatal Python")]
)
def test_process_that_ends_without_a_word_is_lost(what, why, run):
    job = do(run, what)
    assert job.state is JobState.LOST
    assert why in job.message
    assert job.message.endswith("What is finished is kept: resume to go on from the last checkpoint.")
    assert states_of(run, 1) == ["queued", "running", "lost"]


def test_bad_command_is_refused_before_anything_is_started(run, started):
    with pytest.raises(ConfigError, match=r"No setting 'proposals\.tua'. Did you mean 'proposals\.tau'"):
        submit_command(run, ["run", "--data", "x", "--set", "proposals.tua=1"], title="")
    with pytest.raises(
        JobError, match="'maskdistill run --untill stage1' cannot be a job: unknown argument '--untill'"
    ):
        submit_command(run, ["run", "--untill", "stage1"], title="")
    for arguments in ([], ["jobs", "list"], ["run", "--run", "x"], ["run", "--run=x"], ["run", "--help"]):
        with pytest.raises(JobError, match="cannot be a job"):
            submit_command(run, arguments, title="")
    assert not started
    assert not run.exists()


def test_same_command_is_under_way_once(run, started):
    first = ask_ready(run, "sleep")
    again = submit_command(run, ["run", "--data", "sleep"], title="Again")
    assert (again.is_new, again.job.id) == (False, first.id)
    assert len(started) == 1
    stop_job(run, first.id)
    wait_until_ended(first, PATIENCE)
    anew = submit_command(run, ["run", "--data", "sleep"], title="Anew")
    assert (anew.is_new, anew.job.id) == (True, 2)


def test_start_stage_types_the_command(run):
    job, is_new = submit_run(
        run, "bad", until="stage1", overrides=["seed=3", "proposals.tau=0.3"], preset="paper-voc", limit=7, title="T"
    )
    assert is_new
    flags = "--until stage1 --preset paper-voc --limit 7 --set seed=3 --set proposals.tau=0.3"
    assert job.command == f"maskdistill run --data bad {flags} --run {run}"
    expected = load_preset("paper-voc").with_overrides(["seed=3", "proposals.tau=0.3"])
    assert (job.settings, job.title) == (expected.to_dict(), "T")
    assert submit_run(run, "bad").job.title == "Everything up to proposals"


def test_settings_are_those_that_the_command_left(run):
    assert do(run, "settle").settings["seed"] == 5


def test_device_is_the_one_of_the_settings(run):
    job = submit_command(run, ["run", "--data", "bad", "--set", "features.device=mps"], title="").job
    assert job.device == "mps"


def test_nothing_was_started(run):
    assert (list_jobs(run), current_job(run), read_events(run, 1), log_tail(run, 1)) == ([], None, [], "")
    with pytest.raises(JobError, match="No job 1 in .*None was started there yet"):
        get_job(run, 1)
    assert not run.exists()


def test_unknown_number_names_those_there_are(run):
    add_row(run, state="done")
    add_row(run, state="done", arguments=["status"])
    for call in (get_job, stop_job, resume_job):
        with pytest.raises(JobError, match=r"No job 7 in .*run\. There are: 1, 2\."):
            call(run, 7)


def test_row_tells_all_a_page_shows(run):
    process = ProcessId.of(os.getpid())
    job = add_row(
        run,
        arguments=["run", "--data", "my photos"],
        process=process,
        stage="stage1",
        done=30,
        total=40,
        unit="steps",
        rate=2.0,
        seconds_left=125.0,
        settings=json.dumps({"seed": 1}),
        message="Well.",
    )
    assert (job.pid, job.host, job.share, job.settings) == (os.getpid(), process.place.host, 0.75, {"seed": 1})
    assert job.text == "job 1 running: By hand; stage1 30 of 40 steps, 2.00 steps/s, 2 min 05 s left; Well."
    assert job.command == f"maskdistill run --data 'my photos' --run {run}"
    assert log_path(run, 1).name == "job-1.log"
