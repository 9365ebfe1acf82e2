"""A training that was stopped or killed ends as an undisturbed one does."""

import logging
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from toy_training import CONFIG, STEPS, ToyTask, interrupted, lines, same, stop_at

from maskdistill.models.training.checkpoint import (
    CHECKPOINT,
    HISTORY,
    PREVIOUS,
    WEIGHTS,
    read_tensors,
)
from maskdistill.models.training.task import Callbacks
from maskdistill.models.training.train import train


@pytest.mark.parametrize("step", [1, 3, 5, 6, 11, 12])
def test_stopped_after_any_step_it_ends_as_if_undisturbed(tmp_path, whole, step):
    interrupted(tmp_path, step)
    assert not (tmp_path / WEIGHTS).exists()
    task, reports = ToyTask(), []
    result = train(task, CONFIG, folder=tmp_path, seed=1, calls=Callbacks(on_epoch=reports.append))
    assert result.resumed_at == step
    assert task.seen == whole[1].seen[step:]
    same(load_file(tmp_path / WEIGHTS), load_file(whole[0] / WEIGHTS))
    assert lines(tmp_path) == lines(whole[0])
    assert [report.epoch for report in reports] == list(range((step - 1) // 3 + 1, 5))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_stopped_several_times_in_one_process(tmp_path, optimizer):
    config = replace(CONFIG, optimizer=optimizer, schedule="step", milestones=(2,), ema=0.0)
    train(ToyTask(), config, folder=tmp_path / "whole", seed=1)
    task = ToyTask()
    for step in (2, 3, 7, 8):
        with pytest.raises(KeyboardInterrupt):
            train(task, config, folder=tmp_path / "broken", seed=1, calls=Callbacks(on_step=stop_at(step)))
    train(task, config, folder=tmp_path / "broken", seed=1)
    same(load_file(tmp_path / "broken" / WEIGHTS), load_file(tmp_path / "whole" / WEIGHTS))


@pytest.mark.parametrize("place", ["forward", "metrics", "on_epoch", "on_inspect"])
def test_ctrl_c_in_the_middle_of_anything(tmp_path, whole, place):
    task = ToyTask()
    arm = {"left": {"forward": 5, "on_inspect": 3}.get(place, 2)}  # looked at before the first epoch too

    def count(*_):
        arm["left"] -= 1
        if not arm["left"]:
            signal.raise_signal(signal.SIGINT)

    if place == "forward":  # behind the batch norm, whose statistics have moved by then
        task.model[3].register_forward_hook(lambda *_: count() if task.model.training else None)
    elif place == "metrics":
        metrics = task.metrics
        task.metrics = lambda: (count(), metrics())[1]
    calls = Callbacks(**({place: count} if place.startswith("on_") else {}))
    with pytest.raises(KeyboardInterrupt):
        train(task, CONFIG, folder=tmp_path, seed=1, calls=calls)
    result = train(ToyTask(), CONFIG, folder=tmp_path, seed=1)
    assert result.resumed_at == (4 if place == "forward" else 6)
    same(load_file(tmp_path / WEIGHTS), load_file(whole[0] / WEIGHTS))
    assert lines(tmp_path) == lines(whole[0])


def test_killed_without_a_word_it_goes_on_from_the_last_checkpoint(tmp_path, whole):
    class KilledError(BaseException):
        pass

    def kill(done, _):
        if done == 8:
            raise KilledError

    with pytest.raises(KilledError):
        train(ToyTask(), CONFIG, folder=tmp_path, seed=1, calls=Callbacks(on_step=kill))
    with (tmp_path / HISTORY).open("a") as file:  # an epoch that was written after the checkpoint, and half a line
        file.write((whole[0] / HISTORY).read_text().splitlines()[2] + '\n{"epoch": 4, "num_')
    (tmp_path / f".{CHECKPOINT}.123.tmp").write_bytes(b"half")
    result = train(ToyTask(), CONFIG, folder=tmp_path, seed=1)
    assert result.resumed_at == 6
    same(load_file(tmp_path / WEIGHTS), load_file(whole[0] / WEIGHTS))
    assert lines(tmp_path) == lines(whole[0])
    assert not list(tmp_path.glob(".*"))


def test_checkpoints_by_the_clock(tmp_path, whole):
    class KilledError(BaseException):
        pass

    def kill(done, _):
        if done == 5:
            raise KilledError

    config = replace(CONFIG, checkpoint_seconds=0.0)
    with pytest.raises(KilledError):
        train(ToyTask(), config, folder=tmp_path, seed=1, calls=Callbacks(on_step=kill))
    result = train(ToyTask(), CONFIG, folder=tmp_path, seed=1)  # the interval is not part of what makes the result
    assert result.resumed_at == 4
    same(load_file(tmp_path / WEIGHTS), load_file(whole[0] / WEIGHTS))


def tear(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-50] ^= 1
    path.write_bytes(content)


def write_text(path):
    path.write_text("no tensors here")


@pytest.mark.parametrize("damage", [tear, flip, write_text])
def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, whole, caplog, damage):
    interrupted(tmp_path, 8)
    assert (tmp_path / PREVIOUS).is_file()  # of the epoch's end, step 6
    damage(tmp_path / CHECKPOINT)
    with caplog.at_level(logging.WARNING):
        result = train(ToyTask(), CONFIG, folder=tmp_path, seed=1)
    assert result.resumed_at == 6
    assert f"{CHECKPOINT} is not used" in caplog.text
    same(load_file(tmp_path / WEIGHTS), load_file(whole[0] / WEIGHTS))


def test_a_damaged_checkpoint_never_replaces_the_good_one_before(tmp_path):
    interrupted(tmp_path, 8)
    tear(tmp_path / CHECKPOINT)
    interrupted(tmp_path, 7)
    assert read_tensors(tmp_path / CHECKPOINT)[1]["step"] == 7
    assert read_tensors(tmp_path / PREVIOUS)[1]["step"] == 6


def test_two_damaged_checkpoints_are_a_fresh_start(tmp_path, whole, caplog):
    interrupted(tmp_path, 8)
    tear(tmp_path / CHECKPOINT)
    flip(tmp_path / PREVIOUS)
    with caplog.at_level(logging.WARNING):
        result = train(ToyTask(), CONFIG, folder=tmp_path, seed=1)
    assert result.resumed_at == 0
    assert f"{CHECKPOINT} is not used" in caplog.text
    assert f"{PREVIOUS} is not used" in caplog.text
    same(load_file(tmp_path / WEIGHTS), load_file(whole[0] / WEIGHTS))
    assert lines(tmp_path) == lines(whole[0])


@pytest.mark.parametrize("change", ["seed", "config", "key"])
def test_checkpoint_of_another_training_is_not_used(tmp_path, change):
    interrupted(tmp_path, 8, key="photos of monday")
    task = ToyTask()
    config = replace(CONFIG, learning_rate=0.02) if change == "config" else CONFIG
    key = "photos of friday" if change == "key" else "photos of monday"
    result = train(task, config, folder=tmp_path, seed=2 if change == "seed" else 1, key=key)
    assert result.resumed_at == 0
    assert len(task.seen) == STEPS
    assert [item["epoch"] for item in lines(tmp_path)] == [1, 2, 3, 4]


def test_finished_training_returns_at_once(tmp_path, whole):
    train(ToyTask(), CONFIG, folder=tmp_path, seed=1)
    before = (tmp_path / WEIGHTS).stat().st_mtime_ns
    task = ToyTask()
    result = train(task, CONFIG, folder=tmp_path, seed=1)
    assert task.seen == []
    assert result.resumed_at == STEPS
    assert [report.epoch for report in result.history] == [1, 2, 3, 4]
    assert (tmp_path / WEIGHTS).stat().st_mtime_ns == before
    same(task.model.state_dict(), load_file(whole[0] / WEIGHTS))


def test_finished_weights_that_are_damaged_come_back_from_the_checkpoint(tmp_path, whole):
    train(ToyTask(), CONFIG, folder=tmp_path, seed=1)
    tear(tmp_path / WEIGHTS)
    task = ToyTask()
    assert train(task, CONFIG, folder=tmp_path, seed=1).resumed_at == STEPS
    assert task.seen == []
    same(load_file(tmp_path / WEIGHTS), load_file(whole[0] / WEIGHTS))


def test_finished_weights_of_another_training_do_not_stay(tmp_path):
    train(ToyTask(), CONFIG, folder=tmp_path, seed=1)
    interrupted(tmp_path, 2, config=replace(CONFIG, learning_rate=0.5))
    assert not (tmp_path / WEIGHTS).exists()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_resumes_too(tmp_path, precision):
    config = replace(CONFIG, precision=precision)
    train(ToyTask(), config, folder=tmp_path / "whole", seed=1)
    interrupted(tmp_path / "broken", 7, config=config)
    train(ToyTask(), config, folder=tmp_path / "broken", seed=1)
    weights = load_file(tmp_path / "whole" / WEIGHTS)
    same(load_file(tmp_path / "broken" / WEIGHTS), weights)
    assert weights["0.weight"].dtype == torch.float32
    scale = read_tensors(tmp_path / "broken" / CHECKPOINT)[1]["values"]["scaler"]
    assert ("scale" in scale) == (precision == "float16")


def test_a_training_that_goes_on_is_looked_at_after_the_epochs_left(tmp_path):
    looked = []
    interrupted(tmp_path, 7)
    train(ToyTask(), CONFIG, folder=tmp_path, seed=1, calls=Callbacks(on_inspect=looked.append))
    assert looked == [3, 4]
    train(ToyTask(), CONFIG, folder=tmp_path, seed=1, calls=Callbacks(on_inspect=looked.append))
    assert looked == [3, 4]  # finished: nothing is left to see
