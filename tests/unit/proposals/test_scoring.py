import numpy as np
import pytest

from maskdistill.proposals import scoring
from maskdistill.proposals.scoring import area_part, border_part, combine, contrast_part

WEIGHTS = {"view_agreement": 3.0, "contrast": 1.0, "eigengap": 0.5}


@pytest.fixture
def weights(monkeypatch):
    monkeypatch.setattr(scoring, "WEIGHTS", WEIGHTS)


def test_every_part_has_a_weight_and_an_explanation():
    assert set(scoring.WEIGHTS) == set(scoring.PART_HELP)
    assert all(weight >= 0 for weight in scoring.WEIGHTS.values())
    assert sum(scoring.WEIGHTS.values()) > 0


@pytest.mark.usefixtures("weights")
def test_combine_is_a_weighted_geometric_mean():
    parts = {"view_agreement": 0.2, "contrast": 1.0, "eigengap": 0.6}
    assert combine(parts) == pytest.approx((0.2**3 * 1.0 * 0.6**0.5) ** (1 / 4.5))


@pytest.mark.usefixtures("weights")
def test_part_that_was_not_measured_leaves_the_mean():
    assert combine({"contrast": 0.3, "eigengap": 0.9}) == pytest.approx((0.3 * 0.9**0.5) ** (1 / 1.5))
    assert combine({"contrast": 0.3}) == pytest.approx(0.3)
    assert combine({}) == 0


@pytest.mark.parametrize("value", [0.25, 1.0])
def test_score_of_equal_parts_is_their_value(value):
    assert combine(dict.fromkeys(scoring.WEIGHTS, value)) == pytest.approx(value)
    assert combine(dict.fromkeys(scoring.WEIGHTS, value)) <= 1


@pytest.mark.usefixtures("weights")
def test_other_parts_still_order_masks_that_have_a_part_of_zero():
    worse, better = {"view_agreement": 0.0, "contrast": 0.0}, {"view_agreement": 0.0, "contrast": 0.5}
    assert 0 <= combine(worse) < combine(better) < combine({"view_agreement": 0.1, "contrast": 0.5})


def test_area_is_full_between_the_limits_and_falls_to_zero():
    small, large = scoring.SMALL, scoring.LARGE
    assert [area_part(fraction) for fraction in (0, small, (small + large) / 2, 1)] == [0, 1, 1, 0]
    assert area_part(small / 2) == pytest.approx(0.5)
    assert area_part((1 + large) / 2) == pytest.approx(0.5)


def test_border_part_by_hand():
    mask = np.zeros((4, 5), bool)
    mask[0, :3] = True  # 3 of the 14 pixels of the frame
    assert border_part(mask) == pytest.approx(11 / 14)
    assert border_part(np.zeros((4, 5), bool)) == 1


def test_contrast_equals_a_slow_loop(monkeypatch):
    monkeypatch.setattr(scoring, "PLAIN_CONTRAST", 0.8)
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((9, 5)) + np.where(np.arange(9)[:, None] < 4, 1.5, 0.3)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    inside = np.arange(9) < 4
    mean = sum(vectors[i] for i in range(4)) / 4
    cosines = [float(v @ mean) / float(np.sqrt(mean @ mean)) for v in vectors]
    expected = sum(cosines[:4]) / 4 - sum(cosines[4:]) / 5
    assert 0 < expected < 0.8
    assert contrast_part(vectors, inside) == pytest.approx(expected / 0.8)


@pytest.mark.parametrize(
    ("vectors", "inside", "expected"),
    [
        ([[1, 0], [1, 0], [-1, 0]], [True, True, False], 1),  # a difference of 2 is clipped
        ([[1, 0], [0, 1], [1, 1]], [True, True, False], 0),  # the patch outside fits better than those inside
        ([[1, 0], [0, 1]], [True, True], 0),
        ([[1, 0], [0, 1]], [False, False], 0),
        ([[1, 0], [-1, 0], [0, 1]], [True, True, False], 0),  # no mean direction
    ],
)
def test_contrast_at_its_limits(vectors, inside, expected):
    vectors = np.array(vectors, float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert contrast_part(vectors, np.array(inside)) == expected
