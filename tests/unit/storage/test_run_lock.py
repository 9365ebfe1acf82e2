import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from filelock import FileLock

from maskdistill.storage.run_lock import RunBusyError, hold_run, hold_shard, is_run_held

MASKS, OTHERS = "a" * 32, "b" * 32


def test_held_until_left(tmp_path):
    run = tmp_path / "run"
    assert not is_run_held(run)
    with hold_run(run):
        assert is_run_held(run)
        with pytest.raises(RunBusyError, match="Another process is at work on .*run"), hold_run(run):
            pass
    assert not is_run_held(run)


def test_shards_of_the_same_masks_work_side_by_side(tmp_path):
    with hold_shard(tmp_path, MASKS, "1-of-2"):
        assert is_run_held(tmp_path)
        with hold_run(tmp_path, masks=MASKS), hold_shard(tmp_path, MASKS, "2-of-2"):
            pass
        for masks in ("", OTHERS):
            with pytest.raises(RunBusyError), hold_run(tmp_path, masks=masks):
                pass
        with pytest.raises(RunBusyError), hold_shard(tmp_path, MASKS, "1-of-2"):
            pass
    with hold_run(tmp_path):
        pass


def test_asking_is_seen_by_nobody(tmp_path):
    """Sessions of one server ask at the same time, and a command starts meanwhile."""
    with hold_run(tmp_path):
        pass
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(is_run_held, tmp_path) for _ in range(400)]
        assert not any(answer.result() for answer in answers)
        asking = [pool.submit(is_run_held, tmp_path) for _ in range(400)]
        for _ in range(20):
            with hold_run(tmp_path):
                pass
        assert all(answer.result() in (True, False) for answer in asking)


def test_run_that_cannot_be_written_is_not_held(tmp_path, monkeypatch):
    with hold_run(tmp_path):
        pass

    def refuse(*_arguments, **_options):
        raise PermissionError

    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert not is_run_held(tmp_path)


def test_error_survives_the_way_between_processes(tmp_path):
    error = RunBusyError(tmp_path)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
