import math

import numpy as np
import pytest

from maskdistill.config import ForegroundConfig
from maskdistill.errors import RunError
from maskdistill.proposals.foreground import (
    ForegroundHeads,
    assign_folds,
    fit_heads,
    fit_projection,
    patch_vectors,
    project,
)

CONFIG = ForegroundConfig(folds=3, dimensions=4, hidden=8, steps=600)


@pytest.fixture(scope="module")
def patches():
    """Vectors of 600 patches, whether each is of the object, and the fold of its photo."""
    generator = np.random.default_rng(0)
    inside = generator.random(600) < 0.4
    vectors = generator.normal(size=(600, 6)).astype(np.float32)
    vectors[inside, 0] += 4
    return vectors, inside, np.arange(600) % 3


def fit(patches, seed=0, **options):
    vectors, inside, folds = patches
    return fit_heads(vectors, inside.astype(np.float32), folds, CONFIG, seed, **options)


@pytest.fixture(scope="module")
def heads(patches):
    return fit(patches)


def test_vectors_are_unit_and_their_products_mean_cosines():
    tokens = np.random.default_rng(0).normal(size=(2, 3, 8)).astype(np.float16)
    vectors = patch_vectors(tokens, 2)
    blocks = tokens.reshape(6, 2, 4).astype(float)
    cosines = [
        sum(a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(blocks[0], blocks[i], strict=True)) / 2
        for i in range(6)
    ]
    np.testing.assert_allclose(vectors @ vectors[0], cosines, atol=1e-6)


def test_projection_keeps_how_much_directions_vary():
    generator = np.random.default_rng(0)
    vectors = (generator.normal(size=(4000, 5)) * [1, 2, 3, 0, 0] + 7).astype(np.float32)
    points = project(vectors, *fit_projection(vectors, 3))
    covariance = np.cov(points.T, bias=True)
    assert np.trace(covariance) == pytest.approx(3, rel=1e-3)
    np.testing.assert_allclose(covariance, np.diag(np.array([9, 4, 1]) * 3 / 14), atol=0.05)


def test_projection_of_equal_patches_is_finite():
    mean, basis = fit_projection(np.ones((50, 3), np.float32), 2)
    assert np.isfinite(project(np.ones((4, 3), np.float32), mean, basis)).all()


def test_head_learns_what_the_masks_share(patches, heads):
    vectors, inside, folds = patches
    for fold in range(3):
        judged = heads.probability(vectors[folds == fold], fold) > 0.5
        assert (judged == inside[folds == fold]).mean() > 0.9


def test_probability_is_that_of_the_perceptron(patches, heads):
    vector = patches[0][0].astype(float)
    point = (vector - heads.mean[1]) @ heads.basis[1]
    hidden = [
        float(point @ column + bias) for column, bias in zip(heads.hidden[1].T, heads.hidden_bias[1], strict=True)
    ]
    logit = heads.output_bias[1]
    for value, weight in zip(hidden, heads.output[1], strict=True):
        logit += weight * value * 0.5 * (1 + math.erf(value / math.sqrt(2)))
    np.testing.assert_allclose(heads.probability(patches[0][:1], 1), 1 / (1 + math.exp(-logit)), rtol=1e-4)


def test_new_photo_is_judged_by_the_mean_of_the_folds(patches, heads):
    each = [heads.probability(patches[0], fold) for fold in range(3)]
    np.testing.assert_allclose(heads.probability(patches[0]), np.mean(each, axis=0), rtol=1e-5)


def test_a_fold_does_not_depend_on_its_own_photos(patches, heads):
    """What the cut says of a photo must not reach the head that judges it."""
    vectors, inside, folds = patches
    other = fit((vectors, np.where(folds == 1, ~inside, inside), folds))
    np.testing.assert_array_equal(other.hidden[1], heads.hidden[1])
    moved = fit((np.where((folds == 1)[:, None], vectors + 3, vectors), inside, folds))
    np.testing.assert_array_equal(moved.mean[1], heads.mean[1])
    np.testing.assert_array_equal(moved.basis[1], heads.basis[1])
    np.testing.assert_array_equal(moved.hidden[1], heads.hidden[1])
    assert not np.array_equal(other.hidden[0], heads.hidden[0])


def test_same_seed_same_heads_and_torch_keeps_its_random_state(patches, heads):
    import torch

    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    again = fit(patches)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    np.testing.assert_array_equal(again.hidden, heads.hidden)
    assert not np.array_equal(fit(patches, seed=1).hidden, heads.hidden)


def test_few_photos_are_not_judged_the_other_way_round():
    """Centred and whitened together with its own photo, a head learns that its foreground is background."""
    generator = np.random.default_rng(0)
    inside = np.tile(np.arange(200) < 80, 4)
    vectors = generator.normal(size=(800, 60)) * 0.5
    vectors[inside] += generator.normal(size=(4, 60)).repeat(80, axis=0)  # what each object has of its own
    vectors[inside, 0] += 8  # what they share
    folds = np.repeat(np.arange(4), 200)
    config = ForegroundConfig(folds=4, dimensions=60, hidden=16, steps=200)
    heads = fit_heads(vectors.astype(np.float32), inside.astype(np.float32), folds, config, 0)
    for fold in range(4):
        judged = heads.probability(vectors[folds == fold].astype(np.float32), fold)
        own = inside[folds == fold]
        assert judged[own].mean() > judged[~own].mean() + 0.3


def test_every_step_is_reported(patches):
    steps = []
    fit(patches, on_step=lambda: steps.append(1))
    assert len(steps) == CONFIG.folds * CONFIG.steps


def test_folds_keep_views_of_one_file_together_and_are_even():
    groups = [f"{number // 2}" for number in range(40)]
    folds = assign_folds(groups, 5, seed=0)
    assert sorted(np.bincount(list(folds.values()))) == [4] * 5
    assert folds == assign_folds(groups[::-1], 5, seed=0)
    assert folds != assign_folds(groups, 5, seed=1)


def test_heads_are_the_same_after_saving(tmp_path, patches, heads):
    heads.save(tmp_path / "heads.npz")
    again = ForegroundHeads.load(tmp_path / "heads.npz")
    np.testing.assert_array_equal(again.probability(patches[0]), heads.probability(patches[0]))


@pytest.mark.parametrize("change", [{"output": np.zeros((2, 8))}, {"hidden": np.zeros(3)}, {"mean": np.zeros((3, 5))}])
def test_heads_that_do_not_go_together_are_refused(tmp_path, heads, change):
    arrays = {name: getattr(heads, name) for name in heads.__dataclass_fields__} | change
    np.savez(tmp_path / "heads.npz", **arrays)
    with pytest.raises(RunError, match="do not go together"):
        ForegroundHeads.load(tmp_path / "heads.npz")
