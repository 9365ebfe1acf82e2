"""Both published models learn drawn shapes, stopped in the middle; several processes train as one does."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file
from torchvision.models import resnet50

from maskdistill.config import TrainConfig
from maskdistill.datasets import open_source
from maskdistill.masks import mask_iou
from maskdistill.models.augment import normalise
from maskdistill.models.deeplabv3 import DeepLab, DeepLabPredictor, DeepLabTask, linear_deeplab
from maskdistill.models.mask_rcnn import MaskRcnnPredictor, MaskRcnnTask, build_mask_rcnn
from maskdistill.models.training.checkpoint import read_history
from maskdistill.models.training.task import Callbacks
from maskdistill.models.training.train import train

pytestmark = pytest.mark.slow

RED, BLUE = (220, 40, 40), (40, 60, 220)
CPU = torch.device("cpu")


class Drawn:
    """Four photos of noise, each with a red disc (class 1) and a blue rectangle (class 2), listed four times."""

    def __init__(self, folder):
        self.labels = []
        folder.mkdir()
        for number in range(4):
            height, width = (80, 104) if number % 2 else (104, 80)
            noise = np.random.default_rng(number).integers(90, 140, (height, width, 3)).astype(np.uint8)
            photo, labels = Image.fromarray(noise), Image.new("L", (width, height), 0)
            disc = (3 + 2 * number, 3 + number, 45 + 2 * number, 41 + number)
            box = (width - 44 - 2 * number, height - 42 - number, width - 4 - 2 * number, height - 6 - number)
            for image, colours in ((photo, (RED, BLUE)), (labels, (1, 2))):
                ImageDraw.Draw(image).ellipse(disc, fill=colours[0])
                ImageDraw.Draw(image).rectangle(box, fill=colours[1])
            photo.save(folder / f"{number}.png")
            self.labels.append(np.array(labels))
        self.photos = open_source(folder).photos * 4  # longer epochs: a checkpoint of half a gigabyte ends each
        self.labels *= 4

    def masks_of(self, index):
        return np.stack([self.labels[index] == 1, self.labels[index] == 2]), np.array([1, 2])

    def ious(self, predictor):
        """(4, 2) IoU of each shape."""
        ious = []
        for photo, labels in list(zip(self.photos, self.labels, strict=True))[:4]:
            predicted = predictor.probabilities(photo).argmax(axis=0)
            ious.append([mask_iou(predicted == label, labels == label) for label in (1, 2)])
        return np.array(ious)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return Drawn(tmp_path_factory.mktemp("drawn") / "photos")


@pytest.fixture(scope="module")
def untrained(drawn):
    """A ResNet-50 of random weights, whose batch norms know the photos, as those of trained weights would."""
    torch.manual_seed(0)
    network = resnet50(weights=None, zero_init_residual=True).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # plain mean of all batches, here one
    with torch.no_grad():
        network(torch.stack([normalise(Image.open(photo.path).resize((96, 96))) for photo in drawn.photos[:4]]))
    return {name: value for name, value in network.state_dict().items() if not name.startswith("fc.")}


@pytest.fixture(scope="module")
def dino_file(untrained, tmp_path_factory):
    path = tmp_path_factory.mktemp("dino") / "dino_resnet50_pretrain.pth"
    torch.save(untrained, path)
    return str(path)


@pytest.fixture(scope="module")
def moco_file(untrained, tmp_path_factory):
    path = tmp_path_factory.mktemp("moco") / "moco_v2_800ep_pretrain.pth.tar"
    state = {f"module.encoder_q.{name}": value for name, value in untrained.items()}
    state["module.encoder_q.fc.0.weight"] = torch.zeros(2048, 2048)
    torch.save({"epoch": 800, "arch": "resnet50", "state_dict": state}, path)
    return str(path)


def mask_rcnn_task(drawn, config, num_photos=16):
    model = build_mask_rcnn(2, config, box_batch_size_per_image=16, rpn_batch_size_per_image=64)
    return MaskRcnnTask(model, drawn.photos[:num_photos], drawn.masks_of, config, num_checked=2)


def deeplab_task(drawn, config, num_photos=16):
    model = DeepLab(2, config)
    return DeepLabTask(model, drawn.photos[:num_photos], lambda index: drawn.labels[index], config, num_checked=2)


def stop_and_go_on(make_task, config, folder, stop):
    """Train, interrupted after some step, then by a new process's worth of objects to the end."""

    def interrupt(done, _total):
        if done == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(make_task(), config, folder=folder, seed=3, calls=Callbacks(on_step=interrupt))
    result = train(make_task(), config, folder=folder, seed=3)
    assert result.resumed_at == stop
    return result


def check_resumed_equals_undisturbed(make_task, config, folder):
    whole = train(make_task(), config, folder=folder / "whole", seed=3)
    broken = stop_and_go_on(make_task, config, folder / "broken", stop=1)
    first, second = load_file(whole.weights), load_file(broken.weights)
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different
    assert [report.losses for report in whole.history] == [report.losses for report in broken.history]


MASK_RCNN = TrainConfig(
    model="mask_rcnn", epochs=3, batch_size=2, learning_rate=5e-4, clip_norm=5.0, warmup=0.1, image_side=80
)
DEEPLAB = TrainConfig(
    model="deeplabv3", epochs=3, batch_size=4, learning_rate=1e-3, hard_pixels=0.2, warmup=0.1, image_side=96
)


def test_mask_rcnn_learns_shapes_though_stopped(drawn, dino_file, tmp_path):
    config = replace(MASK_RCNN, weights=dino_file, frozen_stages=5, ema=0.8)
    result = stop_and_go_on(lambda: mask_rcnn_task(drawn, config), config, tmp_path, stop=9)
    assert result.history[-1].losses["total"] < 0.5 * result.history[0].losses["total"]
    assert result.history[-1].metrics["agreement"] > 0.6
    ious = drawn.ious(MaskRcnnPredictor.load(result.weights, config, CPU))
    assert (ious.mean(axis=0) > 0.6).all(), ious


def test_mask_rcnn_resumed_equals_undisturbed(drawn, moco_file, tmp_path):
    config = replace(MASK_RCNN, weights=moco_file, epochs=1, batch_size=4, image_side=64, optimizer="sgd", ema=0.9)
    check_resumed_equals_undisturbed(lambda: mask_rcnn_task(drawn, config, 8), config, tmp_path)


def test_deeplab_learns_shapes_though_stopped(drawn, moco_file, tmp_path):
    config = replace(DEEPLAB, weights=moco_file)
    result = stop_and_go_on(lambda: deeplab_task(drawn, config), config, tmp_path, stop=7)
    assert result.history[-1].losses["total"] < result.history[0].losses["total"]
    ious = drawn.ious(DeepLabPredictor.load(result.weights, config, CPU))
    assert (ious.mean(axis=0) > 0.6).all(), ious


def test_deeplab_resumed_equals_undisturbed(drawn, dino_file, tmp_path):
    config = replace(DEEPLAB, weights=dino_file, epochs=1, image_side=64, optimizer="sgd", ema=0.9)
    check_resumed_equals_undisturbed(lambda: deeplab_task(drawn, config, 8), config, tmp_path)


SCRIPT = """
import os, sys
from pathlib import Path
import torch
from torch import nn
from torch.nn import functional as F
from maskdistill.config import TrainConfig
from maskdistill.models.training.train import Callbacks, train

class Plane:
    def __init__(self):
        torch.manual_seed(int(os.environ.get("RANK", "0")))  # each process begins with other weights: the first's count
        self.model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
        self.num_samples = 12
        self.inputs = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
        self.calls = []

    def loss(self, indices, generator):
        self.calls.append(len(indices))
        inputs = self.inputs[list(indices)]
        return {"fit": F.mse_loss(self.model(inputs), inputs.sum(dim=1, keepdim=True))}

    def metrics(self):
        return {"calls": len(self.calls), "photos": sum(self.calls)}

torch.set_num_threads(1)
config = TrainConfig(epochs=5, batch_size=4, learning_rate=0.01, clip_norm=0.5, ema=0.5)

def look(epoch):  # only the first process does, while the others wait for it
    with (Path(sys.argv[1]) / "looked.txt").open("a") as file:
        file.write(f"{epoch} by {os.environ.get('RANK', '0')}\\n")

train(Plane(), config, folder=Path(sys.argv[1]), seed=1, calls=Callbacks(on_inspect=look))
"""


def run_script(tmp_path, name, *, processes):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(tmp_path / name)]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command = [sys.executable, *launcher, *command[1:]]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    root = Path(__file__).resolve().parents[2]
    finished = subprocess.run(
        command, env=environment, cwd=root, capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return tmp_path / name


def test_two_processes_train_as_one_does(tmp_path):
    one, two = (run_script(tmp_path, f"n{count}", processes=count) for count in (1, 2))
    first, second = read_history(one), read_history(two)
    assert [report.metrics["calls"] for report in second] == [3, 6, 9, 12, 15]
    assert second[-1].metrics["photos"] == 30  # of 60: the other half went to the other process
    for left, right in zip(first, second, strict=True):
        assert (left.epoch, left.step) == (right.epoch, right.step)
        # Sums over halves of a batch round differently.
        assert left.losses["fit"] == pytest.approx(right.losses["fit"], rel=1e-4)
        assert left.grad_norm == pytest.approx(right.grad_norm, rel=1e-4)
    for name, value in load_file(one / "model.safetensors").items():
        torch.testing.assert_close(load_file(two / "model.safetensors")[name], value, rtol=1e-3, atol=1e-5)
    assert sorted(path.name for path in two.iterdir()) == sorted(path.name for path in one.iterdir())
    assert len((two / "history.jsonl").read_text().splitlines()) == 5
    assert (two / "looked.txt").read_text().splitlines() == [f"{epoch} by 0" for epoch in range(6)]
    assert json.loads((two / "config.json").read_text())["seed"] == 1


def test_linear_deeplab_trains_its_last_layer_alone(drawn, tmp_path):
    """Batch norms keep their statistics too, and the classes are others than the clusters were."""
    trained = DeepLab(5, DEEPLAB)
    config = replace(DEEPLAB, epochs=1, optimizer="sgd", learning_rate=0.1, hard_pixels=1.0, image_side=64)
    model = linear_deeplab(trained, 2, config, seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    task = DeepLabTask(model, drawn.photos[:4], lambda index: drawn.labels[index], config, num_checked=1)
    train(task, config, folder=tmp_path, seed=0)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"net.classifier.4.weight", "net.classifier.4.bias"}
    assert model.net.classifier[4].out_channels == 3
    kept = trained.state_dict()
    assert all(torch.equal(before[name], kept[name]) for name in kept if not name.startswith("net.classifier.4."))
