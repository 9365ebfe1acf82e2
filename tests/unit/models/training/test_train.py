import json
import logging
import math
import signal
import threading
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from maskdistill.config import TrainConfig
from maskdistill.errors import CheckpointError, ConfigError, DatasetError, JobError
from maskdistill.models.training.checkpoint import (
    CHECKPOINT,
    HISTORY,
    PREVIOUS,
    WEIGHTS,
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
from maskdistill.models.training.loop import Training, step_generator
from maskdistill.models.training.optim import AveragedWeights, learning_rate, make_optimizer, number_format
from maskdistill.models.training.task import Callbacks
from maskdistill.models.training.train import train


class ToyTask:
    """Ten points on a noisy plane; a network with batch norm and dropout, so that every source of state takes part."""

    def __init__(self, num_samples=10, spoil_at=None):
        torch.manual_seed(7)
        self.model = nn.Sequential(
            nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1), nn.Linear(1, 1)
        )
        self.model[5].requires_grad_(False)
        self.num_samples = num_samples
        self.inputs = torch.randn(num_samples, 3, generator=torch.Generator().manual_seed(0))
        self.targets = self.inputs.sum(dim=1, keepdim=True)
        self.spoil_at = spoil_at
        self.seen = []  # (photos, first random number) of every call

    def loss(self, indices, generator):
        noise = torch.randn(len(indices), 3, generator=generator)
        self.seen.append((tuple(indices), float(noise[0, 0])))
        outputs = self.model(self.inputs[list(indices)] + 0.01 * noise)
        loss = F.mse_loss(outputs, self.targets[list(indices)])
        if len(self.seen) - 1 == self.spoil_at:
            loss = loss * math.nan
        return {"fit": loss, "size": 1e-3 * self.model[0].weight.square().sum()}

    def metrics(self):
        assert not self.model.training
        assert not torch.is_grad_enabled()
        return {"error": F.l1_loss(self.model(self.inputs), self.targets).item(), "unknown": math.nan}


CONFIG = TrainConfig(epochs=4, batch_size=4, learning_rate=0.01, ema=0.9, clip_norm=1.0, warmup=0.2)
STEPS = 4 * 3  # ten photos in batches of at most four: three steps an epoch


def stop_at(step):
    def on_step(done, total):
        assert total == STEPS
        if done == step:
            raise KeyboardInterrupt

    return on_step


def interrupted(folder, step, config=CONFIG, **options):
    with pytest.raises(KeyboardInterrupt):
        train(ToyTask(), config, folder=folder, seed=1, calls=Callbacks(on_step=stop_at(step)), **options)


def same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def lines(folder):
    reports = [json.loads(line) for line in (folder / HISTORY).read_text().splitlines()]
    return [{name: value for name, value in item.items() if "second" not in name} for item in reports]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    task = ToyTask()
    train(task, CONFIG, folder=folder, seed=1)
    return folder, task


def test_fits_and_leaves_weights_history_and_settings(tmp_path):
    task, reports = ToyTask(), []
    config = replace(CONFIG, epochs=40, learning_rate=0.03)
    result = train(task, config, folder=tmp_path / "new" / "stage1", seed=0, calls=Callbacks(on_epoch=reports.append))
    assert result.weights == tmp_path / "new" / "stage1" / WEIGHTS
    assert result.resumed_at == 0
    assert [report.epoch for report in reports] == list(range(1, 41))
    first, last = reports[0], reports[-1]
    assert (first.num_epochs, first.step, last.step) == (40, 3, 120)
    assert last.losses["fit"] < 0.6 * first.losses["fit"]
    assert last.metrics["error"] < 0.6 * first.metrics["error"]
    assert last.losses["total"] == pytest.approx(last.losses["fit"] + last.losses["size"])
    assert min(last.grad_norm, last.seconds, last.samples_per_second) > 0
    assert [item["epoch"] for item in lines(result.weights.parent)] == list(range(1, 41))
    assert "unknown" not in lines(result.weights.parent)[0]["metrics"]  # NaN is no JSON
    same(load_file(result.weights), task.model.state_dict())
    assert json.loads((result.weights.parent / "config.json").read_text())["learning_rate"] == 0.03
    names = sorted(path.name for path in result.weights.parent.iterdir())
    assert names == [CHECKPOINT, "config.json", HISTORY, WEIGHTS]


def test_each_epoch_takes_every_photo_once_in_another_order(whole):
    _, task = whole
    epochs = [[index for photos, _ in task.seen[3 * n : 3 * n + 3] for index in photos] for n in range(4)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert sorted(len(photos) for photos, _ in task.seen[:3]) == [3, 3, 4]  # never a small last batch
    assert len({noise for _, noise in task.seen}) == STEPS


def test_same_seed_same_result_another_seed_another(tmp_path, whole):
    folder, task = whole
    again, other = ToyTask(), ToyTask()
    torch.manual_seed(99)  # the state of the caller's generator must not matter
    train(again, CONFIG, folder=tmp_path / "again", seed=1)
    train(other, CONFIG, folder=tmp_path / "other", seed=2)
    assert again.seen == task.seen
    same(load_file(tmp_path / "again" / WEIGHTS), load_file(folder / WEIGHTS))
    assert lines(tmp_path / "again") == lines(folder)
    assert not torch.equal(other.model[0].weight, task.model[0].weight)


def test_the_callers_random_numbers_are_left_alone(tmp_path):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    task = ToyTask()
    torch.manual_seed(5)
    train(task, replace(CONFIG, epochs=1), folder=tmp_path, seed=1)
    assert torch.equal(torch.rand(3), wanted)


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


def test_loss_that_is_no_number_stops_with_a_remedy_and_keeps_the_last_good_checkpoint(tmp_path):
    with pytest.raises(JobError, match=r"epoch 3, step 8: losses fit nan.*Lower learning_rate.*stays in"):
        train(ToyTask(spoil_at=7), CONFIG, folder=tmp_path, seed=1)
    tensors, values = read_tensors(tmp_path / CHECKPOINT)
    assert values["step"] == 6
    assert all(bool(value.isfinite().all()) for value in tensors.values())
    assert len(lines(tmp_path)) == 2


def test_gradient_that_is_no_number_stops_too(tmp_path):
    class RootTask(ToyTask):
        def loss(self, indices, generator):
            return {"root": self.model[0].weight.mul(0).sum().sqrt()}  # 0, but of infinite slope

    with pytest.raises(JobError, match=r"epoch 1, step 1: losses root 0.*gradient nan"):
        train(RootTask(), CONFIG, folder=tmp_path, seed=1)


def test_nothing_to_train():
    task = ToyTask()
    task.model.requires_grad_(False)
    with pytest.raises(ConfigError, match="every parameter of Sequential is frozen"):
        make_optimizer(task.model, CONFIG)


def test_no_photo(tmp_path):
    with pytest.raises(DatasetError, match="no photo to train on"):
        train(ToyTask(num_samples=0), CONFIG, folder=tmp_path, seed=1)


def test_works_outside_the_main_thread(tmp_path):
    results = []
    thread = threading.Thread(
        target=lambda: results.append(train(ToyTask(), replace(CONFIG, epochs=1), folder=tmp_path, seed=1))
    )
    thread.start()
    thread.join()
    assert results[0].weights.is_file()


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


def test_auto_precision_on_a_cpu():
    assert number_format("auto", torch.device("cpu")) == torch.float32
    assert number_format("bfloat16", torch.device("cpu")) == torch.bfloat16


def test_frozen_parameters_stay_and_gradients_are_clipped(tmp_path, whole):
    fresh, task = ToyTask(), ToyTask()
    config = replace(CONFIG, optimizer="sgd", momentum=0.0, weight_decay=0.0, clip_norm=1e-3, ema=0.0, warmup=0.0)
    train(task, replace(config, epochs=1, batch_size=10), folder=tmp_path, seed=1)  # one step
    moved = [after - before for before, after in zip(fresh.model.parameters(), task.model.parameters(), strict=True)]
    length = math.sqrt(sum(float(step.detach().square().sum()) for step in moved))
    assert length == pytest.approx(1e-3 * 0.01, rel=1e-2)  # float32 rounding of weights near 1
    assert torch.equal(whole[1].model[5].weight, fresh.model[5].weight)


def test_adamw_decays_matrices_only():
    groups = make_optimizer(ToyTask().model, replace(CONFIG, weight_decay=0.3)).param_groups
    assert [(group["weight_decay"], len(group["params"])) for group in groups] == [(0.3, 2), (0.0, 4)]
    assert all(item.ndim == 2 for item in groups[0]["params"])


def test_sgd_is_as_published():
    group = make_optimizer(ToyTask().model, replace(CONFIG, optimizer="sgd", learning_rate=0.002)).param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"], len(group["params"])) == (0.002, 0.9, 1e-4, 6)


def test_learning_rates_by_hand():
    cosine = TrainConfig(epochs=10, learning_rate=2.0, warmup=0.1)
    rates = [learning_rate(cosine, step, 4) for step in range(40)]
    assert rates[:5] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])
    assert rates[22] == pytest.approx(1.0)  # half-way through the 36 steps after the warm-up
    assert rates[39] == pytest.approx(1 + math.cos(math.pi * 35 / 36))
    published = TrainConfig(epochs=45, learning_rate=0.002, schedule="step", milestones=(40,))
    rates = [learning_rate(published, step, 7) for step in range(45 * 7)]
    assert rates[: 40 * 7] == [0.002] * 280
    assert rates[40 * 7 :] == pytest.approx([0.0002] * 35)
    assert learning_rate(replace(published, milestones=(1, 2)), 14, 7) == pytest.approx(2e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ema": 1.0}, r"ema must be in \[0, 0.999999\], got 1"),  # it would keep the initial weights
        ({"milestones": (40, 0)}, r"milestones must be in \[1, 100000\], got 0"),
        ({"hard_pixels": 0.0}, r"hard_pixels must be in"),
        ({"frozen_stages": 6}, r"frozen_stages must be in \[0, 5\], got 6"),
    ],
)
def test_settings_that_cannot_work(values, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**values)


def test_averaged_weights_equal_a_slow_loop():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[0].bias.requires_grad_(False)
    average = AveragedWeights(model, decay=0.5)
    weight, mean = model[0].weight.detach().clone(), torch.zeros(2)
    for step in range(1, 30):
        with torch.no_grad():
            model[0].weight.add_(torch.randn(2, 2, generator=torch.Generator().manual_seed(step)))
            model[1].running_mean.fill_(step)
            model[1].num_batches_tracked.fill_(step)
        average.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step))
        weight, mean = decay * weight + (1 - decay) * model[0].weight, decay * mean + (1 - decay) * step
    own = model[0].weight.detach().clone()
    with average.placed_in(model):
        torch.testing.assert_close(model[0].weight.detach(), weight.detach())
        torch.testing.assert_close(model[1].running_mean, mean)
        assert model[1].num_batches_tracked == 29
    assert torch.equal(model[0].weight, own)
    assert "0.bias" not in average.values


def test_metrics_see_the_averaged_weights(tmp_path):
    class LookTask(ToyTask):
        def metrics(self):
            self.looked = self.model[0].weight.detach().clone()
            return {}

    task = LookTask()
    result = train(task, replace(CONFIG, epochs=2), folder=tmp_path, seed=1)
    assert torch.equal(task.looked, load_file(result.weights)["0.weight"])
    last = read_tensors(tmp_path / CHECKPOINT)[0]
    assert torch.equal(task.looked, last["average:0.weight"])
    assert not torch.equal(task.looked, last["model:0.weight"])


def test_looking_finds_the_weights_that_would_be_kept_and_changes_nothing(tmp_path, whole):
    task, looked = ToyTask(), {}
    first = task.model[0].weight.detach().clone()

    def look(epoch):
        assert not task.model.training
        assert not torch.is_grad_enabled()
        torch.rand(epoch + 1)  # whatever it draws
        looked[epoch] = task.model[0].weight.detach().clone()

    train(task, CONFIG, folder=tmp_path, seed=1, calls=Callbacks(on_inspect=look))
    assert list(looked) == [0, 1, 2, 3, 4]
    assert torch.equal(looked[0], first)
    assert torch.equal(looked[4], load_file(tmp_path / WEIGHTS)["0.weight"])
    same(load_file(tmp_path / WEIGHTS), load_file(whole[0] / WEIGHTS))
    assert lines(tmp_path) == lines(whole[0])


def test_only_the_first_process_tells(tmp_path):
    def fail(*_):
        raise AssertionError("another process was told")

    training = Training(ToyTask(), CONFIG, tmp_path, 1, "identity", Callbacks(fail, fail, fail))
    training.processes = replace(training.processes, rank=1)
    training.run()
    assert training.step == STEPS
    assert not list(tmp_path.iterdir())


def test_a_training_that_goes_on_is_looked_at_after_the_epochs_left(tmp_path):
    looked = []
    interrupted(tmp_path, 7)
    train(ToyTask(), CONFIG, folder=tmp_path, seed=1, calls=Callbacks(on_inspect=looked.append))
    assert looked == [3, 4]
    train(ToyTask(), CONFIG, folder=tmp_path, seed=1, calls=Callbacks(on_inspect=looked.append))
    assert looked == [3, 4]  # finished: nothing is left to see


def test_step_generators_depend_on_every_number():
    numbers = {
        torch.rand(1, generator=step_generator(*key)).item() for key in [(0, 0, 1), (0, 1, 0), (1, 0, 0), (-1, 0, 0)]
    }
    assert len(numbers) == 4
    assert torch.rand(1, generator=step_generator(0, 1)) == torch.rand(1, generator=step_generator(0, 1))


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
