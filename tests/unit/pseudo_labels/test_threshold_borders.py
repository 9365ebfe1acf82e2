from dataclasses import replace

import numpy as np
import pytest
from filter_cases import random_config, random_signals, signals_of

from maskdistill.config import FilterConfig
from maskdistill.errors import ConfigError
from maskdistill.pseudo_labels.filter import RULES, THRESHOLDS, filter_masks, rules_in_force
from maskdistill.pseudo_labels.threshold_borders import find_border, margins, masks_under

NONE_BACK = {"min_per_cluster": 0, "empty_photos": "none"}


def border_of(signals, config, field=""):
    return find_border(filter_masks(signals, config), config, field)


def slow_margin(values, value, drops_below):
    """Share of the measured masks between each value and the threshold, by counting."""
    known = [other for other in values if not np.isnan(other)]
    found = []
    for own in values:
        if np.isnan(own):
            found.append(np.inf)
        elif drops_below and own >= value:
            found.append(sum(value <= other < own for other in known) / len(known))
        elif drops_below:
            found.append(-sum(own <= other < value for other in known) / len(known))
        elif own <= value:
            found.append((sum(own <= other <= value for other in known) - 1) / len(known))
        else:
            found.append(-(sum(value < other < own for other in known) + 1) / len(known))
    return found


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda threshold: threshold.field)
@pytest.mark.parametrize("seed", range(3))
def test_margin_counts_the_masks_between(threshold, seed):
    signals = random_signals(seed)
    for value in (0.3, 0.5, 0.85):
        found = margins(signals, threshold, value)
        values = getattr(signals, threshold.signal)
        np.testing.assert_allclose(found, slow_margin(values, value, threshold.drops_below), atol=1e-12)
        np.testing.assert_array_equal(found < 0, threshold.drops(signals, value))


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda threshold: threshold.field)
def test_neutral_threshold_drops_nothing_even_outside_the_range(threshold):
    signals = signals_of([-1e-7, 0.5], area=[1.0000001, 0.5], border=[1.0000001, 0], iou=[-1e-7, 1])
    assert (margins(signals, threshold, threshold.neutral) >= 0).all()


def test_both_sides_of_one_threshold_come_nearest_first():
    signals = signals_of([0.1, 0.45, 0.9, 0.55, 0.3, 0.5, np.nan])
    found = border_of(signals, FilterConfig(min_score=0.5, **NONE_BACK), "min_score")
    assert found.kept.tolist() == [5, 3, 2]
    assert found.dropped.tolist() == [1, 4, 0]


@pytest.mark.parametrize("field", ["min_score", "max_area"])
def test_equal_masks_come_by_index_on_both_sides(field):
    signals = signals_of([0.4, 0.4, 0.6, 0.6, 0.4, 0.6], area=[0.6, 0.6, 0.4, 0.4, 0.6, 0.4])
    found = border_of(signals, FilterConfig(**{field: 0.5}, **NONE_BACK), field)
    assert (found.kept.tolist(), found.dropped.tolist()) == ([2, 3, 5], [0, 1, 4])


@pytest.mark.parametrize("seed", range(20))
def test_border_of_one_rule_is_what_changes_as_it_moves(seed):
    """All masks of the border, and no others, may be kept or dropped by some value of the threshold."""
    signals, config = random_signals(seed), replace(random_config(seed), **NONE_BACK)
    for threshold in THRESHOLDS:
        found = border_of(signals, config, threshold.field)
        now = filter_masks(signals, config).kept
        free = filter_masks(signals, replace(config, **{threshold.field: threshold.neutral})).kept
        measured = ~np.isnan(getattr(signals, threshold.signal)) & (signals.decision == 0)
        assert sorted(found.kept) == np.flatnonzero(free & now & measured).tolist()
        assert sorted(found.dropped) == np.flatnonzero(free & ~now & measured).tolist()


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda threshold: threshold.field)
@pytest.mark.parametrize("seed", range(4))
def test_border_of_one_rule_is_in_the_order_of_the_margins(threshold, seed):
    signals, config = random_signals(seed, count=200), replace(random_config(seed), **NONE_BACK)
    found = border_of(signals, config, threshold.field)
    far = np.abs(margins(signals, threshold, getattr(config, threshold.field)).round(9))
    for rows in (found.kept, found.dropped):
        assert rows.tolist() == sorted(rows.tolist(), key=lambda row: (far[row], row))


@pytest.mark.parametrize("seed", range(20))
def test_border_of_all_rules_is_ordered_by_the_rule_that_drops_first(seed):
    signals, config = random_signals(seed), replace(random_config(seed), **NONE_BACK)
    found, result = border_of(signals, config), filter_masks(signals, config)
    each = [
        slow_margin(getattr(signals, item.signal), getattr(config, item.field), item.drops_below)
        for item in rules_in_force(config)
    ]
    least = np.min(each, axis=0)
    near = (signals.decision == 0) & np.isfinite(least)
    assert sorted(found.kept) == np.flatnonzero(near & result.kept).tolist()
    assert sorted(found.dropped) == np.flatnonzero(near & ~result.kept).tolist()
    for rows in (found.kept, found.dropped):
        assert (np.diff(np.abs(least[rows])) >= -1e-12).all()
    for row in found.kept.tolist():
        place = rules_in_force(config).index(THRESHOLDS[found.rule[row]])
        assert each[place][row] == pytest.approx(least[row])


def test_masks_brought_back_are_at_neither_side():
    signals = signals_of([0.2, 0.4, 0.9], image=[0, 0, 1])
    found = border_of(signals, FilterConfig(min_score=0.5, empty_photos="best"), "min_score")
    assert found.kept.tolist() == [2]
    assert found.dropped.tolist() == [0]  # the photo's best, of index 1, is kept


def test_masks_that_people_decided_on_are_at_neither_side():
    signals = signals_of([0.2, 0.4, 0.6, 0.8], decision=[1, 0, -1, 0])
    found = border_of(signals, FilterConfig(min_score=0.5, **NONE_BACK), "min_score")
    assert (found.kept.tolist(), found.dropped.tolist()) == ([3], [1])


def test_no_rule_in_force_has_no_border():
    found = border_of(random_signals(0), FilterConfig())
    assert not len(found.kept)
    assert not len(found.dropped)


def test_threshold_that_is_off_shows_what_it_would_drop_first():
    found = border_of(signals_of([0.7, 0.2, 0.5]), FilterConfig(), "min_score")
    assert found.kept.tolist() == [1, 2, 0]


def test_masks_under_a_rule_come_nearest_to_its_threshold_first():
    signals = signals_of([0.1, 0.45, 0.9, 0.3], image=[0, 0, 1, 2])
    config = FilterConfig(min_score=0.5)
    result = filter_masks(signals, config)
    assert masks_under(result, config, "low score").tolist() == [0]
    assert masks_under(result, config, "best of its photo").tolist() == [1, 3]  # the best score first
    assert masks_under(result, config, "kept").tolist() == [2]


@pytest.mark.parametrize("seed", range(5))
def test_rules_share_the_masks_out(seed):
    signals, config = random_signals(seed), random_config(seed)
    result = filter_masks(signals, config)
    found = np.concatenate([masks_under(result, config, rule) for rule in RULES])
    assert sorted(found) == list(range(60))


def test_unknown_names_are_told():
    config = FilterConfig()
    result = filter_masks(random_signals(0), config)
    with pytest.raises(ConfigError, match="no rule 'low scor'. There are: kept, rejected by a person"):
        masks_under(result, config, "low scor")
    with pytest.raises(ConfigError, match="no threshold 'min_scor'"):
        find_border(result, config, "min_scor")


def test_no_masks_at_all():
    found = border_of(signals_of([]), FilterConfig(min_score=0.5))
    assert found.kept.shape == found.dropped.shape == (0,)
