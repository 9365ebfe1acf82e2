import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from maskdistill.config import RunConfig
from maskdistill.errors import OutOfMemoryError, RunError
from maskdistill.stages import local_pool
from maskdistill.stages.local_pool import TASKS_AHEAD
from maskdistill.stages.pool import Workers, map_photos
from maskdistill.stages.tasks import WorkerSpec

DATA = Path(__file__).resolve().parents[2] / "data"
NUM_TASKS = 40


class Tasks:
    """Makes tasks one by one and counts them."""

    def __init__(self, *arrays):
        self.arrays, self.drawn = arrays, 0

    def __iter__(self):
        for number in range(NUM_TASKS):
            self.drawn += 1
            yield (number, *self.arrays)


@pytest.fixture
def spec(tmp_path):
    return WorkerSpec("echo_worker:make_echo", tmp_path, RunConfig(), torch=False)


def drawn_ahead(spec, tasks, num_workers, num_tasks=None):
    """The most tasks that were drawn and not yet answered; every one has to be answered once."""
    ahead, answers = 0, []
    for answer in map_photos(spec, tasks, Workers(num_workers), num_tasks):
        ahead = max(ahead, tasks.drawn - len(answers))
        answers.append(answer)
    assert sorted(answers) == list(range(NUM_TASKS))
    return ahead


def test_tasks_are_drawn_a_window_ahead_and_no_more(spec):
    assert 2 <= drawn_ahead(spec, Tasks(), 2) <= 2 * TASKS_AHEAD


def test_this_process_draws_a_task_only_when_it_has_done_the_one_before(spec):
    assert drawn_ahead(spec, Tasks(), 1) == 1
    assert drawn_ahead(spec, Tasks(), 0, num_tasks=1) == 1  # one task needs no further process


def test_window_of_large_tasks_is_bounded_in_bytes(spec, monkeypatch):
    array = np.zeros(1000, np.float32)
    monkeypatch.setattr(local_pool, "BYTES_AHEAD", array.nbytes + 1)
    assert drawn_ahead(spec, Tasks(array), 2) == 2


def test_no_task_at_all(spec):
    assert list(map_photos(spec, iter(()), Workers(2))) == []
    assert list(map_photos(spec, [], Workers(2))) == []


def fragile(tmp_path, how, times):
    """A worker that does not survive task 3 the first so many times."""
    options = {"how": how, "times": times}
    return WorkerSpec("echo_worker:make_fragile", tmp_path, RunConfig(), options, torch=False)


def deaths(tmp_path):
    return len((tmp_path / "deaths").read_text())


class TestTaskThatFailsForLackOfMemory:
    TASKS = tuple((number,) for number in range(6))

    @pytest.mark.parametrize(
        ("how", "num_workers"),
        [("memory", 1), *(pytest.param(how, 2, marks=pytest.mark.slow) for how in ("memory", "SIGKILL"))],
    )
    def test_once_is_tried_again_and_all_go_on(self, tmp_path, how, num_workers):
        answers = list(map_photos(fragile(tmp_path, how, 1), self.TASKS, Workers(num_workers)))
        assert sorted(set(answers)) == list(range(6))
        assert len(answers) == 6
        assert deaths(tmp_path) == 1

    @pytest.mark.parametrize(
        ("how", "num_workers"),
        [("memory", 1), *(pytest.param(how, 2, marks=pytest.mark.slow) for how in ("memory", "SIGKILL"))],
    )
    def test_alone_too_stops_the_work_and_names_it(self, tmp_path, how, num_workers):
        answers = []
        with pytest.raises(OutOfMemoryError, match="memory for photo 3.*shorter_side"):
            answers.extend(map_photos(fragile(tmp_path, how, 9), self.TASKS, Workers(num_workers)))
        assert deaths(tmp_path) == 2

    @pytest.mark.slow
    @pytest.mark.parametrize("on_crash", [None, lambda task, reason: (task[0], reason)])
    def test_crash_of_a_library_costs_only_this_task(self, tmp_path, on_crash):
        work = map_photos(fragile(tmp_path, "SIGSEGV", 9), self.TASKS, Workers(2), on_crash=on_crash)
        if on_crash is None:
            with pytest.raises(RunError, match="photo 3.*SIGSEGV"):
                list(work)
            return
        answers = list(work)
        (crashed,) = (answer for answer in answers if isinstance(answer, tuple))
        assert crashed[0] == 3
        assert "SIGSEGV" in crashed[1]
        assert sorted(answer for answer in answers if answer != crashed) == [0, 1, 2, 4, 5]


def test_exit_code_that_another_thread_notes_late_is_waited_for():
    class Process:
        codes = iter((None, None))

        @property
        def exitcode(self):
            return next(self.codes, -signal.SIGSEGV)

    pool = object.__new__(local_pool._Pool)
    pool._processes = [Process()]
    pool._find_reason()
    assert "SIGSEGV" in pool.trouble
    assert not pool.lacks_memory


@pytest.mark.slow
def test_worker_that_cannot_start_says_why(tmp_path):
    spec = WorkerSpec("echo_worker:make_none", tmp_path, RunConfig(), torch=False)
    with pytest.raises(RuntimeError, match="no device"):
        list(map_photos(spec, [(0,), (1,)], Workers(2)))


def test_without_shared_memory_one_process_does_the_work(spec, monkeypatch, caplog):
    def refuse(*_arguments):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(local_pool.multiprocessing.get_context("spawn").__class__, "Value", refuse)
    assert list(map_photos(spec, [(0,), (1,)], Workers(2))) == [0, 1]
    assert "/dev/shm" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(("work", "num_processes"), [("photos", 2), ("precision", 1)])
def test_processes_end_with_the_one_that_started_them(tmp_path, work, num_processes):
    """Killed, it cannot end them; they would wait for work for ever."""
    command = [sys.executable, str(DATA / "pool_parent.py"), work, str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE)
    workers = [psutil.Process(int(parent.stdout.readline())) for _ in range(num_processes)]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert psutil.wait_procs(workers, timeout=20)[1] == []
