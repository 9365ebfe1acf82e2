"""Jobs wait for one another, for jobs of other runs and for what was typed in a terminal."""

import os

import pytest
from fake_jobs import ask, ask_ready
from jobs_data import PATIENCE, wait_for

from maskdistill.jobs import JobState, current_job, get_job, list_jobs, stop_job, wait_until_ended
from maskdistill.jobs.slots import take_slot
from maskdistill.storage.progress import Reporter
from maskdistill.storage.run_lock import hold_run

pytestmark = pytest.mark.usefixtures("started")


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
