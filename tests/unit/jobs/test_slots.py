import subprocess
import sys

import pytest

from maskdistill import machine
from maskdistill.errors import JobError
from maskdistill.jobs import slots
from maskdistill.jobs.slots import take_slot
from maskdistill.machine import device_of
from maskdistill.storage import user_folders


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MASKDISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def set_gpus(monkeypatch, number):
    for module in (slots, machine):
        monkeypatch.setattr(module, "num_gpus", lambda: number)


def test_device_is_taken_once_and_given_back():
    slot = take_slot("cpu")
    assert take_slot("cpu") is None
    with take_slot("mps"):
        slot.close()
    with take_slot("cpu"):
        assert take_slot("cpu") is None


def test_every_gpu_stands_in_the_way_of_all(monkeypatch):
    set_gpus(monkeypatch, 3)
    with take_slot("cuda:1"):
        assert take_slot("cuda") is None
        with take_slot("cuda:0"), take_slot("cuda:2"):  # those it had taken before it met the busy one are free again
            pass
    with take_slot("cuda"):
        assert [take_slot(f"cuda:{number}") for number in range(3)] == [None] * 3
        take_slot("cpu").close()


HOLD = """
from maskdistill.jobs.slots import take_slot
slot = take_slot("cpu")
print("taken", flush=True)
input()
"""


def test_process_that_is_killed_lets_go():
    holder = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"taken\n"
    assert take_slot("cpu") is None
    holder.kill()
    holder.communicate()
    take_slot("cpu").close()


def test_auto_takes_a_gpu_where_one_is_visible(monkeypatch):
    assert (device_of("cuda:1"), device_of("mps")) == ("cuda:1", "mps")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    set_gpus(monkeypatch, 0)
    assert device_of("auto") == "cpu"
    set_gpus(monkeypatch, 2)
    assert device_of("auto") == "cuda"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert device_of("auto") == "cpu"


def test_place_for_the_locks_where_the_cache_cannot_be_written(cache, tmp_path, monkeypatch):
    cache.write_text("a file in the way")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(user_folders.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    with take_slot("cpu"):
        assert list(tmp_path.glob("temporary/maskdistill-*/slots/*-cpu.lock"))
    monkeypatch.setattr(user_folders.tempfile, "gettempdir", lambda: str(cache))
    with pytest.raises(JobError, match="Set MASKDISTILL_CACHE to a folder that can be written"):
        take_slot("cpu")
