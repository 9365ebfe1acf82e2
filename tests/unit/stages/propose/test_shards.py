"""Masks by several shards, one after the other and side by side."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from six_photos import NUM_PHOTOS, assert_same_results
from tiny_run import contents_of

from maskdistill.stages import propose
from maskdistill.stages.shards import Parts, Shard
from maskdistill.stages.worker import PhotoWorker
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_lock import RunBusyError


def test_shards_merge_to_the_files_of_one_run(start, tmp_path, seen):
    start("whole")
    seen.clear()
    first = start("parts", shard=Shard(1, 2))
    assert (first.complete, first.num_done) == (False, 4)
    assert "2 photos left to other shards" in first.sentence
    assert not Run(tmp_path / "parts").masks_path.exists()
    second = start("parts", shard=Shard(2, 2))
    assert (second.complete, second.num_new, second.num_done) == (True, 2, NUM_PHOTOS)
    assert len(seen) == len(set(seen)) == NUM_PHOTOS
    assert_same_results(Run(tmp_path / "parts"), Run(tmp_path / "whole"))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shards_take_every_photo_once(tmp_path, count):
    parts = Parts(tmp_path, [(20, 30)] * NUM_PHOTOS)
    numbers = [
        number
        for index in range(1, count + 1)
        for part in parts.of(Shard(index, count))
        for number in parts.photos[part]
    ]
    assert sorted(numbers) == list(range(NUM_PHOTOS))
    assert parts.photos is parts.photos, "a list of a million photos' parts for each photo takes hours"


@pytest.fixture
def shard_at_work(start, monkeypatch):
    """The first of two shards, at work in another thread; to be called for it to go on, and for its summary."""
    call, began, go_on = PhotoWorker.__call__, threading.Event(), threading.Event()

    def wait(self, batch):
        began.set()
        assert go_on.wait(20)
        return call(self, batch)

    monkeypatch.setattr(PhotoWorker, "__call__", wait)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(start, shard=Shard(1, 2))
        assert began.wait(20)
        monkeypatch.setattr(PhotoWorker, "__call__", call)
        yield lambda: go_on.set() or first.result()
        go_on.set()


@pytest.mark.parametrize("shard", [None, Shard(1, 2), Shard(2, 2)])
@pytest.mark.parametrize("tau", [0.1, 0.96])
def test_a_shard_at_work_is_joined_by_others_of_its_masks_alone(start, config, tmp_path, shard_at_work, shard, tau):
    others = config.with_overrides([f"proposals.tau={tau}"])
    if (shard, others) == (Shard(2, 2), config):
        assert start(shard=shard).num_new == 2
        return
    before = contents_of(Run(tmp_path / "run"))
    with pytest.raises(RunBusyError):
        start(config=others, shard=shard)
    assert contents_of(Run(tmp_path / "run")) == before


def test_shards_side_by_side_merge_to_the_files_of_one_run(start, tmp_path, shard_at_work):
    assert not start(shard=Shard(2, 2)).complete
    assert shard_at_work().complete
    start("whole")
    assert_same_results(Run(tmp_path / "run"), Run(tmp_path / "whole"))


def test_last_shards_that_end_at_the_same_time_merge_once(start, tmp_path, monkeypatch):
    """Both have written their photos when the first of them looks whether all are there."""
    start("whole")
    read_all, both, merges = Parts.read_all, threading.Barrier(2), []
    merge_results = propose.merge_results

    def read_together(parts):
        both.wait(20)
        return read_all(parts)

    def note(*arguments):
        merges.append(1)
        merge_results(*arguments)

    monkeypatch.setattr(Parts, "read_all", read_together)
    monkeypatch.setattr(propose, "merge_results", note)
    with ThreadPoolExecutor(2) as pool:
        parts = [pool.submit(start, "parts", shard=Shard(index, 2)) for index in (1, 2)]
        assert all(part.result().complete for part in parts)
    assert merges == [1]
    assert_same_results(Run(tmp_path / "parts"), Run(tmp_path / "whole"))
