"""Processes of jobs: how they start, that none is left behind, and what does not end them."""

import os
import subprocess
import sys
import time

import psutil
import pytest
from fake_jobs import ask, ask_ready, child_of, do, is_gone, states_of
from jobs_data import FAKE_WORKER, PATIENCE, add_row, wait_for

from maskdistill.cli.job_command import submit_command
from maskdistill.cli.job_worker import NICENESS
from maskdistill.errors import JobError
from maskdistill.jobs import JobState, get_job, submitting, wait_until_ended
from maskdistill.jobs.processes import MARK

pytestmark = pytest.mark.usefixtures("started")


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
