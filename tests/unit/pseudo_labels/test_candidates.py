import numpy as np
import pytest

from maskdistill.pseudo_labels.candidates import compare_with_prediction

SHAPE = (10, 12)


def box(top, bottom, left, right):
    mask = np.zeros(SHAPE, bool)
    mask[top:bottom, left:right] = True
    return mask


def predicting(*parts, num_classes=3, sure=0.7):
    """(K + 1, 10, 12): ``sure`` for background, or for the class of each (mask, class) given, the rest shared."""
    labels = np.zeros(SHAPE, int)
    for mask, label in parts:
        labels[mask] = label
    others = (1 - sure) / num_classes
    return np.where(np.arange(num_classes + 1)[:, None, None] == labels, sure, others).astype(np.float32)


def test_proposal_by_hand():
    proposal, drawn = box(0, 4, 0, 6), box(0, 4, 2, 8)  # 24 pixels each, 16 in common
    (seen,) = compare_with_prediction(predicting((drawn, 2)), [proposal], [2], 0.01)
    assert (seen.proposal, seen.label) == (0, 2)
    np.testing.assert_array_equal(seen.mask, drawn)
    assert seen.score == pytest.approx((16 * 0.7 + 8 * 0.1) / 24)
    assert seen.agreement == pytest.approx(16 / 24)
    assert seen.iou == pytest.approx(16 / 32)
    assert seen.area == pytest.approx(24 / 120)
    assert seen.border == pytest.approx(6 / 40)  # six pixels of the upper edge, of a frame of 40


def test_signals_equal_a_slow_loop():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), SHAPE).transpose(2, 0, 1)
    masks, clusters = [box(1, 6, 1, 7), box(3, 10, 4, 12)], [3, 1]
    for mask, cluster, seen in zip(
        masks, clusters, compare_with_prediction(probabilities, masks, clusters, 1.0), strict=True
    ):
        inside = [(row, col) for row in range(10) for col in range(12) if mask[row, col]]
        assert seen.score == pytest.approx(np.mean([probabilities[cluster][spot] for spot in inside]))
        winners = [int(np.argmax(probabilities[(slice(None), *spot)])) for spot in inside]
        assert seen.agreement == pytest.approx(winners.count(cluster) / len(inside))
        assert seen.label == max((1, 2, 3), key=winners.count)
        assert seen.iou == pytest.approx((seen.mask & mask).sum() / (seen.mask | mask).sum())


def test_model_gives_another_class_than_the_cluster():
    proposal = box(2, 6, 2, 6)
    (seen,) = compare_with_prediction(predicting((proposal, 3)), [proposal], [1], 0.01)
    assert (seen.label, seen.agreement) == (3, 0)
    assert seen.score == pytest.approx(0.1)  # of its cluster, not of what the model sees
    assert seen.iou == 1


def test_label_is_the_largest_class_inside_apart_from_background():
    proposal = box(0, 8, 0, 10)
    (seen,) = compare_with_prediction(predicting((box(1, 2, 1, 4), 1), (box(4, 6, 1, 6), 2)), [proposal], [1], 0.05)
    assert seen.label == 2  # 3 pixels of class 1, 10 of class 2, 67 of background
    np.testing.assert_array_equal(seen.mask, box(4, 6, 1, 6))
    assert seen.agreement == pytest.approx(3 / 80)


def test_all_pieces_that_the_proposal_touches_are_drawn_and_no_other():
    left, right, apart = box(2, 5, 0, 3), box(2, 5, 5, 8), box(8, 10, 9, 12)
    proposal = box(2, 5, 2, 6)
    (seen,) = compare_with_prediction(predicting((left | right | apart, 1)), [proposal], [1], 0.5)
    np.testing.assert_array_equal(seen.mask, left | right)


def test_pieces_that_touch_at_a_corner_are_apart():
    first, second = box(0, 3, 0, 3), box(3, 6, 3, 6)
    seen = compare_with_prediction(predicting((first | second, 1)), [first], [1], 0.01)
    np.testing.assert_array_equal(seen[0].mask, first)
    np.testing.assert_array_equal(seen[1].mask, second)


def test_proposal_that_the_model_does_not_see_keeps_its_mask_and_cluster():
    proposal = box(1, 4, 1, 5)
    (seen,) = compare_with_prediction(predicting(), [proposal], [2], 0.01)
    assert (seen.label, seen.iou, seen.agreement) == (2, 0, 0)
    assert seen.score == pytest.approx(0.1)
    np.testing.assert_array_equal(seen.mask, proposal)
    assert seen.area == pytest.approx(12 / 120)


def test_new_object_has_no_proposal():
    proposal, new = box(0, 3, 0, 3), box(5, 10, 6, 12)
    probabilities = predicting((proposal, 1), (new, 3))
    probabilities[3][new] = 0.9
    seen = compare_with_prediction(probabilities, [proposal], [1], 0.01)
    assert [item.proposal for item in seen] == [0, None]
    assert seen[1].label == 3
    assert seen[1].score == pytest.approx(0.9)
    assert np.isnan(seen[1].iou)
    assert np.isnan(seen[1].agreement)
    np.testing.assert_array_equal(seen[1].mask, new)
    assert seen[1].area == pytest.approx(30 / 120)
    assert seen[1].border == pytest.approx((6 + 5 - 1) / 40)


def test_new_objects_come_largest_first_and_specks_are_left_out():
    small, large, speck = box(0, 2, 0, 3), box(4, 8, 4, 10), box(9, 10, 0, 2)
    seen = compare_with_prediction(predicting((small, 1), (large, 2), (speck, 3)), [], [], 6 / 120)
    assert [item.area for item in seen] == pytest.approx([24 / 120, 6 / 120])
    assert len(compare_with_prediction(predicting((small, 1), (large, 2), (speck, 3)), [], [], 2 / 120)) == 3


def test_component_of_another_class_on_a_proposal_is_no_new_object():
    proposal = box(2, 8, 2, 8)  # 36 pixels, of which class 2 has 20 and class 1 has 16
    halves = ((box(2, 8, 2, 8), 1), (box(2, 6, 2, 7), 2))
    seen = compare_with_prediction(predicting(*halves), [proposal], [1], 0.01)
    assert seen[0].label == 2
    assert seen[0].agreement == pytest.approx(16 / 36)
    assert [(item.proposal, item.label) for item in seen[1:]] == [(None, 1)]  # IoU 16 / 36 with the proposal
    large = ((box(2, 8, 2, 8), 1), (box(2, 8, 2, 5), 2))  # 18 pixels each: IoU 0.5
    assert len(compare_with_prediction(predicting(*large), [proposal], [1], 0.01)) == 1


def test_two_proposals_of_one_component():
    left, right = box(2, 6, 1, 5), box(2, 6, 5, 9)
    seen = compare_with_prediction(predicting((left | right, 1)), [left, right], [1, 2], 0.01)
    assert [item.proposal for item in seen] == [0, 1]  # both are a half of it, so it is no new object
    assert [item.label for item in seen] == [1, 1]
    assert [item.iou for item in seen] == [0.5, 0.5]
    assert [item.agreement for item in seen] == [1, 0]


def test_two_proposals_keep_their_order():
    first, second = box(0, 3, 0, 3), box(5, 9, 5, 11)
    seen = compare_with_prediction(predicting((first, 2), (second, 1)), [first, second], [2, 1], 0.01)
    assert [(item.proposal, item.label) for item in seen] == [(0, 2), (1, 1)]


def test_empty_proposal_has_no_signal():
    new = box(5, 9, 5, 11)
    seen = compare_with_prediction(predicting((new, 1)), [np.zeros(SHAPE, bool)], [2], 0.01)
    assert (seen[0].label, seen[0].score, seen[0].iou, seen[0].agreement, seen[0].area) == (2, 0, 0, 0, 0)
    assert [item.proposal for item in seen] == [0, None]


def test_nothing_to_see():
    assert compare_with_prediction(predicting(), [], [], 0.01) == []


def test_clusters_must_be_as_many_as_masks():
    with pytest.raises(ValueError, match="zip"):
        compare_with_prediction(predicting(), [box(0, 2, 0, 2)], [], 0.01)
