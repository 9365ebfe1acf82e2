"""Files of checkpoints and of the history."""

import json
import logging
import math
from dataclasses import replace

import pytest
import torch
from toy_training import ToyTask, same

from maskdistill.errors import CheckpointError
from maskdistill.models.training.checkpoint import (
    CHECKPOINT,
    HISTORY,
    PREVIOUS,
    EpochReport,
    Snapshot,
    load_snapshot,
    optimizer_state,
    read_history,
    read_tensors,
    restore_optimizer,
    save_snapshot,
    write_history,
    write_tensors,
)


def test_optimizer_state_comes_back():
    task = ToyTask()
    optimizer = torch.optim.SGD(task.model[0].parameters(), lr=0.1, momentum=0.9)
    task.loss([0, 1], torch.Generator())["fit"].backward()
    optimizer.step()
    again = torch.optim.SGD(task.model[0].parameters(), lr=0.3, momentum=0.9)
    tensors, values = optimizer_state(optimizer)
    restore_optimizer(again, tensors, json.loads(json.dumps(values)))
    first, second = optimizer.state_dict()["state"], again.state_dict()["state"]
    assert first.keys() == second.keys() == {0, 1}
    assert torch.equal(first[0]["momentum_buffer"], second[0]["momentum_buffer"])
    assert again.param_groups[0]["lr"] == 0.3


def test_tensors_of_all_kinds_come_back(tmp_path):
    shared = torch.arange(12.0).view(3, 4)
    tensors = {
        "view": shared.T,
        "shared": shared,
        "half": torch.randn(3).bfloat16(),
        "count": torch.tensor(5),
        "none": torch.zeros(0, 3),
    }
    write_tensors(tmp_path / "x.safetensors", tensors, {"a": [1, None, 0.1]})
    back, values = read_tensors(tmp_path / "x.safetensors")
    same(back, tensors)
    assert values == {"a": [1, None, 0.1]}


def test_files_that_no_training_wrote(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"x.safetensors was not written by a training"):
        read_tensors(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"y.safetensors cannot be read: No such file"):
        read_tensors(tmp_path / "y.safetensors")
    with pytest.raises(CheckpointError, match=r"Cannot write .*disk full"):
        write_tensors(tmp_path / "no" / "x.safetensors", {"a": torch.zeros(2)}, {})


def test_interrupted_write_keeps_both_checkpoints(tmp_path, monkeypatch):
    for step in (1, 2):
        save_snapshot(tmp_path, Snapshot(step, {"a": torch.zeros(2)}), "id")

    def stop(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("maskdistill.models.training.checkpoint.save_file", stop)
    with pytest.raises(KeyboardInterrupt):
        save_snapshot(tmp_path, Snapshot(3, {"a": torch.zeros(2)}), "id")
    assert load_snapshot(tmp_path, "id").step == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [PREVIOUS, CHECKPOINT]


def test_history_leaves_out_a_torn_line(tmp_path, caplog):
    report = EpochReport(1, 2, 3, {"total": 0.5}, 0.1, {"share": math.nan}, 1.0, 2.0, 3.0)
    write_history(tmp_path, [report])
    with (tmp_path / HISTORY).open("a") as file:
        file.write('{"epoch": 2, "num_ep')
    with caplog.at_level(logging.WARNING):
        assert read_history(tmp_path) == [replace(report, metrics={})]
    assert "cannot be read" in caplog.text
    assert read_history(tmp_path / "none") == []
