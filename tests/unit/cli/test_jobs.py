import json
import os
import time

import pytest
from jobs_data import add_row, ended_process

from maskdistill.cli import jobs
from maskdistill.cli.main import main
from maskdistill.jobs import JobState, Submitted, get_job
from maskdistill.jobs.logs import heading, log_path
from maskdistill.jobs.processes import ProcessId
from maskdistill.jobs.table import note_event
from maskdistill.storage.database import writing


@pytest.fixture
def run(tmp_path):
    """One job that is done, one at work, one that waits."""
    run = tmp_path / "run"
    me = ProcessId.of(os.getpid())
    add_row(run, title="Masks", state="done", message="12 masks.", arguments=["run"], started=2.0, ended=5.0)
    far = {"stage": "stage1", "done": 3, "total": 8, "unit": "steps", "rate": 0.5, "seconds_left": 10.0}
    add_row(run, title="Training", arguments=["train-stage1"], process=me, seconds=65.0, device="cpu", **far)
    add_row(run, title="Report", state="queued", arguments=["evaluate"], turn=2, process=me, message="Waits for job 2.")
    return run


def said(capsys, *arguments, code=0):
    assert main(["jobs", *map(str, arguments)]) == code
    output = capsys.readouterr()
    return output.err if code else output.out


def test_list_is_a_line_a_job(run, capsys):
    assert said(capsys, "list", "--run", run).splitlines() == [
        "job 3 queued: Report; Waits for job 2.",
        "job 2 running: Training; stage1 3 of 8 steps, 0.50 steps/s, 10 s left",
        "job 1 done: Masks; 12 masks.",
    ]


def test_list_as_json(run, capsys):
    jobs = json.loads(said(capsys, "list", "--run", run, "--json"))
    assert [job["id"] for job in jobs] == [3, 2, 1]
    assert jobs[1] == jobs[1] | {"state": "running", "stage": "stage1", "done": 3, "pid": os.getpid(), "run": str(run)}
    assert jobs[1]["command"] == f"maskdistill train-stage1 --run {run}"
    assert not {"token", "process", "beat"} & set(jobs[1])


def test_list_of_a_run_without_jobs(tmp_path, capsys):
    assert said(capsys, "list", "--run", tmp_path) == f"No jobs in {tmp_path}.\n"
    assert json.loads(said(capsys, "list", "--run", tmp_path, "--json")) == []
    assert list(tmp_path.iterdir()) == []


def test_show_tells_all(run, capsys):
    with writing(run) as db:
        note_event(
            db, 2, "epoch", {"stage": "stage1", "epoch": 2, "losses": {"total": 0.25}, "metrics": {"agreement": 0.5}}
        )
    text = said(capsys, "show", "--run", run, 2)
    rows = dict(line.split(maxsplit=1) for line in text.splitlines())
    assert rows["Job"] == "2 Training"
    assert rows["State"] == "running, stage1 3 of 8 steps, 0.50 steps/s, 10 s left"
    assert rows["At"] == "work  1 min 05 s, attempt 1"
    assert rows["Command"] == f"maskdistill train-stage1 --run {run}"
    assert rows["Epochs"] == "stage1 2: total 0.25, agreement 0.5"
    assert f"{os.getpid()} on " in rows["Process"]
    events = json.loads(said(capsys, "show", "--run", run, 2, "--json"))["events"]
    assert [event["kind"] for event in events] == ["epoch"]


def test_number_may_stand_anywhere_and_may_be_left_out(run, capsys):
    for arguments in (
        ("2", "--run", run),
        ("--run", run, "2"),
        ("--run", run, "2", "--json"),
        ("--json", "--run", run, "2"),
    ):
        assert "Training" in said(capsys, "show", *arguments)
    assert "3 Report" in said(capsys, "show", "--run", run)


def test_lost_job_is_found_out(run, capsys):
    with writing(run) as db:
        db.execute("UPDATE jobs SET process = ? WHERE id = 2", (ended_process().to_json(),))
    assert "job 2 lost: Training; " in said(capsys, "list", "--run", run)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "--run", "RUN", "7"], "No job 7 in RUN. There are: 1, 2, 3."),
        (["logs", "--run", "RUN", "7"], "No job 7 in RUN. There are: 1, 2, 3."),
        (["stop", "--run", "RUN", "7"], "No job 7 in RUN. There are: 1, 2, 3."),
        (["resume", "--run", "RUN", "7"], "No job 7 in RUN. There are: 1, 2, 3."),
        (["stop", "--run", "RUN", "1"], "Job 1 of RUN is done already."),
        (["resume", "--run", "RUN", "1"], "Job 1 of RUN is done: there is nothing to resume. Start a new one."),
        (["list", "--run", "RUN/nowhere"], "No run folder RUN/nowhere."),
        (["logs", "--run", "RUN/logs"], "No jobs in RUN/logs."),
    ],
)
def test_mistake_is_2_and_says_what_there_is(arguments, message, run, capsys):
    (run / "logs").mkdir()
    text = said(capsys, *(part.replace("RUN", str(run)) for part in arguments), code=2)
    assert text.startswith("maskdistill: " + message.replace("RUN", str(run)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["lst", "--run", "x"],
            "argument ACTION: invalid choice: 'lst' (choose from 'list', 'show', ",
        ),
        ([], "the following arguments are required: ACTION"),
        (["list"], "jobs list needs --run FOLDER"),
        (["list", "--rum", "x"], "unknown argument '--rum'. Did you mean --run?"),
        (["logs", "--run", "x", "--folow"], "unknown argument '--folow'. Did you mean --follow?"),
        (["show", "--run", "x", "one"], "argument ID: invalid int value: 'one'"),
        (["logs", "--run", "x", "--lines", "0"], "argument --lines: must be at least 1, got 0"),
    ],
)
def test_typing_mistake_is_2_and_names_what_was_meant(arguments, message, capsys):
    with pytest.raises(SystemExit) as info:
        main(["jobs", *arguments])
    assert info.value.code == 2
    assert message in capsys.readouterr().err


def test_stop_waits_until_the_job_has_ended(run, capsys, monkeypatch):
    asked = []

    def stop(path, number):
        asked.append(number)
        with writing(path) as db:
            db.execute("UPDATE jobs SET state = 'stopping', process = ? WHERE id = 2", (ended_process().to_json(),))
        return get_job(path, number)

    monkeypatch.setattr(jobs, "stop_job", stop)
    with writing(run) as db:
        db.execute("DELETE FROM jobs WHERE id = 3")
    assert said(capsys, "stop", "--run", run).startswith("job 2 stopped: Training; ")
    assert asked == [2]


def test_resume_says_how_to_look(run, capsys, monkeypatch):
    lost = add_row(run, state="lost", title="Lost", arguments=["export"])
    monkeypatch.setattr(jobs, "resume_job", lambda path, number: Submitted(get_job(path, number), True))
    expected = f"Job 4 goes on in the background: maskdistill jobs logs --run {run} 4 --follow\n"
    assert said(capsys, "resume", "--run", run) == expected
    monkeypatch.setattr(jobs, "resume_job", lambda path, number: Submitted(get_job(path, 2), False))
    assert said(capsys, "resume", "--run", run, lost.id).startswith("Nothing to do: job 2 running: Training")


def test_logs_show_the_last_lines(run, capsys):
    assert said(capsys, "logs", "--run", run, 1) == ""
    log_path(run, 1).parent.mkdir()
    log_path(run, 1).write_text(heading(1, "x") + "".join(f"line {number}\n" for number in range(100)))
    assert said(capsys, "logs", "--run", run, 1).splitlines() == [f"line {number}" for number in range(60, 100)]
    assert said(capsys, "logs", "--run", run, 1, "--lines", 2) == "line 98\nline 99\n"


def test_logs_follow_until_the_job_has_ended(run, capsys, monkeypatch):
    log_path(run, 2).parent.mkdir()
    log_path(run, 2).write_text("first\n")
    steps = iter(["second \N{EURO SIGN}\n", "third\n"])

    def go_on(_seconds):
        text = next(steps, None)
        if text is None:
            with writing(run) as db:
                db.execute("UPDATE jobs SET state = 'done', message = 'Made it.' WHERE id = 2")
        else:
            with log_path(run, 2).open("a", encoding="utf-8") as file:
                file.write(text)

    monkeypatch.setattr(time, "sleep", go_on)
    lines = said(capsys, "logs", "--run", run, 2, "--follow").splitlines()
    assert lines[:3] == ["first", "second \N{EURO SIGN}", "third"]
    assert lines[3].startswith("job 2 done: Training; ")
    assert get_job(run, 2).state is JobState.DONE


def test_ctrl_c_ends_the_following_and_not_the_job(run, capsys, monkeypatch):
    def interrupt(_seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    assert said(capsys, "logs", "--run", run, 2, "--follow") == ""
    assert get_job(run, 2).state is JobState.RUNNING
