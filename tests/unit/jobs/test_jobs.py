import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from jobs_data import FAKE_WORKER, PATIENCE, add_row, ended_process, wait_for

from maskdistill.cli.job_command import submit_command, submit_run
from maskdistill.cli.job_worker import NICENESS
from maskdistill.config import load_preset
from maskdistill.errors import ConfigError, JobError, RunError
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
    submitting,
    wait_until_ended,
)
from maskdistill.jobs.processes import MARK, ProcessId
from maskdistill.jobs.slots import take_slot
from maskdistill.storage.progress import Reporter
from maskdistill.storage.run_lock import hold_run


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


@pytest.fixture(autouse=True)
def started(tmp_path, monkeypatch):
    """Jobs get the fake command line, and slots of their own; their processes are noted, and ended after the test."""
    monkeypatch.setenv("MASKDISTILL_CACHE", str(tmp_path / "cache"))
    popen, processes = subprocess.Popen, []

    def start(command, **options):
        if command[1:3] != ["-m", "maskdistill.cli.job_worker"]:
            return popen(command, **options)
        processes.append(popen([sys.executable, str(FAKE_WORKER), *command[3:]], **options))
        return processes[-1]

    monkeypatch.setattr(submitting.subprocess, "Popen", start)
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def ask(run, what, **options):
    """A job that does what the fake command of this name does."""
    return submit_command(run, ["run", "--data", what], title=what.capitalize(), **options).job


def do(run, what):
    """The same, once it has ended."""
    return wait_until_ended(ask(run, what), PATIENCE)


def ask_ready(run, what):
    """The same, once its command is at work."""
    job = ask(run, what)
    wait_for((run / "ready").exists)
    return job


def states_of(run, job_id):
    return [event.value["state"] for event in read_events(run, job_id) if event.kind == "state"]


def child_of(run):
    return int((run / "child").read_text())


def is_gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


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


def test_jobs_of_a_run_work_one_after_the_other(run):
    first = ask_ready(run, "sleep")
    second, third = ask(run, "quick"), ask(run, "bad")
    wait_for(lambda: get_job(run, third.id).message == "Waits for job 1.")
    assert get_job(run, second.id).state is JobState.QUEUED
    assert current_job(run).id == first.id
    stop_job(run, first.id)
    second, third = wait_until_ended(second, PATIENCE), wait_until_ended(third, PATIENCE)
    assert (second.state, third.state) == (JobState.DONE, JobState.FAILED)
    assert get_job(run, first.id).ended <= second.started <= second.ended <= third.started
    assert [job.id for job in list_jobs(run)] == [3, 2, 1]


def test_dead_job_does_not_hold_up_the_queue(run, started):
    ask_ready(run, "sleep")
    waiting = ask(run, "quick")
    wait_for(lambda: get_job(run, waiting.id).message)
    started[0].kill()
    assert wait_until_ended(waiting, PATIENCE).state is JobState.DONE
    assert get_job(run, 1).state is JobState.LOST


def test_jobs_of_several_runs_take_turns_on_a_device(tmp_path):
    slot = take_slot("cpu")
    assert take_slot("cpu") is None
    job = ask(tmp_path / "one", "quick")
    wait_for(lambda: get_job(tmp_path / "one", 1).message == "Waits for cpu: a job of another run works there.")
    slot.close()
    assert wait_until_ended(job, PATIENCE).state is JobState.DONE


def test_job_waits_for_a_command_that_was_typed(run):
    reporter = Reporter(run / "progress.json", "stage2", 8, unit="steps", quiet=True)
    typed = current_job(run)
    assert (typed.id, typed.state, typed.stage, typed.total) == (0, JobState.RUNNING, "stage2", 8)
    assert f"process {os.getpid()}): stop it there" in typed.message
    job = ask(run, "quick")
    wait_for(lambda: "typed in a terminal (stage2)" in get_job(run, 1).message)
    assert current_job(run).id == 0
    reporter.finish("done", "")
    assert wait_until_ended(job, PATIENCE).state is JobState.DONE
    assert current_job(run).id == 1


def test_job_waits_for_a_typed_command_between_two_of_its_stages(run):
    """Its progress says "done" then, or tells of an earlier command."""
    with hold_run(run):
        assert current_job(run).id == 0
        Reporter(run / "progress.json", "stage1", 8, quiet=True).finish("done", "")
        assert (current_job(run).id, current_job(run).stage) == (0, "stage1")
        job = ask(run, "quick")
        wait_for(lambda: "typed in a terminal" in get_job(run, 1).message)
    assert wait_until_ended(job, PATIENCE).state is JobState.DONE


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


class TestStop:
    def test_is_asked_for_and_keeps_what_is_finished(self, run):
        job = ask_ready(run, "sleep")
        assert stop_job(run, job.id).state is JobState.STOPPING  # a page does not wait until it has stopped
        job = wait_until_ended(job, PATIENCE)
        assert (job.state, job.message) == (
            JobState.STOPPED,
            "Stopped. What is finished is kept: resume to go on from the last checkpoint.",
        )
        assert (run / "kept").exists()

    def test_ends_one_that_does_not_stop_with_all_it_started(self, run):
        job = ask_ready(run, "stubborn")
        child = child_of(run)
        stop_job(run, job.id)
        job = wait_until_ended(job, PATIENCE)
        assert job.state is JobState.STOPPED
        assert job.message.startswith("Ended by force, since it did not stop within ")
        wait_for(lambda: is_gone(child))

    def test_of_one_that_waits_is_at_once(self, run, started):
        ask_ready(run, "sleep")
        job = stop_job(run, ask(run, "quick").id)
        assert (job.state, job.message) == (JobState.STOPPED, "Stopped before it began.")
        wait_for(lambda: started[1].poll() == 0)
        assert not log_tail(run, 2).count("\n")

    def test_of_one_that_has_ended_changes_nothing(self, run):
        job = do(run, "quick")
        assert stop_job(run, job.id) == job

    def test_by_a_signal_from_outside(self, run, started):
        job = ask_ready(run, "sleep")
        started[0].send_signal(signal.SIGTERM)
        job = wait_until_ended(job, PATIENCE)
        assert (job.state, job.message.partition(".")[0]) == (JobState.STOPPED, "Stopped from outside, by a signal")
        assert (run / "kept").exists()

    def test_when_the_database_cannot_be_written(self, run, monkeypatch):
        from maskdistill.jobs import control

        def fail(_run):
            raise RunError("The disk is full.")

        job = ask_ready(run, "sleep")
        monkeypatch.setattr(control, "writing", fail)
        stop_job(run, job.id)
        assert wait_until_ended(job, PATIENCE).state is JobState.STOPPED
        add_row(run, arguments=["status"], process=ended_process())
        with pytest.raises(RunError, match="The disk is full"):
            stop_job(run, 2)

    def test_even_where_interrupts_are_ignored(self, run):
        """As they are in what a shell's ``&`` started, and in all that this starts."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            job = ask_ready(run, "sleep")
        finally:
            signal.signal(signal.SIGINT, before)
        stop_job(run, job.id)
        wait_until_ended(job, PATIENCE)
        assert (run / "kept").exists()


class TestNothingIsOrphaned:
    def test_by_a_command_that_leaves_a_process(self, run):
        assert do(run, "leave").state is JobState.DONE
        wait_for(lambda: is_gone(child_of(run)))

    def test_by_a_process_that_is_killed(self, run, started):
        """Nobody looks at the jobs: what is left of them ends by itself."""
        ask_ready(run, "orphan")
        child = child_of(run)
        started[0].kill()
        wait_for(lambda: is_gone(child))

    def test_by_one_that_is_killed_with_its_guard(self, run, started):
        job = ask_ready(run, "orphan")
        child = child_of(run)
        guard = next(member for member in psutil.Process(started[0].pid).children() if member.pid != child)
        guard.kill()
        started[0].kill()
        started[0].wait()
        assert not is_gone(child)
        assert get_job(run, job.id).state is JobState.LOST
        assert is_gone(child)


class TestResume:
    def test_goes_on_with_the_same_job(self, run):
        job = do(run, "train")
        assert job.state is JobState.LOST
        job, is_new = resume_job(run, job.id)
        assert (is_new, job.id, job.attempts) == (True, 1, 2)
        job = wait_until_ended(job, PATIENCE)
        assert (job.state, job.attempts, len(list_jobs(run))) == (JobState.DONE, 2, 1)
        epochs = [event.value for event in read_events(run, 1) if event.kind == "epoch"]
        assert [(epoch["stage"], epoch["epoch"]) for epoch in epochs] == [("stage1", 1), ("stage1", 2), ("stage1", 3)]
        assert epochs[1]["losses"] == {"total": 0.5}
        assert states_of(run, 1) == ["queued", "running", "lost", "queued", "running", "done"]
        assert log_tail(run, 1).count("----- attempt ") == 2

    def test_of_a_job_under_way_is_that_job(self, run):
        job = ask_ready(run, "sleep")
        again = resume_job(run, job.id)
        assert (again.is_new, again.job.id, again.job.attempts) == (False, 1, 1)

    def test_when_another_job_does_the_same_is_that_job(self, run):
        lost = add_row(run, arguments=["run", "--data", "sleep"], state="lost")
        other = ask_ready(run, "sleep")
        again = resume_job(run, lost.id)
        assert (again.is_new, again.job.id) == (False, other.id)
        assert get_job(run, lost.id).state is JobState.LOST

    def test_of_a_job_that_is_done_is_refused(self, run):
        add_row(run, state="done")
        with pytest.raises(JobError, match="Job 1 of .* is done: there is nothing to resume. Start a new one"):
            resume_job(run, 1)

    def test_goes_to_the_end_of_the_queue(self, run):
        lost = add_row(run, arguments=["run", "--data", "bad"], state="lost")
        sleeping = ask_ready(run, "sleep")
        waiting = ask(run, "quick")
        resumed = resume_job(run, lost.id).job
        assert sleeping.turn < waiting.turn < resumed.turn
        stop_job(run, sleeping.id)
        assert wait_until_ended(waiting, PATIENCE).ended <= wait_until_ended(resumed, PATIENCE).started

    def test_an_attempt_that_was_given_up_stops_when_it_learns_of_the_next(self, run, started):
        """Another machine took it for dead, and somebody resumed it there."""
        from maskdistill.storage.database import writing

        job = ask_ready(run, "sleep")
        with writing(run) as db:
            db.execute("UPDATE jobs SET state = 'queued', token = 'another', process = NULL")
        wait_for(lambda: started[0].poll() is not None)
        assert (run / "kept").exists()
        assert get_job(run, job.id).state is JobState.QUEUED


class TestStart:
    def test_process_that_cannot_be_started_is_a_failed_job(self, run, monkeypatch):
        def refuse(*_args, **_options):
            raise BlockingIOError(11, "Resource temporarily unavailable", "python")

        monkeypatch.setattr(submitting.subprocess, "Popen", refuse)
        with pytest.raises(JobError, match="Its process cannot be started: Resource temporarily unavailable"):
            ask(run, "quick")
        assert get_job(run, 1).state is JobState.FAILED
        assert states_of(run, 1) == ["queued", "failed"]

    def test_process_gets_a_session_and_fewer_threads(self, run, started, monkeypatch):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setenv("MKL_NUM_THREADS", "7")
        ask_ready(run, "sleep")
        process = psutil.Process(started[0].pid)
        environment = process.environ()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        assert environment["OMP_NUM_THREADS"] == str(max(1, cores - 1))
        assert environment["MKL_NUM_THREADS"] == "7"  # set by a person, who knows better
        assert os.getsid(process.pid) == process.pid
        assert process.nice() == min(19, psutil.Process().nice() + NICENESS)

    def test_worker_started_by_hand_says_who_starts_it(self, run):
        add_row(run, state="queued")
        environment = {name: value for name, value in os.environ.items() if name != MARK}
        command = [sys.executable, "-m", "maskdistill.cli.job_worker", str(run), "1"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, "maskdistill jobs resume" in done.stderr) == (2, True)

    def test_second_worker_of_a_job_goes_away(self, run):
        job = ask_ready(run, "sleep")
        environment = {**os.environ, MARK: job.token}
        second = subprocess.run([sys.executable, str(FAKE_WORKER), str(run), "1"], env=environment, check=False)
        assert second.returncode == 0
        assert get_job(run, 1).process == job.process
        assert get_job(run, 1).state is JobState.RUNNING


def test_deleted_run_ends_its_job(run, started):
    ask_ready(run, "sleep")
    for path in (run / "run.sqlite", run / "run.sqlite-wal", run / "run.sqlite-shm"):
        path.unlink(missing_ok=True)
    wait_for(lambda: started[0].poll() is not None)
    assert (run / "kept").exists()
    assert not (run / "run.sqlite").exists()


def test_locked_database_does_not_end_a_job(run, started):
    from maskdistill.storage.database import writing

    job = ask_ready(run, "sleep")
    with writing(run):
        time.sleep(0.5)
    beat = get_job(run, job.id).beat
    wait_for(lambda: get_job(run, job.id).beat > beat)
    assert started[0].poll() is None


def test_clock_that_is_set_changes_nothing(run, started, monkeypatch):
    """Neither here, where the jobs are looked at, nor in their process."""
    job = ask_ready(run, "set clock")
    now = time.time
    for shift in (-86400, 86400):
        monkeypatch.setattr(time, "time", lambda shift=shift: now() + shift)
        assert get_job(run, job.id).state.is_active
        assert not submit_command(run, ["run", "--data", "set clock"], title="").is_new
    (run / "enough").touch()
    job = wait_until_ended(job, PATIENCE)
    assert (job.state, len(started)) == (JobState.DONE, 1)
    assert 1.0 <= job.seconds < PATIENCE
    assert states_of(run, 1) == ["queued", "running", "done"]


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
