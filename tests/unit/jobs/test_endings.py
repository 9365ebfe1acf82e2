import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from maskdistill.errors import CheckpointError, ConfigError
from maskdistill.jobs import Job, JobState, endings
from maskdistill.jobs.endings import KEPT, LENGTH, after_error, after_force, after_loss, after_stop, after_success
from maskdistill.jobs.processes import ProcessId, here

RUN = Path("/runs/mine")
FULL = OSError(errno.ENOSPC, "No space left on device", "/data/features/x")


def chained(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("tau must be in [-1, 1], got 2."), 2, "tau must be in [-1, 1], got 2."),
        (FULL, 1, "The disk of /data/features is full ("),
        (
            chained(CheckpointError("Cannot write x."), OSError(28, "No space left on device")),
            1,
            f"The disk of {RUN} is",
        ),
        (PermissionError(13, "Permission denied", "/data/x"), 1, "Permission denied (/data/x). Check the rights"),
        (MemoryError(), 1, f"There was not enough memory (MemoryError). {KEPT} Lower stage1.batch_size"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nmore"), 1, "There was not enough memory (CUDA out"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you"),
            1,
            "There was not enough memory (",
        ),
        (KeyError("a"), 1, "KeyError: 'a'. This is a fault of the program; the log says where. What is finished"),
        (ZeroDivisionError(), 1, "ZeroDivisionError: ZeroDivisionError. This is a fault"),
        (SystemExit(2), 2, "The command line is not valid: the log says why."),
    ],
)
def test_error_fails_with_what_to_do(error, code, message):
    ending = after_error(error, RUN)
    assert (ending.state, ending.code) == (JobState.FAILED, code)
    assert ending.message.startswith(message)
    assert "\n" not in ending.message


def test_long_sentence_is_cut():
    assert len(after_error(ConfigError("x" * 5000), RUN).message) == LENGTH
    assert after_success("one\n  two").message == "one two"


def test_stops():
    assert after_stop(asked=True).message == f"Stopped. {KEPT}"
    assert after_stop(asked=False).message == f"Stopped from outside, by a signal. {KEPT}"
    assert after_force(20.0).message.startswith("Ended by force, since it did not stop within 20 s.")
    assert {after_stop(True).state, after_stop(False).state, after_force(1.0).state} == {JobState.STOPPED}


class TestLoss:
    @pytest.fixture
    def job(self):
        process = ProcessId.of(os.getpid())
        return Job(run=RUN, id=1, title="", arguments=(), state=JobState.RUNNING, process=process)

    def test_of_one_that_was_asked_to_stop_is_a_stop(self, job):
        assert after_loss(replace(job, state=JobState.STOPPING), "").state is JobState.STOPPED

    @pytest.mark.parametrize(
        ("log", "state", "message"),
        [
            ("x\nOSError: [Errno 28] No space left on device", JobState.FAILED, f"The disk of {RUN} is full ("),
            ("OSError: [Errno 122] Disk quota exceeded", JobState.FAILED, f"The disk of {RUN} is full ("),
            ("Traceback\nMemoryError", JobState.FAILED, f"There was not enough memory. {KEPT}"),
            (
                "Fatal Python error: Segmentation fault\n",
                JobState.LOST,
                "Its process crashed: Fatal Python error: Segm",
            ),
            ("epoch 3", JobState.LOST, f"Its process {os.getpid()} was ended from outside, or crashed. {KEPT}"),
        ],
    )
    def test_is_explained_by_the_log(self, job, log, state, message):
        ending = after_loss(job, log)
        assert ending.state is state
        assert ending.message.startswith(message)

    def test_by_the_kernel_for_lack_of_memory(self, job, monkeypatch):
        monkeypatch.setattr(endings, "count_oom_kills", lambda: 3)
        told = after_loss(replace(job, oom_kills=2), "")
        assert (told.state, told.message.startswith("The system ended it for lack of memory.")) == (JobState.LOST, True)
        assert "batch_size" in told.message
        assert "lack of memory" not in after_loss(replace(job, oom_kills=3), "").message

    def test_by_a_restart_of_the_machine(self, job):
        place = replace(here(), machine="abc", boot="another")
        elsewhere = replace(job, process=replace(job.process, place=place))
        assert "sends no heartbeat" in after_loss(elsewhere, "").message
        if here().machine:
            rebooted = replace(job, process=replace(job.process, place=replace(here(), boot="another")))
            assert "was switched off or restarted meanwhile" in after_loss(rebooted, "").message

    def test_of_one_that_never_began(self, job):
        assert "was never started" in after_loss(replace(job, process=None), "").message
