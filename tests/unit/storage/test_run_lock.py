import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from filelock import FileLock

from maskdistill.files import remove_leftovers
from maskdistill.storage.run_lock import RunBusyError, hold_run, hold_shard, is_run_held, refuse_if_held

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


def test_whoever_is_refused_learns_by_whom(tmp_path):
    with hold_run(tmp_path), pytest.raises(RunBusyError) as refused:
        refuse_if_held(tmp_path)
    holder = refused.value.holder
    assert (holder.pid, holder.host) == (os.getpid(), socket.gethostname())
    assert time.time() - 60 < holder.since <= time.time()
    assert str(os.getpid()) in str(refused.value)
    assert holder.command[:40] in str(refused.value)
    assert pickle.loads(pickle.dumps(refused.value)).holder == holder
    refuse_if_held(tmp_path)
    refuse_if_held(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("note", ["", "{", "[]", '{"pid": 1}', None])
def test_without_a_usable_note_it_is_refused_all_the_same(tmp_path, note):
    with hold_run(tmp_path):
        path = tmp_path / ".stages.json"
        path.unlink() if note is None else path.write_text(note)
        with pytest.raises(RunBusyError) as refused, hold_run(tmp_path):
            pass
    assert refused.value.holder is None


HOLD = """
import sys
from pathlib import Path
from maskdistill.files import replace_atomically
from maskdistill.storage.run_lock import hold_run
run = Path(sys.argv[1])
def wait(temporary):
    temporary.write_text("half")
    print("held", flush=True)
    sys.stdin.read()
with hold_run(run):
    replace_atomically(run / "deep" / "model.safetensors", wait)
"""


def hold_in_a_process(run):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def test_killed_holder_lets_go_and_what_it_left_is_removed(tmp_path):
    foreign = tmp_path / ".other.0123abcd-1-0123abcd.tmp"
    foreign.write_text("of another machine, where it is being written")
    process = hold_in_a_process(tmp_path)
    with pytest.raises(RunBusyError, match=str(process.pid)):
        refuse_if_held(tmp_path)
    process.kill()
    process.communicate()
    assert len(list(tmp_path.rglob(".*.tmp"))) == 2
    refuse_if_held(tmp_path)
    with hold_run(tmp_path):
        assert list(tmp_path.rglob(".*.tmp")) == [foreign]
    assert not list(tmp_path.glob("*.json"))


def test_leftovers_of_a_living_process_stay(tmp_path):
    process = hold_in_a_process(tmp_path)
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.rglob(".*.tmp"))) == 1
    process.communicate(b"")
    assert (tmp_path / "deep" / "model.safetensors").read_text() == "half"


def test_of_two_that_start_together_one_works(tmp_path):
    """Both look first whether they would be refused; looking alone must refuse nobody."""

    def try_to_hold():
        try:
            refuse_if_held(tmp_path)
            with hold_run(tmp_path):
                barrier.wait(10)
        except RunBusyError:
            barrier.wait(10)
            return False
        return True

    for _ in range(20):
        barrier = threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            assert sorted(attempt.result() for attempt in [pool.submit(try_to_hold) for _ in range(2)]) == [False, True]
