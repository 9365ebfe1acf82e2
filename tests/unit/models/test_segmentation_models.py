import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.models import resnet50
from torchvision.ops import FrozenBatchNorm2d

from maskdistill.config import TrainConfig
from maskdistill.datasets import open_source
from maskdistill.errors import CheckpointError, DatasetError, ShapeError
from maskdistill.models import Candidate, paint_probabilities
from maskdistill.models.deeplabv3 import DeepLab, DeepLabPredictor, DeepLabTask
from maskdistill.models.losses import class_weights, hard_pixel_cross_entropy
from maskdistill.models.mask_rcnn import MaskRcnnPredictor, MaskRcnnTask, build_mask_rcnn, num_classes_of
from maskdistill.models.training.checkpoint import write_tensors
from maskdistill.models.training.optim import place

CONFIG = TrainConfig(image_side=32, batch_size=2, hard_pixels=0.2, frozen_stages=2)
MASKS = np.zeros((2, 24, 32), bool)
MASKS[0, 2:12, 4:20] = MASKS[1, 8:22, 18:30] = True


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file in MoCo's format, with running statistics that are not those of a fresh network."""
    torch.manual_seed(0)
    state = resnet50(weights=None).state_dict()
    for name, value in state.items():
        if name.endswith("running_var"):
            value.fill_(4.0)
    path = tmp_path_factory.mktemp("moco") / "moco.pth.tar"
    torch.save({"state_dict": {f"module.encoder_q.{name}": value for name, value in state.items()}}, path)
    return str(path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (24, 32, 3))
        Image.fromarray(noise.astype(np.uint8)).save(folder / f"{number}.png")
    return open_source(folder).photos


@pytest.fixture(scope="module")
def deeplab(weights):
    return DeepLab(2, replace(CONFIG, weights=weights))


@pytest.fixture(scope="module")
def mask_rcnn(weights):
    return build_mask_rcnn(2, replace(CONFIG, weights=weights), box_batch_size_per_image=8)


def label_of(_):
    labels = np.zeros((24, 32), np.uint8)
    labels[MASKS[0]], labels[MASKS[1]] = 1, 2
    labels[0] = 255
    return labels


def masks_of(_):
    return MASKS, np.array([1, 2])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_painted_probabilities_by_hand():
    masks = [np.array([[True, True, False, False]]), np.array([[False, True, True, False]])]
    candidates = [Candidate(masks[0], 1, 0.9), Candidate(masks[1], 2, 0.6)]
    expected = np.array([[[0.1, 0.1, 0.4, 1]], [[0.9, 0.9, 0, 0]], [[0, 0, 0.6, 0]]])
    for order in (candidates, candidates[::-1]):  # the better one shows, whichever comes first
        painted = paint_probabilities(order, 2, 1, 4)
        assert painted.dtype == np.float32
        np.testing.assert_allclose(painted, expected, atol=1e-6)


def test_deeplab_has_output_stride_8_and_frozen_stages(deeplab):
    deeplab.train()
    pixels = torch.randn(2, 3, 64, 48)
    with torch.no_grad():
        assert deeplab.net.backbone(pixels)["out"].shape == (2, 2048, 8, 6)
        before = deeplab.net.backbone.layer1[0].bn1.running_mean.clone()
        moved = deeplab.net.backbone.layer2[0].bn1.running_mean.clone()
        assert deeplab(pixels).shape == (2, 3, 64, 48)
    assert torch.equal(deeplab.net.backbone.layer1[0].bn1.running_mean, before)
    assert not torch.equal(deeplab.net.backbone.layer2[0].bn1.running_mean, moved)
    frozen = {name.split(".")[2] for name, item in deeplab.named_parameters() if not item.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1"}


def test_channels_last_as_on_cuda_change_no_logits(deeplab):
    here = torch.device("cpu")
    assert place(deeplab, here).net.backbone.conv1.weight.is_contiguous()
    moved = copy.deepcopy(deeplab).eval().to(memory_format=torch.channels_last)
    pixels = torch.randn(2, 3, 64, 48, generator=generator())
    with torch.no_grad():
        torch.testing.assert_close(moved(pixels), deeplab.eval()(pixels), atol=1e-4, rtol=1e-4)


@pytest.mark.slow  # a whole ResNet-50 is made anew
def test_without_initial_weights_nothing_is_frozen_and_the_seed_decides():
    first, second, other = (DeepLab(2, CONFIG, seed=seed) for seed in (0, 0, 1))
    assert all(parameter.requires_grad for parameter in first.parameters())
    assert torch.equal(first.net.backbone.conv1.weight, second.net.backbone.conv1.weight)
    assert torch.equal(first.net.classifier[4].weight, second.net.classifier[4].weight)
    assert not torch.equal(first.net.backbone.conv1.weight, other.net.backbone.conv1.weight)


class Recorder(nn.Module):
    """Stands in for a network: constant logits, and keeps what it was shown."""

    num_classes = 2

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([0.3, -0.2, 0.1]))

    def forward(self, pixels):
        self.pixels = pixels
        return self.bias[None, :, None, None].expand(len(pixels), 3, *pixels.shape[2:])


def test_deeplab_loss_is_that_of_the_hardest_pixels_of_the_crops(photos):
    model = Recorder()
    loss = DeepLabTask(model, photos, label_of, CONFIG).loss([0, 2], generator())["pixels"]
    assert model.pixels.shape == (2, 3, 32, 32)
    hardest = -torch.log_softmax(model.bias, dim=0)[1]  # class 1 has the least likely logit
    assert loss.item() == pytest.approx(hardest.item(), rel=1e-5)  # it covers about a fifth of the crop
    torch.testing.assert_close(
        DeepLabTask(model, photos, label_of, CONFIG).loss([0, 2], generator())["pixels"], loss, rtol=0, atol=0
    )
    shown = model.pixels.clone()
    DeepLabTask(model, photos, label_of, CONFIG).loss([0, 2], generator(1))
    assert not torch.equal(model.pixels, shown)


def test_one_photo_is_seen_in_two_views(photos):
    model = Recorder()
    DeepLabTask(model, photos, label_of, CONFIG).loss([1], generator())
    assert len(model.pixels) == 2
    assert not torch.equal(model.pixels[0], model.pixels[1])


def test_class_balance_weighs_by_the_labels_of_all_photos(photos):
    config = replace(CONFIG, class_balance=0.5, hard_pixels=1.0)
    model = Recorder()
    task = DeepLabTask(model, photos, label_of, config)
    counts = torch.tensor([float((label_of(0) == label).sum()) for label in range(3)])
    expected = class_weights(counts, 0.5)
    whole = torch.from_numpy(label_of(0)).long()[None]
    task._crop = lambda item: (torch.zeros(3, 24, 32), whole[0])
    loss = task.loss([0, 1], generator())["pixels"]
    logits = model(torch.zeros(2, 3, 24, 32))
    torch.testing.assert_close(
        loss, hard_pixel_cross_entropy(logits, whole.expand(2, -1, -1), 1.0, class_weights=expected)
    )


def test_deeplab_agreement_counts_labelled_pixels(photos):
    task = DeepLabTask(Recorder(), photos, label_of, CONFIG)  # says background everywhere
    labels = label_of(0)
    assert task.metrics()["agreement"] == pytest.approx((labels == 0).sum() / (labels != 255).sum())
    assert DeepLabTask(Recorder(), photos, lambda _: np.full((24, 32), 255, np.uint8), CONFIG).metrics() == {}


def test_deeplab_labels_are_checked(photos):
    with pytest.raises(ShapeError, match=r"label map of 0(\.png)? must have shape \(24, 32\), got \(4, 4\)"):
        DeepLabTask(Recorder(), photos, lambda _: np.zeros((4, 4), np.uint8), CONFIG).loss([0], generator())
    with pytest.raises(DatasetError, match=r"holds class 7, the model has 2"):
        DeepLabTask(Recorder(), photos, lambda _: np.full((24, 32), 7, np.uint8), CONFIG).loss([0], generator())


@pytest.mark.slow  # a whole ResNet-50 is made anew
def test_deeplab_probabilities_have_the_photos_size_and_come_back_from_a_file(photos, deeplab, tmp_path):
    probabilities = DeepLabPredictor(deeplab, CONFIG).probabilities(photos[0])
    assert (probabilities.shape, probabilities.dtype) == ((3, 24, 32), np.float32)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    image = Image.open(photos[0].path).resize((16, 12))
    assert DeepLabPredictor(deeplab, CONFIG).predict(image).shape == (3, 12, 16)
    write_tensors(tmp_path / "model.safetensors", deeplab.state_dict(), {})
    config = replace(CONFIG, weights="gone.pth")  # the file of initial weights is not needed any more
    loaded = DeepLabPredictor.load(tmp_path / "model.safetensors", config, torch.device("cpu"))
    assert loaded.num_classes == 2
    np.testing.assert_array_equal(loaded.probabilities(photos[0]), probabilities)
    with pytest.raises(CheckpointError, match="holds no Mask R-CNN"):
        MaskRcnnPredictor.load(tmp_path / "model.safetensors", config, torch.device("cpu"))


def test_mask_rcnn_freezes_batch_norm_and_stages_with_initial_weights(mask_rcnn):
    body = mask_rcnn.backbone.body
    assert isinstance(body.bn1, FrozenBatchNorm2d)
    assert (body.layer4[0].bn2.running_var == 4).all()  # of the file
    frozen = {name.split(".")[2] for name, item in mask_rcnn.named_parameters() if not item.requires_grad}
    assert frozen == {"conv1", "layer1"}
    assert num_classes_of(mask_rcnn) == 2


@pytest.mark.slow  # a whole ResNet-50 is made anew
def test_mask_rcnn_without_initial_weights_trains_all():
    model = build_mask_rcnn(3, CONFIG)
    assert isinstance(model.backbone.body.bn1, nn.BatchNorm2d)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("empty", [False, True], ids=["masks", "no masks"])
def test_mask_rcnn_losses_are_finite_and_reproduce(photos, mask_rcnn, empty):
    targets = (lambda _: (MASKS[:0], np.zeros(0, np.int64))) if empty else masks_of
    task = MaskRcnnTask(mask_rcnn.train(), photos, targets, CONFIG)
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        with torch.no_grad():
            found.append(task.loss([0, 1], generator()))
    assert sorted(found[0]) == ["loss_box_reg", "loss_classifier", "loss_mask", "loss_objectness", "loss_rpn_box_reg"]
    assert all(torch.isfinite(value) for value in found[0].values())
    assert found[0] == found[1]
    assert (found[0]["loss_mask"] == 0) == empty


class Catcher(nn.Module):
    """Stands in for a Mask R-CNN: keeps what it was shown and returns what it was told."""

    def __init__(self, found=None):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.roi_heads = nn.Module()
        self.roi_heads.box_predictor = nn.Module()
        self.roi_heads.box_predictor.cls_score = nn.Linear(2, 3)
        self.found = found

    def forward(self, images, targets=None):
        self.images, self.targets = images, targets
        return {"loss": self.weight.sum()} if targets is not None else [self.found]


def test_targets_follow_the_photo(photos):
    model = Catcher()
    task = MaskRcnnTask(model, photos, masks_of, CONFIG)
    heights, mirrored = set(), set()
    for seed in range(12):
        task.loss([0, 1], generator(seed))
        for image, target in zip(model.images, model.targets, strict=True):
            height, width = image.shape[1:]
            assert 19 <= height <= 32
            assert abs(width - height * 32 / 24) <= 0.51
            assert target["masks"].shape == (2, height, width)
            assert target["labels"].tolist() == [1, 2]
            for mask, box in zip(target["masks"], target["boxes"].tolist(), strict=True):
                rows, cols = np.nonzero(mask.numpy())
                assert box == [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
            heights.add(height)
            mirrored.add(bool(target["boxes"][0, 0] > target["boxes"][1, 0]))
    assert len(heights) > 5
    assert mirrored == {False, True}


def test_masks_of_which_nothing_is_left_are_no_targets(photos):
    masks = np.stack([np.zeros((24, 32), bool), MASKS[0]])
    model = Catcher()
    MaskRcnnTask(model, photos, lambda _: (masks, np.array([1, 2])), CONFIG).loss([0], generator())
    assert model.targets[0]["labels"].tolist() == [2]
    assert len(model.targets[0]["boxes"]) == len(model.targets[0]["masks"]) == 1


def test_masks_are_checked(photos):
    with pytest.raises(ShapeError, match=r"masks of 0(\.png)? must have shape \(1, 24, 32\), got \(2, 24, 32\)"):
        MaskRcnnTask(Catcher(), photos, lambda _: (MASKS, np.array([1])), CONFIG).loss([0], generator())
    with pytest.raises(DatasetError, match=r"have classes 0 to 2, wanted 1 to 2"):
        MaskRcnnTask(Catcher(), photos, lambda _: (MASKS, np.array([0, 2])), CONFIG).loss([0], generator())


def found_masks():
    soft = torch.zeros(3, 1, 32, 43)  # at the network's size: 24 x 32 pixels with a shorter side of 32
    soft[0, 0, 3:16, 6:27] = 0.9
    soft[1, 0, 11:29, 24:40] = 0.8
    soft[2] = 0.4  # nowhere sure: no candidate
    return {"masks": soft, "labels": torch.tensor([1, 2, 1]), "scores": torch.tensor([0.9, 0.7, 0.3])}


def test_candidates_are_masks_at_the_photos_size(photos):
    predictor = MaskRcnnPredictor(Catcher(found_masks()), CONFIG)
    candidates = predictor.candidates(photos[0])
    assert [(item.label, round(item.score, 3)) for item in candidates] == [(1, 0.9), (2, 0.7)]
    for item, mask in zip(candidates, MASKS, strict=True):
        assert item.mask.shape == (24, 32)
        assert (item.mask != mask).mean() < 0.05  # a pixel along the edge
    probabilities = predictor.probabilities(photos[0])
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-6)
    assert probabilities[1, 6, 8] == pytest.approx(0.9)
    assert probabilities[2, 18, 25] == pytest.approx(0.7)


def test_mask_rcnn_agreement_wants_the_right_label(photos):
    right = MaskRcnnTask(Catcher(found_masks()), photos, masks_of, CONFIG).metrics()["agreement"]
    assert right > 0.8
    swapped = MaskRcnnTask(Catcher(found_masks()), photos, lambda _: (MASKS, np.array([2, 1])), CONFIG).metrics()
    assert swapped["agreement"] < 0.3
    none = MaskRcnnTask(Catcher(found_masks()), photos, lambda _: (MASKS[:0], np.zeros(0, int)), CONFIG)
    assert none.metrics() == {}


@pytest.mark.slow  # a whole ResNet-50 is made anew
def test_mask_rcnn_comes_back_from_a_file(photos, mask_rcnn, tmp_path):
    write_tensors(tmp_path / "model.safetensors", mask_rcnn.state_dict(), {})
    loaded = MaskRcnnPredictor.load(tmp_path / "model.safetensors", CONFIG, torch.device("cpu"))
    assert loaded.num_classes == 2
    for (name, first), second in zip(mask_rcnn.state_dict().items(), loaded.model.state_dict().values(), strict=True):
        assert torch.equal(first, second), name
    with pytest.raises(CheckpointError, match="holds no DeepLab"):
        DeepLabPredictor.load(tmp_path / "model.safetensors", CONFIG, torch.device("cpu"))
