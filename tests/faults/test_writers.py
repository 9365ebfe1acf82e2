"""Two threads and two processes on everything that writes into a run or a user's folder: what is there is whole, and
where each adds its own nothing is lost.
"""

import multiprocessing
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from writers import ROUNDS, WRITERS, prepare, write_often


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MASKDISTILL_CACHE", str(tmp_path / "cache"))
    prepare(tmp_path)
    return tmp_path


def compete(pool: Executor, name, folder):
    """Two writers at once; then nothing of a writer is left beside what it wrote."""
    for task in [pool.submit(write_often, name, folder, who) for who in (1, 2)]:
        task.result(120)
    writer = WRITERS[name]
    assert writer.check(folder)
    assert writer.count is None or writer.count(folder) == 2 * ROUNDS
    assert list(folder.rglob("*.tmp")) == []


@pytest.mark.parametrize("name", WRITERS)
def test_two_threads(name, folder):
    with ThreadPoolExecutor(2) as pool:
        compete(pool, name, folder)


@pytest.fixture(scope="module")
def processes():
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_two_processes(name, folder, processes):
    compete(processes, name, folder)
