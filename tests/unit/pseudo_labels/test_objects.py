import math

import numpy as np
import pytest

from maskdistill.masks import describe_mask
from maskdistill.pseudo_labels.objects import compare_objects

SHAPE = (10, 12)


def box(top, bottom, left, right, shape=SHAPE):
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def items(*masks, scores=None):
    scores = scores or [0.81] * len(masks)
    return [describe_mask(mask) | {"score": score} for mask, score in zip(masks, scores, strict=True)]


def predicting(*parts, num_classes=3, sure=0.7, shape=SHAPE):
    """(K + 1, H, W): ``sure`` for background, or for the class of each (mask, class) given, the rest shared."""
    labels = np.zeros(shape, int)
    for mask, label in parts:
        labels[mask] = label
    others = (1 - sure) / num_classes
    return np.where(np.arange(num_classes + 1)[:, None, None] == labels, sure, others).astype(np.float32)


def compare(probabilities, objects, proposals=(), clusters=(), **options):
    return compare_objects(
        probabilities, objects, items(*proposals), clusters, **{"min_area": 0.01, "most_new": 5, **options}
    )


def test_object_by_hand():
    proposal, found = box(0, 4, 0, 6), box(0, 4, 1, 7)  # 24 pixels each, 20 in common
    drawn = box(0, 4, 1, 5)  # 16 of the object's
    (seen,) = compare(predicting((drawn, 2)), items(found, scores=[0.64]), [proposal], [2])
    assert (seen.proposal, seen.label) == (0, 2)
    np.testing.assert_array_equal(seen.mask, found)  # not what the model draws, nor the proposal
    assert seen.object_score == pytest.approx(0.64)
    assert seen.score == pytest.approx(math.sqrt(0.64 * (16 * 0.7 + 8 * 0.1) / 24))
    assert seen.agreement == pytest.approx(16 / 24)
    assert seen.iou == pytest.approx(20 / 28)
    assert seen.area == pytest.approx(24 / 120)
    assert seen.border == pytest.approx(6 / 40)


def test_two_objects_that_touch_stay_two_where_the_model_draws_one_region():
    left, right = box(2, 8, 0, 5), box(2, 8, 5, 10)
    seen = compare(predicting((left | right, 1)), items(left, right), [left], [1])
    assert [item.proposal for item in seen] == [0, None]
    np.testing.assert_array_equal(seen[1].mask, right)
    assert [item.label for item in seen] == [1, 1]
    assert math.isnan(seen[1].iou)
    assert math.isnan(seen[1].agreement)


def test_proposal_that_no_object_is_stays_with_a_low_score():
    proposal, found = box(0, 6, 0, 6), box(0, 2, 0, 6)  # a third of it
    (seen,) = compare(predicting((proposal, 1)), items(found, scores=[0.9]), [proposal], [1], most_new=0)
    np.testing.assert_array_equal(seen.mask, proposal)
    assert seen.iou == pytest.approx(1 / 3)
    assert seen.score == pytest.approx(math.sqrt(0.9 / 3 * 0.7))
    (alone,) = compare(predicting((proposal, 1)), [], [proposal], [1])
    assert (alone.score, alone.iou, alone.object_score) == (0, 0, 0)


def test_pairs_are_one_to_one_and_the_largest_overlap_first():
    first, second = box(0, 6, 0, 6), box(0, 6, 0, 8)
    seen = compare(predicting((second, 1)), items(first, second), [second, first], [1, 1])
    assert [item.proposal for item in seen] == [0, 1]
    assert [item.iou for item in seen] == [1, 1]
    np.testing.assert_array_equal(seen[0].mask, second)
    (only,) = [
        item for item in compare(predicting((second, 1)), items(first), [second, first], [1, 1]) if item.iou == 1
    ]
    assert only.proposal == 1


class TestNewObjects:
    def test_best_first_and_at_most_so_many(self):
        masks = [box(0, 3, 0, 4), box(4, 7, 0, 4), box(4, 7, 6, 10)]
        view = predicting(*((mask, 1) for mask in masks))
        seen = compare(view, items(*masks, scores=[0.4, 0.9, 0.6]), most_new=2)
        assert [item.object_score for item in seen] == [0.9, 0.6]

    def test_background_is_none(self):
        mask = box(0, 4, 0, 4)
        assert compare(predicting(), items(mask)) == []
        assert len(compare(predicting((box(0, 4, 0, 3), 1)), items(mask))) == 1
        assert compare(predicting((box(0, 4, 0, 1), 1)), items(mask)) == []

    def test_the_sum_of_the_classes_counts_though_none_is_sure(self):
        mask = box(0, 4, 0, 4)
        view = np.full((4, *SHAPE), 0.25, np.float32)  # most probable of all: background and three classes alike
        (seen,) = compare(view, items(mask, scores=[1.0]))
        assert seen.score == pytest.approx(0.5)

    def test_too_small_is_left_out(self):
        mask = box(0, 2, 0, 2)
        assert compare(predicting((mask, 1)), items(mask), min_area=0.05) == []

    def test_the_same_object_comes_once(self):
        masks = [box(0, 4, 0, 6), box(0, 4, 1, 7), box(0, 4, 0, 5)]
        view = predicting((box(0, 4, 0, 7), 1))
        assert len(compare(view, items(*masks))) == 1
        assert len(compare(view, items(*masks), [masks[1]], [1])) == 1

    def test_what_people_rejected_does_not_come_back(self):
        mask, other = box(0, 4, 0, 6), box(6, 9, 6, 11)
        view = predicting((mask | other, 1))
        (seen,) = compare(view, items(mask, other), others=items(mask))
        np.testing.assert_array_equal(seen.mask, other)


def test_large_photo_is_compared_on_a_small_grid_and_measured_whole():
    shape = (500, 640)
    mask = box(101, 303, 50, 353, shape)
    (seen,) = compare(predicting((mask, 2), shape=shape), items(mask, scores=[0.5]))
    assert seen.area == mask.mean()
    assert (seen.label, seen.border) == (2, 0)
    assert seen.score == pytest.approx(math.sqrt(0.5 * 0.7), abs=1e-3)


def test_photo_without_anything():
    assert compare(predicting(), []) == []
