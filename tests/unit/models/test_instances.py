"""Objects out of two sources: what agrees counts, and what the head may learn."""

import numpy as np
import pytest

from maskdistill.models.instance_finder import label_masks
from maskdistill.models.instances import Scored, choose_targets, compare_scores, find_scale, make_lesson, merge
from maskdistill.proposals.pool import Pool


def block(top, left, rows=4, cols=4, side=16):
    values = np.full((side, side), -1, np.float32)
    values[top : top + rows, left : left + cols] = 1
    return values


def scored(*items):
    values = np.array([values for values, _ in items], np.float32).reshape(-1, 16, 16)
    return Scored(values, np.array([score for _, score in items], np.float32))


def pool_of(side=16):
    """A pool without candidates, of which the grid alone counts."""
    none = np.zeros(0, np.float32)
    empty = np.zeros((0, side, side))
    return Pool(empty.astype(bool), empty.astype(np.float32), none, none, none, none)


ONE, OTHER, THIRD = block(0, 0), block(8, 8), block(0, 10)


def test_a_mask_counts_as_far_as_the_other_source_sees_it():
    pool = scored((ONE, 0.5), (OTHER, 0.9))
    drawn = scored((block(0, 0, rows=3), 0.4), (THIRD, 0.8))
    found = merge(pool, drawn, 1.0, 0.7, 10)
    assert len(found.scores) == 1  # OTHER is the pool's alone, THIRD the head's
    np.testing.assert_array_equal(found.values[0], ONE)
    assert found.scores[0] == pytest.approx(0.5 * 0.75)


def test_scores_of_the_head_are_brought_to_the_scale_of_the_pool():
    pool, drawn = scored((ONE, 0.02)), scored((block(0, 0, rows=3), 0.8))
    assert merge(pool, drawn, 0.01, 0.7, 10).values[0][3, 0] == 1
    assert merge(pool, drawn, 1.00, 0.7, 10).values[0][3, 0] == -1
    pairs = compare_scores(scored((ONE, 0.02), (OTHER, 0.03)), scored((ONE, 0.8), (THIRD, 0.1)))
    np.testing.assert_allclose(pairs, [[0.02, 0.8]])
    assert find_scale([pairs]) == pytest.approx(0.025)
    assert find_scale([]) == 1


@pytest.mark.parametrize(("pool", "drawn"), [((), ((ONE, 1.0),)), (((ONE, 1.0),), ())])
def test_where_one_source_has_nothing_the_pool_counts_alone(pool, drawn):
    assert len(merge(scored(*pool), scored(*drawn), 1.0, 0.6, 10).scores) == len(pool)


def test_no_more_than_asked_for_and_none_twice():
    items = [(block(row, col), 0.1 + row / 100) for row in range(0, 16, 4) for col in range(0, 16, 4)]
    both = scored(*items)
    assert len(merge(both, both, 1.0, 0.6, 100).scores) == len(items)
    found = merge(both, both, 1.0, 0.6, 5)
    assert len(found.scores) == 5
    assert found.scores.min() >= sorted(both.scores)[-5] - 1e-6


def test_targets_are_apart_and_those_far_below_the_usual_are_left_out():
    pool = scored((ONE, 0.8), (block(0, 1), 0.7), (OTHER, 0.3), (THIRD, 0.05))
    targets = choose_targets(pool, 6, pool_of())
    np.testing.assert_allclose(targets.scores, [0.8, 0.3, 0.05])
    lesson = make_lesson(np.zeros((16, 16, 3)), targets, usual=0.8, least=0.25)
    assert lesson.masks.shape == (2, 16, 16)
    np.testing.assert_array_equal(lesson.masks[0], ONE > 0)
    assert lesson.weights[0] == pytest.approx(1)
    assert lesson.weights[1] < lesson.weights[0]


def test_targets_of_a_padded_photo_lie_on_its_own_patches():
    pool = scored((block(0, 0, rows=16, cols=16), 1.0))
    first = pool_of(8)
    padded = Pool(
        *(getattr(first, name) for name in ("masks", "values", "area", "contrast", "border", "agreement")), (0.5, 1.0)
    )
    (mask,) = choose_targets(pool, 1, padded).masks
    assert mask[:4].all()
    assert not mask[4:].any()


def test_the_class_is_the_most_probable_inside_and_never_the_background():
    classes = np.zeros((3, 4, 4), np.float32)
    classes[0], classes[1, :2], classes[2, 2:] = 0.6, 0.4, 0.3
    masks = np.zeros((2, 4, 4), bool)
    masks[0, 0], masks[1, 3] = True, True
    labels, certainties = label_masks(masks, classes)
    assert labels == [1, 2]
    np.testing.assert_allclose(certainties, [0.4, 0.3], rtol=1e-6)
    assert label_masks(masks[:0], classes) == ([], [])
