import os
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
from jobs_data import add_row, ended_process, wait_for

from maskdistill.errors import RunError
from maskdistill.jobs import JobState, get_job, list_jobs, read_events, reconcile
from maskdistill.jobs.logs import heading, log_path
from maskdistill.jobs.processes import MARK, Life, ProcessId, count_oom_kills, end_processes, here
from maskdistill.storage import database
from maskdistill.storage.database import reading, writing


@pytest.fixture
def clock(monkeypatch):
    """This machine's steady clock, in the hands of the test."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(reconcile.time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def spawn():
    """Starts a process with a job's mark that does nothing; ended after the test."""
    children = []

    def start(token):
        command = [sys.executable, "-S", "-c", "input()"]
        children.append(subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, MARK: token}))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate()


def elsewhere(**changes):
    """A process on another machine."""
    return ProcessId(os.getpid(), "1", replace(here(), host="elsewhere", machine="other", **changes))


def test_job_whose_process_lives_is_left_alone(run):
    job = add_row(run, process=ProcessId.of(os.getpid()))
    assert list_jobs(run) == [job]


def test_job_whose_process_is_gone_is_lost(run):
    add_row(run, process=ended_process())
    job = list_jobs(run)[0]
    assert job.state is JobState.LOST
    assert job.ended is not None
    assert [event.value["state"] for event in read_events(run, 1)] == ["lost"]
    assert list_jobs(run) == [job]
    assert len(read_events(run, 1)) == 1


def test_number_that_another_process_was_given_does_not_count(run):
    stranger = replace(ProcessId.of(os.getpid()), began="1")
    add_row(run, process=stranger)
    assert get_job(run, 1).state is JobState.LOST


def test_zombie_does_not_count():
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    known = ProcessId.of(child.pid)
    assert known.life() is Life.ALIVE
    child.stdin.write(b"\n")
    child.stdin.close()
    wait_for(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    assert known.life() is Life.DEAD
    assert ProcessId.of(child.pid) is None
    child.wait()


def test_clock_does_not_change_who_a_process_is(monkeypatch):
    before = ProcessId.of(os.getpid())
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 86400)
    assert ProcessId.of(os.getpid()) == before
    assert ProcessId.from_json(before.to_json()) == before


def test_end_of_a_job_that_was_asked_to_stop_is_a_stop(run):
    add_row(run, process=ended_process(), state="stopping")
    assert get_job(run, 1).state is JobState.STOPPED


def test_log_of_the_last_attempt_alone_explains_a_loss(run):
    add_row(run, process=ended_process(), attempts=2)
    log_path(run, 1).parent.mkdir()
    log_path(run, 1).write_text(f"{heading(1, 'x')}No space left on device\n{heading(2, 'x')}epoch 1\n")
    assert get_job(run, 1).state is JobState.LOST


def test_last_word_that_comes_between_two_looks_counts(run, monkeypatch):
    """The process ends well just after its row was read."""
    add_row(run, process=ended_process())

    def finish(token):
        with writing(run) as db:
            db.execute("UPDATE jobs SET state = 'done', message = 'Made it.'")

    monkeypatch.setattr(reconcile, "end_processes", finish)
    assert (get_job(run, 1).state, get_job(run, 1).message) == (JobState.DONE, "Made it.")


def test_sign_of_life_that_comes_meanwhile_counts(run, monkeypatch):
    """Judged dead by its silence, it beats before that is written down."""
    add_row(run, process=elsewhere())
    monkeypatch.setattr(reconcile, "_is_silent", lambda job: True)

    def beat(*_):
        with writing(run) as db:
            db.execute("UPDATE jobs SET beat = beat + 1")
        return ""

    monkeypatch.setattr(reconcile, "attempt_tail", beat)
    assert get_job(run, 1).state is JobState.RUNNING


def test_end_is_told_even_if_it_cannot_be_written_down(run, monkeypatch):
    add_row(run, process=ended_process())

    def fail(_run):
        raise RunError("The disk is full.")

    monkeypatch.setattr(reconcile, "writing", fail)
    assert get_job(run, 1).state is JobState.LOST
    with reading(run) as db:
        assert db.execute("SELECT state FROM jobs").fetchone()["state"] == "running"


class TestFromAnotherMachine:
    """Numbers of processes mean nothing here; whether the count of signs of life moves does."""

    def test_moves(self, run, clock):
        add_row(run, process=elsewhere())
        for _ in range(5):
            clock.now += reconcile.SILENCE
            with writing(run) as db:
                db.execute("UPDATE jobs SET beat = beat + 1")
            assert get_job(run, 1).state is JobState.RUNNING

    def test_stands_still(self, run, clock):
        add_row(run, process=elsewhere(), beat=7)
        assert get_job(run, 1).state is JobState.RUNNING
        clock.now += reconcile.SILENCE - 1
        assert get_job(run, 1).state is JobState.RUNNING
        clock.now += 2
        job = get_job(run, 1)
        assert job.state is JobState.LOST
        assert f"process {os.getpid()} on elsewhere sends no heartbeat" in job.message

    def test_dates_do_not_count(self, run, clock, monkeypatch):
        add_row(run, process=elsewhere(), created=9e9, started=9e9)
        now = time.time
        for shift in (-1e6, 1e6):
            monkeypatch.setattr(time, "time", lambda shift=shift: now() + shift)
            assert get_job(run, 1).state is JobState.RUNNING

    def test_is_seen_anew_after_this_machine_was_restarted(self, run, clock):
        add_row(run, process=elsewhere())
        assert get_job(run, 1).state is JobState.RUNNING
        clock.now = 5.0
        assert get_job(run, 1).state is JobState.RUNNING

    def test_cannot_be_judged_without_writing(self, run, clock, monkeypatch):
        add_row(run, process=elsewhere())

        def fail(_run):
            raise RunError("The disk is full.")

        monkeypatch.setattr(reconcile, "writing", fail)
        clock.now += 10 * reconcile.SILENCE
        assert get_job(run, 1).state is JobState.RUNNING


def test_row_without_a_process_is_lost_after_a_while(run, clock):
    """The server was ended between writing the row and starting the process."""
    add_row(run, state="queued")
    assert get_job(run, 1).state is JobState.QUEUED
    clock.now += reconcile.SILENCE + 1
    job = get_job(run, 1)
    assert (job.state, "was never started" in job.message) == (JobState.LOST, True)


def test_process_that_hangs_while_stopping_is_ended(run, clock, spawn):
    child = spawn("secret")
    add_row(run, process=ProcessId.of(child.pid), state="stopping")
    assert get_job(run, 1).state is JobState.STOPPING
    clock.now += reconcile.SILENCE + 1
    assert get_job(run, 1).state is JobState.STOPPED
    child.wait(10)


def test_processes_are_known_by_their_mark(spawn):
    ours, others, spared = spawn("ours"), spawn("others"), spawn("ours")
    assert end_processes("ours", spare=spared.pid) == 1
    ours.wait(10)
    assert (others.poll(), spared.poll()) == (None, None)


@pytest.mark.skipif(not here().machine, reason="this machine has no id")
def test_machine_that_was_restarted_has_no_process_of_before():
    mine = ProcessId.of(os.getpid())
    assert replace(mine, place=replace(here(), boot="before")).life() is Life.DEAD
    assert replace(mine, place=replace(here(), boot="before", machine="")).life() is Life.UNKNOWN
    assert replace(mine, place=replace(here(), namespace="another")).life() is Life.UNKNOWN


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone counts them")
def test_kills_for_lack_of_memory_are_counted():
    assert count_oom_kills() >= 0


def test_pages_of_a_finished_run_ask_the_disk_for_nothing(run, monkeypatch):
    add_row(run, state="done")
    monkeypatch.setattr(database, "connect", None)
    assert list_jobs(run)[0].state is JobState.DONE
