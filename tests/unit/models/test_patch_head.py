"""The head on patches: what it makes of tokens, that it learns and predicts from disk, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from patch_head_data import CONFIG, PADDED, SQUARE, WIDTH, Tokens, photo_of, random_labels, random_tokens, toy

from maskdistill.errors import CheckpointError, RunError
from maskdistill.models.patch_head import PatchHead, PatchHeadPredictor, PatchHeadTask
from maskdistill.models.training.checkpoint import write_tensors
from maskdistill.models.training.train import train
from maskdistill.storage.token_store import TokenStore


def test_logits_are_those_of_standardised_tokens():
    head = PatchHead(3, WIDTH, CONFIG).eval()
    head.mean.copy_(torch.arange(5.0))
    head.scale.fill_(0.5)
    tokens = torch.from_numpy(random_tokens(4, 5).reshape(-1, WIDTH))
    found = head(tokens)
    assert found.shape == (20, 4)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, head.net((tokens.float() - torch.arange(5.0)) / 2))


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
