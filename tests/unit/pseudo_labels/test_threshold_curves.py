from dataclasses import replace

import numpy as np
import pytest
from filter_cases import random_config, random_signals, signals_of

from maskdistill.config import FilterConfig
from maskdistill.errors import ConfigError, ShapeError
from maskdistill.pseudo_labels.filter import THRESHOLDS, filter_masks
from maskdistill.pseudo_labels.threshold_curves import GOOD_FIT, curve, histogram, quality_curve

EDGES = np.linspace(0, 1, 6)


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda threshold: threshold.field)
@pytest.mark.parametrize("seed", range(4))
def test_curve_equals_the_filter_at_every_value(threshold, seed):
    signals, config = random_signals(seed), random_config(seed)
    values = np.linspace(0.1 if threshold.field == "keep_share" else 0, 1, 21)[::-1]
    found = curve(signals, config, threshold.field, values)
    np.testing.assert_array_equal(found.values, values)
    for value, masks, photos in zip(*found, strict=True):
        result = filter_masks(signals, replace(config, **{threshold.field: float(value)}))
        assert (masks, photos) == (result.kept.sum(), result.photos().kept)


@pytest.mark.parametrize("photos", ["in order", "mixed"])
def test_curve_of_more_values_than_a_byte_counts(photos):
    signals, config = random_signals(3, count=400), FilterConfig(min_iou=0.3, empty_photos="none")
    if photos == "in order":
        signals = replace(signals, image=np.sort(signals.image))
    values = np.linspace(0, 1, 301)
    found = curve(signals, config, "min_score", values)
    for place in (0, 100, 255, 256, 299):
        result = filter_masks(signals, replace(config, min_score=float(values[place])))
        assert (found.masks[place], found.photos[place]) == (result.kept.sum(), result.photos().kept)
    assert 0 < found.masks[-1] < found.masks[0]


def test_curve_moves_at_all():
    signals = signals_of([0.1, 0.5, 0.9], image=[0, 0, 1])
    found = curve(signals, FilterConfig(empty_photos="none"), "min_score", [0, 0.3, 0.6, 1])
    assert found.masks.tolist() == [3, 2, 1, 0]
    assert found.photos.tolist() == [2, 2, 1, 0]


def test_curve_says_which_thresholds_there_are():
    with pytest.raises(ConfigError, match="no threshold 'min_scor'. There are: min_score, min_iou"):
        curve(random_signals(0), FilterConfig(), "min_scor", [0.5])
    with pytest.raises(ConfigError, match="no threshold 'min_per_cluster'"):
        curve(random_signals(0), FilterConfig(), "min_per_cluster", [1])


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_curve_refuses_values_that_the_setting_would(value):
    with pytest.raises(ConfigError, match=r"filter.min_iou must be in \[0, 1\]"):
        curve(random_signals(0), FilterConfig(), "min_iou", [0.5, value])


def test_signal_of_a_threshold_decides_as_the_rule_does():
    signals = random_signals(5)
    signals = replace(signals, decision=np.zeros(60, np.int8))
    for threshold in THRESHOLDS:
        values = getattr(signals, threshold.signal)
        passes = ~(values < 0.6) if threshold.drops_below else ~(values > 0.6)
        config = FilterConfig(**{threshold.field: 0.6}, empty_photos="none")
        np.testing.assert_array_equal(filter_masks(signals, config).kept, passes)
        assert 0 < passes.sum() < 60


@pytest.mark.parametrize("wanted", [1, 2, 5, 9, 100])
@pytest.mark.parametrize("empty_photos", ["best", "none"])
def test_curve_counts_what_is_brought_back(wanted, empty_photos):
    """Of two masks with the same score the one of the lower index comes back, and a photo counts once."""
    signals = random_signals(11, count=200)
    config = FilterConfig(min_per_cluster=wanted, empty_photos=empty_photos, min_iou=0.3)
    for field in ("min_score", "min_iou", "max_border", "keep_share"):
        values = np.linspace(0.1, 1, 10)
        found = curve(signals, config, field, values)
        for value, masks, photos in zip(*found, strict=True):
            result = filter_masks(signals, replace(config, **{field: float(value)}))
            assert (masks, photos) == (result.kept.sum(), result.photos().kept)


@pytest.mark.parametrize("field", ["min_score", "max_area", "keep_share"])
@pytest.mark.parametrize("seed", range(6))
def test_quality_is_that_of_the_kept_masks_with_ground_truth(field, seed):
    signals, config = random_signals(seed), random_config(seed)
    generator = np.random.default_rng(seed)
    truth = np.where(generator.random(60) < 0.2, np.nan, generator.random(60))
    values = np.linspace(0.1, 1, 7)
    found = quality_curve(signals, config, field, values, truth)
    for value, masks, mean_iou, fits in zip(*found, strict=True):
        kept = filter_masks(signals, replace(config, **{field: float(value)})).kept
        known = truth[kept & ~np.isnan(truth)]
        assert masks == kept.sum()
        np.testing.assert_allclose([mean_iou, fits], [known.mean(), np.mean(known >= GOOD_FIT)])


def test_quality_of_nothing_is_nan():
    signals = signals_of([0.2, 0.4, 0.6])
    config = FilterConfig(empty_photos="none")
    found = quality_curve(signals, config, "min_score", [0, 0.5, 1], np.array([0.9, 0.1, np.nan]))
    np.testing.assert_array_equal(found.masks, [3, 1, 0])
    np.testing.assert_array_equal(found.mean_iou, [0.5, np.nan, np.nan])
    np.testing.assert_array_equal(found.fits, [0.5, np.nan, np.nan])


def test_quality_wants_one_number_a_mask():
    with pytest.raises(ShapeError, match=r"truth_iou must have shape \(60,\), got \(59,\)"):
        quality_curve(random_signals(0), FilterConfig(), "min_score", [0.5], np.zeros(59))


@pytest.mark.parametrize("signal", ["score", "area", "distance_quantile"])
@pytest.mark.parametrize("seed", range(6))
def test_histogram_equals_a_slow_loop(signal, seed):
    signals, config = random_signals(seed), random_config(seed)
    own = {item.field: item.neutral for item in THRESHOLDS if item.signal == signal}
    passes = filter_masks(signals, replace(config, **own, min_per_cluster=0, empty_photos="none")).kept
    counts = np.zeros((3, 5), int)
    unmeasured = 0
    for value, decision, kept in zip(getattr(signals, signal), signals.decision, passes, strict=True):
        if np.isnan(value):
            unmeasured += 1
            continue
        group = 1 if decision > 0 else 0 if decision == 0 and kept else 2
        place = sum(value >= edge for edge in EDGES) - 1
        counts[group, min(max(place, 0), 4)] += 1
    found = histogram(signals, config, signal, EDGES)
    np.testing.assert_array_equal([found.free, found.accepted, found.elsewhere], counts)
    assert found.unmeasured == unmeasured


def test_thresholds_of_the_same_signal_leave_its_histogram_alone():
    signals = signals_of([0.5] * 4, area=[0.1, 0.3, 0.5, 0.9])
    free = histogram(signals, FilterConfig(), "area", EDGES).free
    np.testing.assert_array_equal(free, [1, 1, 1, 0, 1])
    bounded = histogram(signals, FilterConfig(min_area=0.2, max_area=0.6), "area", EDGES)
    np.testing.assert_array_equal(bounded.free, free)
    strict = histogram(signals, FilterConfig(min_score=0.6), "area", EDGES)
    np.testing.assert_array_equal(strict.elsewhere, free)


def test_histogram_puts_values_outside_into_the_end_bins():
    found = histogram(signals_of([-0.1, 1.2, 1.0]), FilterConfig(), "score", EDGES)
    np.testing.assert_array_equal(found.free, [1, 0, 0, 0, 2])
