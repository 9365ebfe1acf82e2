from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from maskdistill.config import TrainConfig
from maskdistill.datasets import Photo
from maskdistill.datasets.transforms import patch_grid, patches_to_pixels
from maskdistill.errors import CheckpointError, RunError
from maskdistill.models.patch_head import (
    PatchHead,
    PatchHeadPredictor,
    PatchHeadTask,
    SoftLabels,
    patch_affinity,
    patch_targets,
    smooth_by_affinity,
    upsample,
)
from maskdistill.models.training.checkpoint import write_tensors
from maskdistill.models.training.train import train
from maskdistill.storage.token_store import TokenStore

WIDTH = 5
CONFIG = TrainConfig(
    whole_patches=False,
    hidden=8,
    epochs=20,
    batch_size=2,
    learning_rate=0.05,
    dropout=0,
    class_balance=0,
    patch_share=1.0,
    smoothing=0,
)
SQUARE = patch_grid(16, 24, shorter_side=16, patch_size=8, mode="resize")  # 2 x 3 patches, pixels as they are
PADDED = patch_grid(13, 21, shorter_side=13, patch_size=8, mode="pad")  # 2 x 3 patches, three pixels of padding


class Tokens(dict):
    """Stands in for a store."""

    def read(self, number):
        return self[number]

    def read_patches(self, number, patches):
        values = self[number]
        return values.reshape(-1, values.shape[-1])[patches]


def random_tokens(rows, cols, seed=0, dtype=np.float16):
    return np.random.default_rng(seed).normal(size=(rows, cols, WIDTH)).astype(dtype)


def random_labels(geometry, seed=0, values=(0, 1, 2, 255)):
    return np.random.default_rng(seed).choice(np.array(values, np.uint8), (geometry.height, geometry.width))


def make_task(labels, config=CONFIG, head=None, tokens=None, geometries=None):
    head = head or PatchHead(2, WIDTH, config, seed=1)
    geometries = geometries or [SQUARE] * len(labels)
    tokens = tokens or Tokens({number: random_tokens(2, 3, number) for number in range(len(labels))})
    return PatchHeadTask(head, tokens, range(len(labels)), geometries, lambda index: labels[index], config)


def loss_of(task, *indices):
    task.model.eval()
    return float(task.loss(indices, torch.Generator())["patches"].detach())


def test_logits_are_those_of_standardised_tokens():
    head = PatchHead(3, WIDTH, CONFIG).eval()
    head.mean.copy_(torch.arange(5.0))
    head.scale.fill_(0.5)
    tokens = torch.from_numpy(random_tokens(4, 5).reshape(-1, WIDTH))
    found = head(tokens)
    assert found.shape == (20, 4)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, head.net((tokens.float() - torch.arange(5.0)) / 2))


class TestSoftLabels:
    regions = random_labels(SQUARE, values=(0, 1, 2))

    def mixed(self, *rows):
        return SoftLabels(self.regions, np.array(rows, np.float32))

    @pytest.mark.parametrize("whole", [False, True])
    def test_certain_regions_teach_what_their_label_map_does(self, whole):
        config = replace(CONFIG, whole_patches=whole, class_balance=0.5)
        swapped = self.mixed([1, 0, 0], [0, 0, 1], [0, 1, 0])
        wanted = loss_of(make_task([np.array([0, 2, 1], np.uint8)[self.regions]], config), 0)
        assert loss_of(make_task([swapped], config), 0) == pytest.approx(wanted, rel=1e-4)

    def test_loss_of_a_mixture_is_the_mixture_of_the_losses(self):
        one, other, both = (
            loss_of(make_task([self.mixed([1, 0, 0], row, [0, 1, 0])]), 0)
            for row in ([0, 1, 0], [0, 0, 1], [0, 0.75, 0.25])
        )
        assert both == pytest.approx(0.75 * one + 0.25 * other, rel=1e-3)
        assert one != pytest.approx(other, rel=1e-2)

    def test_more_regions_than_classes_and_ignored_pixels(self):
        regions = self.regions.copy()
        regions[:8, :8] = 3
        regions[8:, 8:16] = 255
        classes = np.array([[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]], np.float32)
        targets, weights = make_task([SoftLabels(regions, classes)])._target(0)
        np.testing.assert_allclose(targets[0], [0, 0, 1])  # the patch is region 3
        assert weights.tolist() == [1, 1, 1, 1, 0, 1]
        np.testing.assert_allclose(targets.sum(dim=1), 1, atol=2e-3)

    def test_head_learns_the_shares(self, tmp_path):
        """Two regions of the same tokens' kind: where the teacher is torn, so is the head."""
        tokens = Tokens({0: np.zeros((2, 3, WIDTH), np.float16)})
        tokens[0][0, :, 0] = 3
        regions = np.ones((16, 24), np.uint8)
        regions[8:] = 0
        task = make_task([SoftLabels(regions, np.array([[1, 0, 0], [0, 0.75, 0.25]], np.float32))], tokens=tokens)
        train(task, replace(CONFIG, epochs=200), folder=tmp_path, seed=0)
        found = task.model.eval()(torch.from_numpy(tokens[0][0].copy())).softmax(dim=1).detach()
        np.testing.assert_allclose(found[0], [0, 0.75, 0.25], atol=0.05)


def test_seed_decides_and_leaves_the_global_one_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second, other = (PatchHead(2, WIDTH, CONFIG, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first.net[0].weight, second.net[0].weight)
    assert not torch.equal(first.net[0].weight, other.net[0].weight)


def test_mean_and_spread_are_those_inside_a_photo():
    tokens = Tokens({number: random_tokens(2, 3, number) * (number + 1) + 4 * number for number in range(3)})
    tokens[1][..., 2] = tokens[0][..., 2] = tokens[2][..., 2] = 7  # no spread at all
    head = PatchHead(2, WIDTH, CONFIG)
    head.standardise(tokens, [0, 1, 2])
    flat = [tokens[number].astype(np.float64).reshape(6, WIDTH) for number in range(3)]
    mean, variance = np.zeros(WIDTH), np.zeros(WIDTH)
    for photo in flat:
        for dimension in range(WIDTH):
            centre = sum(photo[:, dimension]) / 6
            mean[dimension] += centre / 3
            variance[dimension] += sum((photo[:, dimension] - centre) ** 2) / 6 / 3
    np.testing.assert_allclose(head.mean, mean, rtol=1e-5)
    others = [0, 1, 3, 4]
    np.testing.assert_allclose(head.scale[others], 1 / np.sqrt(variance[others]), rtol=1e-5)
    assert head.scale[2] == pytest.approx(1e6)
    assert torch.isfinite(head(torch.from_numpy(flat[0]))).all()


def test_statistics_read_a_bounded_number_of_photos_spread_over_all():
    class Counting:
        seen: list[int] = []  # noqa: RUF012

        def read(self, number):
            self.seen.append(number)
            return np.ones((1, 1, WIDTH), np.float16)

    PatchHead(2, WIDTH, CONFIG).standardise(Counting(), list(range(600)))
    assert len(Counting.seen) <= 256
    assert Counting.seen == list(range(0, 600, 3))


def slow_targets(labels, geometry, num_classes):
    """By a loop over network pixels, of which each takes the photo pixels whose centres lie in it."""
    scale_y, scale_x = geometry.height / geometry.resized_height, geometry.width / geometry.resized_width
    shares, weights = np.zeros((geometry.rows * geometry.cols, num_classes + 1)), []
    for patch in range(geometry.rows * geometry.cols):
        top, left = (8 * number for number in divmod(patch, geometry.cols))
        counted = 0.0
        for y in range(top, min(top + 8, geometry.resized_height)):
            for x in range(left, min(left + 8, geometry.resized_width)):
                inside = [
                    labels[row, col]
                    for row in range(geometry.height)
                    for col in range(geometry.width)
                    if y * scale_y < row + 0.5 <= (y + 1) * scale_y and x * scale_x < col + 0.5 <= (x + 1) * scale_x
                ]
                for label in inside:
                    if label != 255:
                        counted += 1 / len(inside)
                        shares[patch, label] += 1 / len(inside)
        weights.append(counted / 64)
    total = shares.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, shares / np.maximum(total, 1e-9), np.eye(num_classes + 1)[0])
    return shares, np.array(weights)


@pytest.mark.parametrize(
    "geometry",
    [
        SQUARE,
        PADDED,
        patch_grid(32, 48, shorter_side=16, patch_size=8, mode="resize"),
        patch_grid(26, 40, shorter_side=13, patch_size=8, mode="pad"),
    ],
    ids=["resize", "pad", "resize-half", "pad-half"],
)
def test_targets_equal_a_slow_loop(geometry):
    labels = random_labels(geometry)
    labels[:8, :8] = 255
    labels[: geometry.height // 2, geometry.width // 2 :] = 2
    labels[: 8 * geometry.height // geometry.resized_height, : 8 * geometry.width // geometry.resized_width] = 255
    shares, weights = patch_targets(labels, geometry, 2)
    wanted_shares, wanted_weights = slow_targets(labels, geometry, 2)
    assert shares.dtype == weights.dtype == np.float32
    assert weights[0] == 0
    assert weights.max() > 0.5
    np.testing.assert_allclose(weights, wanted_weights, atol=1e-5)
    np.testing.assert_allclose(shares, wanted_shares, atol=1e-5)


@pytest.mark.parametrize("mode", ["resize", "pad"])
@pytest.mark.parametrize(("height", "width"), [(60, 64), (37, 83), (5, 9), (120, 45)])
def test_targets_are_distributions_at_any_size(mode, height, width):
    geometry = patch_grid(height, width, shorter_side=20, patch_size=8, mode=mode)
    shares, weights = patch_targets(random_labels(geometry), geometry, 4)
    assert shares.shape == (geometry.rows * geometry.cols, 5)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert shares.min() >= 0
    assert 0 <= weights.min() <= weights.max() <= 1
    assert not shares[:, 3:].any()
    full, _ = patch_targets(np.ones((height, width), np.uint8), geometry, 1)
    np.testing.assert_allclose(full[:, 1], 1, atol=1e-5)


def test_upsampled_is_bilinear_between_patch_centres():
    geometry = patch_grid(30, 43, shorter_side=20, patch_size=8, mode="resize")
    values = torch.randn(1, 2, geometry.rows, geometry.cols, generator=torch.Generator().manual_seed(0))
    found = upsample(values, geometry)
    assert found.shape == (1, 2, 30, 43)
    for part in range(2):
        wanted = patches_to_pixels(values[0, part].numpy(), geometry, smooth=True)
        np.testing.assert_allclose(found[0, part], wanted, atol=1e-5)


def test_upsampled_without_the_padding():
    values = torch.randn(1, 1, 2, 3, generator=torch.Generator().manual_seed(0))
    found = upsample(values, PADDED)
    assert found.shape == (1, 1, 13, 21)
    wanted = patches_to_pixels(values[0, 0].numpy(), PADDED, smooth=True)  # photo pixels are network pixels here
    np.testing.assert_allclose(found[0, 0], wanted, atol=1e-5)


def test_upsampled_without_the_padding_at_another_size():
    geometry = patch_grid(39, 63, shorter_side=13, patch_size=8, mode="pad")
    ramp = torch.arange(3.0).expand(1, 1, 2, 3)
    found = upsample(ramp, geometry)[0, 0, 20].numpy()
    centres = (np.arange(63) + 0.5) / 3 / 8 - 0.5  # in patches: 63 photo pixels are 21 network pixels
    inner = slice(13, 59)  # away from where both steps hold the border's value
    np.testing.assert_allclose(found[inner], centres[inner].clip(0, 2), atol=1e-4)


def test_loss_by_hand_and_what_is_ignored_does_not_count():
    labels = random_labels(SQUARE)
    labels[:8, :16] = 255  # the first two patches
    task = make_task([labels])
    shares, weights = slow_targets(labels, SQUARE, 2)
    logits = task.model.eval()(torch.from_numpy(random_tokens(2, 3)).reshape(6, WIDTH)).detach().double().numpy()
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    wanted = -(weights * (shares * log_p).sum(axis=1)).sum() / weights.sum()
    assert loss_of(task, 0) == pytest.approx(wanted, rel=2e-3)  # targets are kept in float16
    changed = random_tokens(2, 3)
    changed[0, :2] += 5
    assert loss_of(make_task([labels], tokens=Tokens({0: changed})), 0) == loss_of(task, 0)
    changed[0, 2] += 5
    assert loss_of(make_task([labels], tokens=Tokens({0: changed})), 0) != loss_of(task, 0)


def test_whole_patches_count_as_their_most_frequent_class():
    labels = random_labels(SQUARE)
    shares, weights = slow_targets(labels, SQUARE, 2)
    task = make_task([labels], replace(CONFIG, whole_patches=True))
    logits = task.model.eval()(torch.from_numpy(random_tokens(2, 3)).reshape(6, WIDTH)).detach().double().numpy()
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    wanted = -(weights * log_p[np.arange(6), shares.argmax(axis=1)]).sum() / weights.sum()
    assert loss_of(task, 0) == pytest.approx(wanted, rel=2e-3)


def test_photo_without_any_label_gives_a_loss_of_zero_with_a_gradient():
    task = make_task([np.full((16, 24), 255, np.uint8)])
    loss = task.loss([0], torch.Generator())["patches"]
    loss.backward()
    assert loss == 0
    assert not task.model.net[0].weight.grad.any()
    assert task.metrics() == {}


def test_batch_weighs_photos_by_their_labelled_area():
    labels = [random_labels(SQUARE, seed) for seed in (0, 1)]
    labels[1][:, 4:] = 255
    task = make_task(labels)
    areas = [np.mean(item != 255) for item in labels]
    wanted = np.average([loss_of(task, 0), loss_of(task, 1)], weights=areas)
    assert loss_of(task, 0, 1) == pytest.approx(wanted, rel=1e-3)


def test_class_balance_weighs_the_rare_class():
    labels = np.zeros((16, 24), np.uint8)
    labels[:8, :8] = 1  # one patch of six
    head = PatchHead(2, WIDTH, CONFIG, seed=1).eval()
    task = make_task([labels], replace(CONFIG, class_balance=1.0), head)
    logits = head(torch.from_numpy(random_tokens(2, 3)).reshape(6, WIDTH)).detach()
    losses = -logits.log_softmax(dim=1).numpy()[np.arange(6), [1, 0, 0, 0, 0, 0]]
    wanted = np.average(losses, weights=[3, 0.6, 0.6, 0.6, 0.6, 0.6])  # both classes weigh as much
    assert loss_of(task, 0) == pytest.approx(wanted, rel=2e-3)


def test_label_smoothing_by_hand():
    labels = np.ones((16, 24), np.uint8)
    task = make_task([labels], replace(CONFIG, label_smoothing=0.3))
    logits = task.model.eval()(torch.from_numpy(random_tokens(2, 3)).reshape(6, WIDTH)).detach()
    wanted = -(logits.log_softmax(dim=1) * torch.tensor([0.1, 0.8, 0.1])).sum(dim=1).mean()
    assert loss_of(task, 0) == pytest.approx(float(wanted), rel=2e-3)


class Spy(PatchHead):
    """Keeps the tokens that it is shown."""

    def forward(self, tokens):
        self.shown = tokens
        return super().forward(tokens)


def test_step_sees_a_share_of_the_patches_with_their_own_targets():
    geometry = patch_grid(64, 64, shorter_side=64, patch_size=8, mode="resize")
    labels, patches, tokens = toy(0, geometry)
    tokens[..., -1] = np.arange(64).reshape(8, 8)  # which patch it is
    tokens = Tokens({0: tokens.astype(np.float16)})
    head = Spy(2, WIDTH, CONFIG)
    task = make_task([labels], replace(CONFIG, patch_share=0.25), head, tokens, [geometry])
    seen = []
    for seed in range(40):
        loss = task.loss([0], torch.Generator().manual_seed(seed))["patches"].detach()
        chosen = head.shown[:, -1].long()
        assert len(set(chosen.tolist())) == 16
        classes = torch.from_numpy(patches).ravel()[chosen]
        wanted = torch.nn.functional.cross_entropy(head(head.shown).detach(), classes)
        assert float(loss) == pytest.approx(float(wanted), rel=1e-5)
        seen.append(chosen)
    assert set(torch.cat(seen).tolist()) == set(range(64))
    task.loss([0], torch.Generator().manual_seed(39))
    assert torch.equal(head.shown[:, -1].long(), seen[-1])
    make_task([labels], replace(CONFIG, patch_share=1e-3), head, tokens, [geometry]).loss([0], torch.Generator())
    assert len(head.shown) == 1


def test_smoothing_equals_a_loop():
    rng = np.random.default_rng(0)
    tokens, logits = rng.normal(size=(7, WIDTH)), rng.normal(size=(7, 3))
    tokens[3] = 0
    found = smooth_by_affinity(torch.tensor(logits).float(), patch_affinity(torch.tensor(tokens).half(), 0.3))
    tokens = tokens.astype(np.float16).astype(np.float64)
    for patch in range(7):
        weights, total = [], np.zeros(3)
        for other in range(7):
            lengths = np.linalg.norm(tokens[patch]) * np.linalg.norm(tokens[other])
            weights.append(np.exp(tokens[patch] @ tokens[other] / max(lengths, 1e-9) / 0.3))
            total += weights[-1] * np.exp(logits[other]) / np.exp(logits[other]).sum()
        np.testing.assert_allclose(found[patch].exp(), total / sum(weights), rtol=1e-4)


def test_smoothing_spreads_what_is_known_of_a_part_over_the_object():
    tokens = torch.eye(2).repeat_interleave(4, dim=0)  # two objects of four patches
    logits = torch.zeros(8, 2)
    logits[:3, 0], logits[4:7, 1] = 5, 5  # one patch of each is not known
    found = smooth_by_affinity(logits, patch_affinity(tokens, 0.1)).softmax(dim=1)
    assert found[3, 0] > 0.8
    assert found[7, 1] > 0.8
    torch.testing.assert_close(found.sum(dim=1), torch.ones(8))


def test_smoothing_is_a_setting_of_the_prediction():
    head, tokens = PatchHead(2, WIDTH, CONFIG).eval(), random_tokens(2, 3)
    flat = torch.from_numpy(tokens).reshape(6, WIDTH)
    with torch.inference_mode():
        plain = head(flat)
        smooth = smooth_by_affinity(plain, patch_affinity(flat, 0.2))
    for smoothing, logits in {0: plain, 0.2: smooth}.items():
        model = PatchHeadPredictor(head, replace(CONFIG, smoothing=smoothing), lambda photo: (tokens, SQUARE))
        wanted = upsample(logits.T.reshape(1, 3, 2, 3), SQUARE).softmax(dim=1)[0]
        np.testing.assert_allclose(model.probabilities(photo_of(SQUARE)), wanted, atol=1e-6)


def test_one_photo_after_the_other_and_again_with_other_weights():
    """A predictor keeps what it knows of the last photo; neither another photo nor a trained model may suffer."""
    head, config = PatchHead(2, WIDTH, CONFIG), replace(CONFIG, smoothing=0.2)
    tokens = {name: np.random.default_rng(int(name)).normal(size=(2, 3, WIDTH)).astype(np.float16) for name in "01"}

    def say(model, name):
        return model.probabilities(photo_of(SQUARE, name))

    def fresh():
        return PatchHeadPredictor(head, config, lambda photo: (tokens[photo.id], SQUARE))

    model = fresh()
    for name in "0110":
        np.testing.assert_array_equal(say(model, name), say(fresh(), name))
    with torch.no_grad():
        head.net[3].weight.neg_()
    np.testing.assert_array_equal(say(model, "0"), say(fresh(), "0"))


def test_agreement_by_hand():
    labels = np.zeros((16, 24), np.uint8)
    labels[:8, :8], labels[8:, 8:12], labels[8:, 16:] = 1, 255, 2
    head = PatchHead(2, WIDTH, CONFIG)
    head.forward = lambda tokens: torch.eye(3)[torch.tensor([1, 1, 0, 0, 0, 0])]
    # Right: patches 0, 2, 3 and the labelled half of 4; wrong: 1 and 5.
    assert make_task([labels], head=head).metrics() == {"agreement": pytest.approx(3.5 / 5.5)}


def photo_of(geometry, name="0"):
    return Photo(name, Path(f"{name}.png"), geometry.height, geometry.width, "")


def toy(number, geometry):
    """Labels, and tokens that tell the class of a patch."""
    patches = np.random.default_rng(number).integers(0, 3, (geometry.rows, geometry.cols))
    labels = patches_to_pixels(patches.astype(np.uint8), geometry, smooth=False)
    return labels, patches, random_tokens(geometry.rows, geometry.cols, number) * 0.1 + np.eye(WIDTH)[patches]


@pytest.mark.parametrize("geometry", [SQUARE, PADDED], ids=["resize", "pad"])
def test_learns_a_separable_problem_and_predicts_it_from_disk(tmp_path, geometry):
    store = TokenStore(tmp_path / "tokens")
    examples = [toy(number, geometry) for number in range(5)]
    for number, (_, _, tokens) in enumerate(examples):
        store.write(number, tokens)
    head = PatchHead(2, WIDTH, CONFIG)
    head.standardise(store, range(4))
    task = PatchHeadTask(head, store, range(4), [geometry] * 4, lambda index: examples[index][0], CONFIG)
    result = train(task, CONFIG, folder=tmp_path / "head", seed=0)
    assert result.history[-1].metrics["agreement"] > 0.99
    unseen = PatchHeadPredictor.load(
        result.weights, CONFIG, torch.device("cpu"), lambda photo: (store.read(int(photo.id)), geometry)
    )
    assert unseen.num_classes == 2
    found = unseen.probabilities(photo_of(geometry, "4"))
    assert found.shape == (3, geometry.height, geometry.width)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    centres = found[:, 3::8, 3::8].argmax(axis=0)  # near the middle of each patch, as the photo is not scaled
    np.testing.assert_array_equal(centres, examples[4][1])


def test_weights_of_other_settings_are_refused(tmp_path):
    write_tensors(tmp_path / "head.safetensors", PatchHead(2, WIDTH, CONFIG).state_dict(), {})
    with pytest.raises(CheckpointError, match=r"another shape \(8, 5\) of 'net\.0\.weight'.*wanted \(9, 5\)"):
        PatchHeadPredictor.load(
            tmp_path / "head.safetensors", replace(CONFIG, hidden=9), torch.device("cpu"), lambda photo: None
        )


def test_missing_tokens_are_named(tmp_path):
    task = PatchHeadTask(
        PatchHead(2, WIDTH, CONFIG), TokenStore(tmp_path), [7], [SQUARE], lambda index: random_labels(SQUARE), CONFIG
    )
    with pytest.raises(RunError, match=r"No .*000007\.npy"):
        task.loss([0], torch.Generator())
