import numpy as np
import pytest
import torch

from maskdistill.errors import ConfigError
from maskdistill.features.forward import Features
from maskdistill.proposals.affinity import cosine_affinity, key_affinity, stacked_features


def random_features(seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = {block: torch.randn(6, 5, generator=generator) * block for block in (1, 3, 4)}
    return Features((2, 3), patch_tokens=tokens, keys=torch.randn(2, 6, 4, generator=generator))


def cosine(a, b):
    return float(a @ b / (np.sqrt(a @ a) * np.sqrt(b @ b)))


def test_products_of_tokens_are_the_mean_cosine_over_blocks():
    features = random_features()
    affinity = cosine_affinity(stacked_features(features, "tokens", (1, 4)))
    first, second = features.patch_tokens[1].numpy(), features.patch_tokens[4].numpy()
    for i in range(6):
        for j in range(6):
            expected = (cosine(first[i], first[j]) + cosine(second[i], second[j])) / 2
            assert affinity[i, j] == pytest.approx(expected, abs=1e-6)


def test_products_of_keys_are_the_cosine_of_the_heads_side_by_side():
    features = random_features()
    affinity = cosine_affinity(stacked_features(features, "keys", ()))
    for i in range(6):
        for j in range(6):
            a, b = (np.concatenate([features.keys[head, k].numpy() for head in range(2)]) for k in (i, j))
            assert affinity[i, j] == pytest.approx(cosine(a, b), abs=1e-6)


@pytest.mark.parametrize(("kind", "blocks"), [("tokens", (1, 3, 4)), ("tokens", (3,)), ("keys", ())])
def test_stacked_features_are_unit_vectors(kind, blocks):
    vectors = stacked_features(random_features(), kind, blocks)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_patch_of_zeros_is_like_nothing_and_not_nan():
    features = Features((1, 2), patch_tokens={1: torch.tensor([[0.0, 0.0], [3.0, 4.0]])})
    affinity = cosine_affinity(stacked_features(features, "tokens", (1,)))
    np.testing.assert_allclose(affinity, [[0, 0], [0, 1]], atol=1e-6)


def test_key_affinity_is_the_sum_of_plain_products_over_heads():
    features = random_features()
    rows = np.array([4, 1])
    expected = np.zeros((2, 6))
    for r, row in enumerate(rows):
        for other in range(6):
            for head in range(2):
                for dim in range(4):
                    expected[r, other] += features.keys[head, row, dim] * features.keys[head, other, dim]
    np.testing.assert_allclose(key_affinity(features, rows), expected, rtol=1e-5)


def test_missing_features_are_named():
    features = Features((2, 3), patch_tokens={1: torch.ones(6, 5)})
    with pytest.raises(ConfigError, match=r"blocks \[2\] were not extracted; there are \[1\]"):
        stacked_features(features, "tokens", (1, 2))
    with pytest.raises(ConfigError, match="blocks none were not extracted"):
        stacked_features(features, "tokens", ())
    with pytest.raises(ConfigError, match="last_qk=True"):
        stacked_features(features, "keys", ())
