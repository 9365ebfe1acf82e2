import numpy as np
import pytest

from benchmarks.simulated_clicks import Case, Played, next_click, play, summarise
from maskdistill.review.repair import Click


def box(top, bottom, left, right):
    mask = np.zeros((40, 60), bool)
    mask[top:bottom, left:right] = True
    return mask


EVERYWHERE = np.ones((40, 60), bool)


def test_the_next_click_is_the_middle_of_the_largest_error():
    lacks, has_too_much = box(5, 16, 5, 16), box(20, 25, 30, 35)
    case = Case(box(0, 4, 0, 60) | has_too_much, box(0, 4, 0, 60) | lacks, EVERYWHERE)
    assert next_click(case.mask, case) == Click(10.5, 10.5, adds=True)
    assert next_click(case.mask | lacks, case) == Click(32.5, 22.5, adds=False)
    assert next_click(case.target, case) is None


def test_no_point_is_clicked_twice():
    case = Case(box(0, 0, 0, 0), box(5, 16, 5, 16), EVERYWHERE)
    first = next_click(case.mask, case)
    assert next_click(case.mask, case, [first]) not in (None, first)


def test_errors_where_the_truth_is_unknown_count_for_nothing():
    case = Case(box(5, 16, 5, 40), box(5, 16, 5, 16), ~box(0, 40, 16, 60))
    assert next_click(case.mask, case) is None
    assert case.iou(case.mask) == 1


def test_a_tool_that_draws_the_object_needs_one_click():
    case = Case(box(0, 10, 0, 10), box(0, 10, 0, 20), EVERYWHERE)
    game = play(case, lambda _mask, _clicks: case.target)
    assert game.ious == [0.5, 1.0]
    assert (game.needed(0.5), game.needed(0.9)) == (0, 1)
    assert game.after(5) == 1


def test_a_tool_that_does_nothing_is_given_up_after_the_last_click():
    case = Case(box(0, 10, 0, 10), box(0, 10, 0, 20), EVERYWHERE)
    asked = []
    game = play(case, lambda mask, clicks: (asked.append(len(clicks)), mask)[1], most=7)
    assert asked == [1, 2, 3, 4, 5, 6, 7]
    assert game.needed(0.9) is None


def test_a_tool_is_asked_on_until_all_that_is_told_is_seen():
    case = Case(box(0, 10, 0, 10), box(0, 10, 0, 11), EVERYWHERE)
    game = play(case, lambda mask, _clicks: mask)
    assert game.needed(0.9) == 0
    assert len(game.ious) == 6


def test_a_goal_that_was_not_reached_counts_as_the_most_clicks():
    games = [Played([0.8, 0.88, 0.92], [0.01, 0.03]), Played([0.4, 0.6], [0.02])]
    found = summarise(games, most=20)
    assert found["iou"] == pytest.approx({"0": 0.6, "1": 0.74, "2": 0.76, "3": 0.76, "5": 0.76})
    assert (found["clicks_0.85"], found["missed_0.85"]) == ((1 + 20) / 2, 0.5)
    assert (found["clicks_0.90"], found["missed_0.90"]) == ((2 + 20) / 2, 0.5)
    assert found["ms_per_click"] == pytest.approx(20)
