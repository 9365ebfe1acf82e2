import numpy as np
import pytest
import torch

from maskdistill.config import ProposalConfig
from maskdistill.errors import ConfigError
from maskdistill.features.forward import Features
from maskdistill.proposals.published_rule import diffuse

ROWS, COLS, HEADS, DIM = 4, 5, 6, 8


def config(**values):
    return ProposalConfig(**{"engine": "published", "num_heads": 5, "topk": 0.4, "mass": 0.5, **values})


def random_features(seed):
    generator = torch.Generator().manual_seed(seed)
    # Smooth over the grid and with a common direction, so that components are neither single patches nor everything.
    keys = torch.randn(HEADS, ROWS * COLS, DIM, generator=generator)
    keys = keys + keys.roll(1, dims=1) + keys.roll(COLS, dims=1)
    return Features((ROWS, COLS), cls_query=torch.randn(HEADS, DIM, generator=generator), keys=keys)


def slow_rule(features, settings):
    """The rule of the paper, one number at a time; returns the kept attention, the seed and the mask."""
    keys, query = features.keys.double().numpy(), features.cls_query.double().numpy()
    num = ROWS * COLS
    row = [sum(query[h] @ keys[h, p] for h in range(settings.num_heads)) / settings.num_heads for p in range(num)]
    low = min(row)
    row = [value - low for value in row]
    order = sorted(range(num), key=lambda p: -row[p])
    attention, running = [0.0] * num, 0.0
    for p in order:  # the fewest entries that reach the share of the mass
        if running >= settings.mass * sum(row) and running:
            break
        attention[p] = row[p]
        running += row[p]
    candidates = sorted(range(num), key=lambda p: (-attention[p], p))[: max(1, round(settings.topk * num))]
    seed = candidates[0]
    candidates = [p for p in candidates if attention[p] > 0]
    graph = [[sum(keys[h, a] @ keys[h, b] for h in range(HEADS)) for b in range(num)] for a in range(num)]
    kept = [p for p in candidates if graph[seed][p] > 0]
    positive = [sum(graph[p][q] for p in kept) > 0 for q in range(num)]
    mask, stack = np.zeros((ROWS, COLS), bool), [seed] if positive[seed] else []
    while stack:
        p = stack.pop()
        r, c = divmod(p, COLS)
        if mask[r, c]:
            continue
        mask[r, c] = True
        for r2, c2 in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
            if 0 <= r2 < ROWS and 0 <= c2 < COLS and positive[r2 * COLS + c2]:
                stack.append(r2 * COLS + c2)
    return np.array(attention).reshape(ROWS, COLS), divmod(seed, COLS), mask


@pytest.mark.parametrize("values", [{}, {"num_heads": 6}, {"num_heads": 2, "topk": 0.25}, {"mass": 0.9, "topk": 0.7}])
@pytest.mark.parametrize("seed", range(1, 9))
def test_equals_a_slow_loop(seed, values):
    features, settings = random_features(seed), config(**values)
    attention, position, mask = slow_rule(features, settings)
    result = diffuse(features, settings)
    np.testing.assert_allclose(result.attention, attention, rtol=1e-4, atol=1e-5)
    assert result.seed == position
    np.testing.assert_array_equal(result.component, mask)
    assert mask.any()
    assert not mask.all()


def test_seed_without_positive_affinity_gives_no_mask_rather_than_the_background():
    """All logits are negative but the seed's, whose key is zero: its diffused affinity is 0, the background's too."""
    keys = -torch.ones(HEADS, ROWS * COLS, DIM)
    keys[:, 7] = 0
    features = Features((ROWS, COLS), cls_query=torch.ones(HEADS, DIM), keys=keys)
    result = diffuse(features, config())
    assert result.seed == (1, 2)
    assert not result.kept.any()
    assert not result.component.any()


def logits(values):
    """Features of one head whose CLS row is these logits."""
    keys = torch.tensor(values).view(1, len(values), 1)
    return Features((1, len(values)), cls_query=torch.ones(1, 1), keys=keys)


@pytest.mark.parametrize(
    ("mass", "kept"),
    [
        (1e-6, [0, 4, 0, 0, 0]),  # never less than the largest
        (0.4, [0, 4, 0, 0, 0]),  # exactly the share of the largest
        (0.5, [0, 4, 0, 3, 0]),
        (0.7, [0, 4, 0, 3, 0]),
        (0.8, [0, 4, 2, 3, 0]),
        (1.0, [1, 4, 2, 3, 0]),  # the smallest is 0 after the shift
    ],
)
def test_share_of_the_mass(mass, kept):
    result = diffuse(logits([2.0, 5.0, 3.0, 4.0, 1.0]), config(mass=mass, topk=1.0))
    assert result.attention.tolist() == [kept]


@pytest.mark.parametrize(
    ("topk", "count"), [(1e-6, 1), (0.2, 1), (0.6, 3), (1.0, 4)]
)  # the smallest is 0 after the shift
def test_number_of_candidates(topk, count):
    result = diffuse(logits([2.0, 5.0, 3.0, 4.0, 1.0]), config(mass=1.0, topk=topk))
    assert result.candidates.sum() == count
    assert result.candidates[result.seed]
    best = sorted(range(5), key=lambda p: -[2, 5, 3, 4, 1][p])[:count]
    assert set(np.flatnonzero(result.candidates)) == set(best)


def test_single_candidate_spreads_by_its_own_row_only():
    features = random_features(3)
    result = diffuse(features, config(topk=1e-6))
    np.testing.assert_allclose(result.diffused, result.seed_affinity, rtol=1e-5)


def test_photo_without_any_attention_is_no_error():
    features = Features((2, 3), cls_query=torch.zeros(6, 4), keys=torch.zeros(6, 6, 4))
    assert not diffuse(features, config()).component.any()


def test_needs_queries_and_keys():
    with pytest.raises(ConfigError, match="last_qk=True"):
        diffuse(Features((2, 3), keys=torch.ones(6, 6, 4)), config())
    with pytest.raises(ConfigError, match="last_qk=True"):
        diffuse(Features((2, 3), cls_query=torch.ones(6, 4)), config())
