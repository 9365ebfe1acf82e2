"""What a training leaves, and what stops it."""

import json
import threading
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from toy_training import CONFIG, STEPS, ToyTask, lines, same

from maskdistill.config import TrainConfig
from maskdistill.errors import ConfigError, DatasetError, JobError
from maskdistill.models.training.checkpoint import (
    CHECKPOINT,
    HISTORY,
    WEIGHTS,
    read_tensors,
)
from maskdistill.models.training.loop import Training, step_generator
from maskdistill.models.training.optim import make_optimizer
from maskdistill.models.training.task import Callbacks
from maskdistill.models.training.train import train


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


def test_step_generators_depend_on_every_number():
    numbers = {
        torch.rand(1, generator=step_generator(*key)).item() for key in [(0, 0, 1), (0, 1, 0), (1, 0, 0), (-1, 0, 0)]
    }
    assert len(numbers) == 4
    assert torch.rand(1, generator=step_generator(0, 1)) == torch.rand(1, generator=step_generator(0, 1))
