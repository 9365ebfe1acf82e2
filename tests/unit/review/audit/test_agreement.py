"""Labels of people compared, counted, and timed."""

import numpy as np
import pytest

from maskdistill.errors import ShapeError
from maskdistill.review.audit import compare, count_labels, disagreement, encode_labels, measure_pace, most_rejected
from maskdistill.review.audit.agreement import ACCEPTED, NO_LABEL, REJECTED, differing

A, X, N = ACCEPTED, REJECTED, NO_LABEL


def labels(*each):
    return np.array(each, np.int64)


def test_label_is_the_cluster_a_mask_was_moved_to():
    assert encode_labels(np.array([1, -1, 1, 0]), np.array([0, 0, 4, 0])).tolist() == [A, X, 4, N]


def test_rejection_stands_above_a_cluster():
    assert encode_labels(np.array([-1]), np.array([4])).tolist() == [X]


def test_kappa_of_a_table_from_a_textbook():
    # 45 both yes, 15 yes and no, 25 no and yes, 15 both no: 60 % agree, chance 54 %, kappa 6/46.
    first = labels(*[A] * 60, *[X] * 40)
    second = labels(*[A] * 45, *[X] * 15, *[A] * 25, *[X] * 15)
    found = compare(first, second)
    assert found.share == pytest.approx(0.6)
    assert found.kappa == pytest.approx(0.06 / 0.46)
    assert found.meaning.startswith("slight")
    assert found.confusion.tolist() == [[45, 15, 0], [25, 15, 0], [0, 0, 0]]


def test_only_masks_that_both_judged_count():
    found = compare(labels(A, N, X, A), labels(N, A, X, X))
    assert (found.num_both, found.num_same, found.rows.tolist()) == (2, 1, [3])


def test_moved_to_another_cluster_is_another_label():
    found = compare(labels(3, 3), labels(3, 4))
    assert (found.num_same, found.confusion[2, 2], found.rows.tolist()) == (1, 2, [1])


def test_full_agreement_on_two_things_is_a_kappa_of_1():
    assert compare(labels(A, X, A), labels(A, X, A)).kappa == pytest.approx(1)


def test_always_the_same_one_thing_has_no_kappa():
    found = compare(labels(A, A), labels(A, A))
    assert np.isnan(found.kappa)


def test_contradiction_is_below_chance():
    found = compare(labels(A, X), labels(X, A))
    assert found.kappa == pytest.approx(-1)
    assert "chance" in found.meaning


def test_nobody_judged_the_same_mask():
    found = compare(labels(A, N), labels(N, A))
    assert np.isnan(found.share)


def test_compared_words_are_of_the_same_masks():
    with pytest.raises(ShapeError, match="second"):
        compare(labels(A), labels(A, X))


def test_differing_needs_two_who_spoke():
    everyone = np.stack([labels(A, A, N, 3, N), labels(X, A, A, 4, N), labels(N, N, N, 3, N)])
    assert differing(everyone).tolist() == [True, False, False, True, False]


def test_disagreement_is_told_by_names():
    assert disagreement(["Ann", "you"], [A, 7], lambda id: f"c{id}") == "Ann accepted, you moved it to c7"


def test_words_are_counted_and_a_skip_until_something_is_labels():
    tally = count_labels(labels(A, X, 5, N, N), np.array([False, False, True, True, False]))
    assert (tally.accepted, tally.rejected, tally.relabelled, tally.skipped, tally.done) == (1, 1, 1, 1, 3)


def test_most_rejected_cluster_comes_first_with_what_is_left_of_it():
    said_of = labels(*[X] * 12, *[A] * 3, *[X] * 3, N, *[A] * 5, N)
    cluster = np.array([7] * 15 + [2] * 3 + [2] + [3] * 5 + [7])
    first, second = most_rejected(said_of, cluster, np.full(25, True))
    assert (first.cluster, first.rejected, first.decided, first.rows.tolist()) == (7, 12, 15, [24])
    assert (second.cluster, second.rejected, second.rows.tolist()) == (2, 3, [18])


def test_few_rejections_or_half_of_them_are_no_pattern():
    for said, cluster in ((labels(X, X), 1), (labels(*[X] * 4, *[A] * 4), 1), (labels(*[X] * 5), 0)):
        assert list(most_rejected(said, np.full(len(said), cluster), np.full(len(said), True))) == []


def test_masks_outside_the_queue_neither_count_as_rejected_nor_are_left():
    said, cluster = labels(X, X, X, N, X, N), np.array([1, 1, 1, 1, 1, 1])
    (found,) = most_rejected(said, cluster, np.array([True, True, True, True, False, False]))
    assert (found.rejected, found.decided, found.rows.tolist()) == (3, 3, [3])
    assert list(most_rejected(said, cluster, np.array([True, True, False, True, False, True]))) == []


def test_pace_counts_no_pauses():
    times = np.concatenate([np.arange(10) * 3.0, 2000 + np.arange(10) * 3.0])
    assert measure_pace(times).per_minute == pytest.approx(20)


def test_pace_is_of_the_last_minutes():
    slow, fast = np.arange(20) * 60.0, 1140 + np.arange(1, 601) * 1.0
    pace = measure_pace(np.concatenate([slow, fast]))
    assert pace.per_minute == pytest.approx(60)
    assert pace.seconds == pytest.approx(600)
    assert pace.time_left(120) == pytest.approx(120)


def test_few_strokes_make_no_pace():
    assert measure_pace(np.arange(5.0)) is None
    assert measure_pace(np.zeros(0)) is None
    assert measure_pace(np.zeros(20)) is None  # all at one moment, as by a script
