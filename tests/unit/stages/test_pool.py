import numpy as np
import pytest

from maskdistill.config import RunConfig
from maskdistill.errors import OutOfMemoryError
from maskdistill.stages import pool
from maskdistill.stages.pool import TASKS_AHEAD, map_photos
from maskdistill.stages.tasks import WorkerSpec

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
    for answer in map_photos(spec, tasks, num_workers, num_tasks):
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
    monkeypatch.setattr(pool, "BYTES_AHEAD", array.nbytes + 1)
    assert drawn_ahead(spec, Tasks(array), 2) == 2


def test_no_task_at_all(spec):
    assert list(map_photos(spec, iter(()), 2)) == []
    assert list(map_photos(spec, [], 2)) == []


@pytest.mark.parametrize("num_workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_lack_of_memory_is_told_with_what_to_do(tmp_path, num_workers):
    hungry = WorkerSpec("echo_worker:make_hungry", tmp_path, RunConfig(), torch=False)
    with pytest.raises(OutOfMemoryError, match="--workers 1"):
        list(map_photos(hungry, [(0,), (1,)], num_workers))
