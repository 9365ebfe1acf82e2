"""Jobs that are stopped keep what is finished, and resumed they go on with it."""

import signal

import pytest
from fake_jobs import ask, ask_ready, child_of, do, is_gone, states_of
from jobs_data import PATIENCE, add_row, ended_process, wait_for

from maskdistill.errors import JobError, RunError
from maskdistill.jobs import JobState, get_job, list_jobs, log_tail, read_events, resume_job, stop_job, wait_until_ended

pytestmark = pytest.mark.usefixtures("started")


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
