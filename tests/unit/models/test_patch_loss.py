"""The loss of the head on patches: by hand, of uncertain regions, of rare classes, and on a share of the patches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from patch_head_data import CONFIG, SQUARE, WIDTH, Tokens, random_labels, random_tokens, slow_targets, toy

from maskdistill.datasets.transforms import patch_grid
from maskdistill.models.patch_head import PatchHead, PatchHeadTask, SoftLabels
from maskdistill.models.training.train import train


def make_task(labels, config=CONFIG, head=None, tokens=None, geometries=None):
    head = head or PatchHead(2, WIDTH, config, seed=1)
    geometries = geometries or [SQUARE] * len(labels)
    tokens = tokens or Tokens({number: random_tokens(2, 3, number) for number in range(len(labels))})
    return PatchHeadTask(head, tokens, range(len(labels)), geometries, lambda index: labels[index], config)


def loss_of(task, *indices):
    task.model.eval()
    return float(task.loss(indices, torch.Generator())["patches"].detach())


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


def test_agreement_by_hand():
    labels = np.zeros((16, 24), np.uint8)
    labels[:8, :8], labels[8:, 8:12], labels[8:, 16:] = 1, 255, 2
    head = PatchHead(2, WIDTH, CONFIG)
    head.forward = lambda tokens: torch.eye(3)[torch.tensor([1, 1, 0, 0, 0, 0])]
    # Right: patches 0, 2, 3 and the labelled half of 4; wrong: 1 and 5.
    assert make_task([labels], head=head).metrics() == {"agreement": pytest.approx(3.5 / 5.5)}
