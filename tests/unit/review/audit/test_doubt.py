"""What makes a mask doubtful, and in what order masks are looked at."""

import math

import numpy as np
import pytest
from auditing_data import masks, random_masks
from growth import growth

from maskdistill.config import FilterConfig
from maskdistill.review.audit import ORDER_HELP, ORDER_NAMES, WEIGHTS, Order, Reasons, arrange, measure_doubt, next_open

THRESHOLD = FilterConfig(min_score=0.5)


def name_of(cluster):
    return f"cluster {cluster}"


def order_of(frame, settings=None, order=Order.DOUBTFUL, **options):
    doubts = measure_doubt(frame, settings)
    cluster = frame["cluster"].to_numpy()
    return arrange(order, frame, doubts, cluster=cluster, **options).tolist()


def why(frame, row, settings=None, order=Order.DOUBTFUL):
    return Reasons(frame, measure_doubt(frame, settings), name_of).why(row, order)


def test_weights_mix_to_one():
    assert sum(WEIGHTS.values()) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_parts_are_shares_as_a_loop_counts_them(seed):
    frame = random_masks(40, seed)
    parts = measure_doubt(frame, THRESHOLD).parts
    for name, better in (("margin", "margin"), ("quality", "quality")):
        values = frame[better].tolist()
        known = [value for value in values if not math.isnan(value)]
        for row, value in enumerate(values):
            wanted = 0.5 if math.isnan(value) else sum(other > value for other in known) / (len(known) - 1)
            assert parts[name][row] == pytest.approx(wanted)
    score = frame["score"].tolist()
    for row, value in enumerate(score):
        low, high = sorted((value, 0.5))
        between = sum(low <= other < high for other in score)
        assert parts["threshold"][row] == pytest.approx(1 - between / len(score))


def test_all_parts_lie_between_0_and_1():
    doubts = measure_doubt(random_masks(500), FilterConfig(min_score=0.5, min_iou=0.3, max_border=0.2, keep_share=0.7))
    for part in (*doubts.parts.values(), doubts.total):
        assert part.min() >= 0
        assert part.max() <= 1


def test_mask_nearest_to_the_threshold_comes_first():
    frame = masks(5, score=[0.95, 0.51, 0.1, 0.7, 0.3])
    assert order_of(frame, THRESHOLD)[0] == 1


def test_dropped_by_two_rules_is_as_near_as_the_farther_of_them():
    frame = masks(6, score=[0.49, 0.49, 0.9, 0.8, 0.7, 0.6], iou=[0.9, 0.1, 0.9, 0.3, 0.25, 0.2])
    settings = FilterConfig(min_score=0.5, min_iou=0.5)
    near = measure_doubt(frame, settings).parts["threshold"]
    assert near[0] > near[1]  # at the second one a threshold must pass over three others before it is kept


def test_mask_kept_against_the_thresholds_is_doubted_most():
    frame = masks(4, score=[0.1, 0.6, 0.9, 0.8], rule=["best of its photo", "kept", "kept", "kept"])
    assert measure_doubt(frame, THRESHOLD).parts["threshold"][0] == 1
    reason = why(frame, 0, THRESHOLD)
    assert all(part in reason for part in ("best of its photo", "0.10", "0.50"))


def test_another_label_small_margin_low_score_and_border_are_doubted():
    for change in ({"label": 2}, {"margin": 0.1}, {"quality": 0.2}, {"border": 0.3}):
        (name, value), frame = *change.items(), masks(4)
        frame.loc[2, name] = value
        assert order_of(frame)[0] == 2, name


def test_what_was_not_measured_counts_half():
    frame = masks(3, margin=np.nan, quality=np.nan, label=0, border=np.nan)
    doubts = measure_doubt(frame, None)
    np.testing.assert_allclose(doubts.total, 0.5)
    assert ";" not in why(frame, 0)


def test_no_masks_are_no_trouble():
    assert order_of(masks(0), THRESHOLD) == []


def test_reason_names_the_threshold_and_the_other_cluster():
    frame = masks(40, score=np.linspace(0.2, 0.98, 40))
    frame.loc[20, ["score", "cluster", "label"]] = [0.52, 3, 7]
    threshold, label = why(frame, 20, FilterConfig(min_score=0.51)).split("; ")
    assert all(part in threshold for part in ("0.52", "0.51"))
    assert label.index("cluster 7") < label.index("cluster 3")


def test_reason_shows_that_close_numbers_differ():
    frame = masks(40, score=np.linspace(0.2, 0.98, 40))
    frame.loc[20, "score"] = 0.4996
    reason = why(frame, 20, THRESHOLD)
    assert "0.4996" in reason
    assert "0.5000" in reason


def test_near_misses_say_what_dropped_them():
    frame = masks(3, kept=[True, False, False], rule=["kept", "too small", "low IoU"], score=[0.9, 0.7, 0.8])
    assert order_of(frame, order=Order.DROPPED) == [2, 1]
    reason = why(frame, 1, order=Order.DROPPED)
    assert "too small" in reason
    assert "0.70" in reason


def test_every_order_has_a_name_and_a_sentence_and_keeps_each_mask_once():
    frame = random_masks(60)
    for order in Order:
        assert ORDER_NAMES[order]
        assert ORDER_HELP[order].endswith(".")
        rows = order_of(frame, THRESHOLD, order)
        assert len(set(rows)) == len(rows)
    kept = np.flatnonzero(frame["kept"])
    assert sorted(order_of(frame, THRESHOLD, Order.KEPT)) == kept.tolist()


def test_clusters_come_one_after_the_other():
    frame = random_masks(60)
    cluster = frame["cluster"].to_numpy()[order_of(frame, order=Order.CLUSTER)]
    assert (np.diff(cluster) >= 0).all()


def test_random_order_follows_its_seed():
    frame = random_masks(60)
    assert order_of(frame, order=Order.RANDOM, seed=3) == order_of(frame, order=Order.RANDOM, seed=3)
    assert order_of(frame, order=Order.RANDOM, seed=3) != order_of(frame, order=Order.RANDOM, seed=4)


def test_chosen_masks_alone_are_in_the_queue():
    frame = random_masks(10)
    assert order_of(frame, order=Order.SKIPPED, chosen=np.array([7, 2])) == [7, 2]
    assert set(order_of(frame, order=Order.DISAGREEMENTS, chosen=np.array([7, 2]))) == {2, 7}


def test_order_of_ten_times_the_masks_takes_about_ten_times_as_long():
    few, many = random_masks(5_000), random_masks(50_000)
    assert growth(lambda: order_of(few, THRESHOLD), lambda: order_of(many, THRESHOLD)) < 30


class TestNextOpen:
    queue = np.array([5, 3, 1, 4, 0, 2])
    nobody = np.zeros(6, bool)

    def rows(self, done=(), skipped=(), **options):
        marked = [np.isin(np.arange(6), list(rows)) for rows in (done, skipped)]
        return self.queue[next_open(self.queue, *marked, **options)].tolist()

    def test_begins_with_the_first_that_is_open(self):
        assert self.rows(done=[5, 3], count=2) == [1, 4]

    def test_goes_on_behind_a_place_and_comes_back_to_what_was_left(self):
        assert self.rows(done=[3], after=2) == [4, 0, 2, 5]

    def test_what_was_skipped_comes_last(self):
        assert self.rows(skipped=[5, 1], after=1) == [4, 0, 2, 1, 5]

    def test_what_others_review_is_left_out(self):
        assert self.rows(claimed={5, 1}) == [3, 4, 0, 2]

    def test_nothing_is_left(self):
        assert self.rows(done=range(6)) == []


@pytest.mark.parametrize("after", [-1, 0, 17, 24_999])
def test_next_masks_of_a_long_queue_are_those_of_a_slow_loop(after):
    generator = np.random.default_rng(3)
    queue = generator.permutation(40_000)[:25_000]
    done, skipped = generator.random(40_000) < 0.9996, generator.random(40_000) < 0.5
    claimed = {int(row) for row in queue[~done[queue]][:2]}
    places = [*range(after + 1, len(queue)), *range(after + 1)]
    free = [place for place in places if not done[queue[place]] and queue[place] not in claimed and place != after]
    wanted = [place for place in free if not skipped[queue[place]]] + [place for place in free if skipped[queue[place]]]
    for count in (1, 3, 50):
        found = next_open(queue, done, skipped, after=after, count=count, claimed=claimed)
        assert found.tolist() == wanted[:count]
