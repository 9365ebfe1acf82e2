import math
from dataclasses import replace

import numpy as np
import pytest
from filter_cases import FLOATS, random_config, random_signals, signals_of

from maskdistill.config import FilterConfig
from maskdistill.errors import RunError, ShapeError
from maskdistill.pseudo_labels.filter import RULE_HELP, RULES, describe, filter_masks
from maskdistill.pseudo_labels.signals import MaskSignals
from maskdistill.pseudo_labels.threshold_curves import curve


def by_score(signals, indices):
    """Best first; NaN last, ties by index."""
    score = signals.score
    return sorted(indices, key=lambda i: (np.isnan(score[i]), 0 if np.isnan(score[i]) else -score[i], i))


def slow_reason(signals, config, i):
    """Name of the first threshold that drops mask i, or "kept"."""
    peers = [j for j in range(len(signals.score)) if signals.cluster[j] == signals.cluster[i]]
    if signals.score[i] < config.min_score:
        return "low score"
    if signals.iou[i] < config.min_iou:
        return "low IoU"
    if signals.agreement[i] < config.min_agreement:
        return "low agreement"
    distances = [signals.distance[j] for j in peers if not np.isnan(signals.distance[j])]
    if distances and signals.distance[i] > np.quantile(distances, config.max_distance, method="lower"):
        return "far from its cluster"
    if signals.area[i] < config.min_area:
        return "too small"
    if signals.area[i] > config.max_area:
        return "too large"
    if signals.border[i] > config.max_border:
        return "on the border"
    measured = [j for j in peers if not np.isnan(signals.score[j])]
    best = by_score(signals, measured)[: math.ceil(round(config.keep_share * len(measured), 6))]
    return "below its cluster's best share" if i in measured and i not in best else "kept"


def slow_filter(signals, config):
    """The same by loops: a name of RULES for every mask."""
    count = len(signals.score)
    names = [slow_reason(signals, config, i) for i in range(count)]
    for i in range(count):
        if signals.decision[i] == -1:
            names[i] = "rejected by a person"
        elif signals.decision[i] == 1 and names[i] != "kept":
            names[i] = "accepted by a person"
    stays = {"kept", "accepted by a person", "best of its cluster", "best of its photo"}
    for cluster in set(signals.cluster.tolist()):
        members = [i for i in range(count) if signals.cluster[i] == cluster and signals.decision[i] != -1]
        for i in by_score(signals, members):
            if sum(names[j] in stays for j in members) < config.min_per_cluster and names[i] not in stays:
                names[i] = "best of its cluster"
    for image in set(signals.image.tolist()) if config.empty_photos == "best" else ():
        members = [i for i in range(count) if signals.image[i] == image and signals.decision[i] != -1]
        if members and not any(names[i] in stays for i in members):
            names[by_score(signals, members)[0]] = "best of its photo"
    return names, np.array([name in stays for name in names], bool)


def names_of(result):
    return [RULES[number] for number in result.rule]


@pytest.mark.parametrize("seed", range(40))
def test_filter_equals_slow_loops(seed):
    signals, config = random_signals(seed), random_config(seed)
    result = filter_masks(signals, config)
    names, kept = slow_filter(signals, config)
    assert names_of(result) == names
    np.testing.assert_array_equal(result.kept, kept)
    assert result.kept.dtype == bool
    assert result.rule.dtype == np.int8


def test_the_random_cases_meet_every_rule():
    met = {name for seed in range(40) for name in names_of(filter_masks(random_signals(seed), random_config(seed)))}
    assert met == set(RULES)


def test_default_settings_drop_nothing_but_rejections():
    signals = random_signals(0)
    np.testing.assert_array_equal(filter_masks(signals, FilterConfig()).kept, signals.decision != -1)


def test_value_just_outside_the_range_passes_a_neutral_threshold():
    signals = signals_of([-1e-7], area=[1.0000001], border=[1.0000001], iou=[-1e-7])
    config = FilterConfig(empty_photos="none")
    assert names_of(filter_masks(signals, config)) == ["kept"]
    assert curve(signals, config, "max_area", [1.0]).masks.tolist() == [1]
    assert curve(signals, config, "min_iou", [0.0]).masks.tolist() == [1]


def test_signals_that_were_not_measured_drop_nothing():
    signals = MaskSignals.from_columns({"image": [0, 0, 1], "cluster": [1, 1, 2]})
    strict = FilterConfig(
        min_score=1, min_iou=1, min_agreement=1, max_distance=0, min_area=1, max_area=0, max_border=0, keep_share=0.1
    )
    assert filter_masks(signals, strict).kept.all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_score_equal_to_the_threshold_stays(dtype):
    """0.9 in float32 is a little less than 0.9: masks.parquet holds float32."""
    signals = signals_of(np.array([0.9, 0.89], dtype))
    assert signals.score.dtype == dtype
    config = FilterConfig(min_score=0.9, empty_photos="none")
    assert filter_masks(signals, config).kept.tolist() == [True, False]
    assert curve(signals, config, "min_score", [0.9]).masks.tolist() == [1]


@pytest.mark.parametrize(("share", "expected"), [(0.55, 11), (0.5, 10), (0.51, 11), (0.001, 1), (1.0, 20)])
def test_keep_share_counts_whole_masks(share, expected):
    """0.55 * 20 is 11.000000000000002 in floating point: 11 masks, not 12."""
    signals = signals_of(np.linspace(0, 1, 20))
    kept = filter_masks(signals, FilterConfig(keep_share=share, empty_photos="none")).kept
    assert kept.sum() == expected
    assert kept[-expected:].all()


@pytest.mark.parametrize(("quantile", "expected"), [(0.29, 30), (0.0, 1), (0.5, 51), (0.999, 100), (1.0, 101)])
def test_max_distance_is_a_quantile(quantile, expected):
    """0.29 * 100 is 28.999999999999996 in floating point: the quantile is the 30th distance, not the 29th."""
    signals = signals_of(np.ones(101), distance=np.linspace(5, 9, 101))
    kept = filter_masks(signals, FilterConfig(max_distance=quantile, empty_photos="none")).kept
    assert kept.sum() == expected
    assert kept[:expected].all()


def test_equal_distances_share_their_fate():
    signals = signals_of(np.ones(4), distance=[1.0, 2.0, 2.0, 2.0])
    config = FilterConfig(max_distance=0.4, empty_photos="none")
    assert filter_masks(signals, config).kept.tolist() == [True, True, True, True]
    assert filter_masks(signals, replace(config, max_distance=0.3)).kept.tolist() == [True, False, False, False]


def test_other_sliders_and_decisions_do_not_move_the_cutoff_inside_a_cluster():
    signals = signals_of([0.9, 0.8, 0.7, 0.6], iou=[0.0, 1.0, 1.0, 1.0], distance=[1.0, 2.0, 3.0, 4.0])
    config = FilterConfig(keep_share=0.5, min_iou=0.5, empty_photos="none")
    assert filter_masks(signals, config).kept.tolist() == [False, True, False, False]
    rejected = replace(signals, decision=np.array([-1, 0, 0, 0], np.int8))
    assert filter_masks(rejected, config).kept.tolist() == [False, True, False, False]
    assert filter_masks(rejected, FilterConfig(max_distance=0.5, empty_photos="none")).kept.tolist() == [
        False,
        True,
        False,
        False,
    ]


def test_first_rule_in_order_is_named():
    signals = signals_of([0.1, 0.9, 0.9], iou=[0.1, 0.1, 0.9], area=[0.0, 0.0, 0.0])
    config = FilterConfig(min_score=0.5, min_iou=0.5, min_area=0.01, empty_photos="none")
    assert names_of(filter_masks(signals, config)) == ["low score", "low IoU", "too small"]


def test_person_overrules_everything():
    signals = signals_of([0.1, 0.9, 0.9], image=[0, 1, 2], decision=[1, -1, 1])
    result = filter_masks(signals, FilterConfig(min_score=0.5, min_per_cluster=3))
    assert names_of(result) == ["accepted by a person", "rejected by a person", "kept"]
    assert result.photos() == (2, 3, 1)  # the photo of the rejected mask stays empty


def test_best_of_photo_comes_back_and_ties_go_to_the_lower_index():
    signals = signals_of([0.3, 0.5, 0.5, 0.2, np.nan], image=[4, 4, 4, 9, 9])
    result = filter_masks(signals, FilterConfig(min_score=0.9))
    # No rule drops the last, which has no score, so its photo is not empty.
    assert names_of(result) == ["low score", "best of its photo", "low score", "low score", "kept"]


def test_photo_whose_best_was_rejected_gets_the_next():
    signals = signals_of([0.6, 0.5, 0.4], image=[0, 0, 0], decision=[-1, 0, 0])
    assert filter_masks(signals, FilterConfig(min_score=0.9)).kept.tolist() == [False, True, False]


def test_min_per_cluster_counts_what_is_kept_already():
    signals = signals_of([0.9, 0.3, 0.5, 0.4, 0.2], cluster=[1, 1, 1, 1, 2])
    result = filter_masks(signals, FilterConfig(min_score=0.8, min_per_cluster=3, empty_photos="none"))
    assert result.kept.tolist() == [True, False, True, True, True]
    assert result.clusters() == {1: (3, 4), 2: (1, 1)}


def test_mask_brought_back_for_its_cluster_fills_its_photo_too():
    signals = signals_of([0.5, 0.6], cluster=[1, 2], image=[0, 0])
    config = FilterConfig(min_score=0.9, min_per_cluster=1)
    assert names_of(filter_masks(signals, config)) == ["best of its cluster"] * 2


def test_counts_add_up():
    signals = random_signals(3)
    result = filter_masks(signals, random_config(3))
    counts = result.counts()
    assert list(counts) == list(RULES)
    assert all(counts[name] == names_of(result).count(name) for name in RULES)
    photos = {image: result.kept[signals.image == image].any() for image in signals.image.tolist()}
    assert result.photos() == (sum(photos.values()), len(photos), len(photos) - sum(photos.values()))
    for cluster, (kept, total) in result.clusters().items():
        assert kept == result.kept[signals.cluster == cluster].sum()
        assert total == (signals.cluster == cluster).sum()
    assert set(result.clusters()) == {1, 2, 5}


def test_every_rule_has_a_sentence():
    assert list(RULE_HELP) == list(RULES)
    signals = signals_of([0.1, 0.2, 0.95], image=[0, 0, 1])
    lines = describe(filter_masks(signals, FilterConfig(min_score=0.9)))
    assert [line.split(":")[0] for line in lines] == [
        "Kept, 1 mask",
        "Low score, 1 mask",
        "Best of its photo, 1 mask",
    ]


@pytest.mark.parametrize("config", [FilterConfig(), FilterConfig(min_score=0.9, min_per_cluster=3)])
def test_no_masks_at_all(config):
    signals = MaskSignals.from_columns({"image": [], "cluster": []})
    result = filter_masks(signals, config)
    assert result.kept.shape == result.rule.shape == (0,)
    assert sum(result.counts().values()) == 0
    assert result.photos() == (0, 0, 0)
    assert result.clusters() == {}
    assert curve(signals, config, "keep_share", [0.5, 1]).masks.tolist() == [0, 0]


def test_same_input_same_result_and_signals_unchanged():
    signals, config = random_signals(7), random_config(7)
    before = [getattr(signals, name).copy() for name in (*FLOATS, "image", "cluster", "decision")]
    first, second = filter_masks(signals, config), filter_masks(random_signals(7), config)
    np.testing.assert_array_equal(first.rule, second.rule)
    np.testing.assert_array_equal(filter_masks(signals, config).rule, first.rule)
    for name, values in zip((*FLOATS, "image", "cluster", "decision"), before, strict=True):
        np.testing.assert_array_equal(getattr(signals, name), values)


def test_arrays_of_another_length_are_refused():
    signals = random_signals(0)
    with pytest.raises(ShapeError, match=r"iou must have shape \(60,\) like 'image', got \(59,\)"):
        replace(signals, iou=signals.iou[1:])
    with pytest.raises(ShapeError, match=r"image must have shape \(N,\), got \(60, 1\)"):
        replace(signals, image=signals.image[:, None])


def test_columns_become_signals():
    signals = MaskSignals.from_columns(
        {
            "image": [3.0, 4.0],
            "cluster": np.array([1, 2]),
            "score": [None, 0.5],
            "decision": [np.nan, 1],
            "name": ["a", "b"],
        }
    )
    assert signals.image.dtype == np.int64
    np.testing.assert_array_equal(signals.score, [np.nan, 0.5])
    np.testing.assert_array_equal(signals.iou, [np.nan, np.nan])
    assert signals.decision.tolist() == [0, 1]
    assert signals.decision.dtype == np.int8


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [0, 1]}, "no column 'cluster'. Cluster them first"),
        ({"image": [0, 1], "cluster": [1, np.nan]}, "'cluster' must hold whole numbers, got float64"),
        ({"image": ["2007_000032"], "cluster": [1]}, "'image' must hold whole numbers"),
        ({"image": [0], "cluster": [1], "decision": ["accept"]}, "'decision' must hold numbers"),
    ],
)
def test_columns_that_cannot_be_used_are_named(columns, message):
    with pytest.raises(RunError, match=message):
        MaskSignals.from_columns(columns)


def test_thresholds_that_go_back_and_forth_drop_what_their_value_says():
    """What a threshold dropped last is kept with the masks: neither another value nor another rule may get it."""
    signals = signals_of([0.1, 0.5, 0.9], iou=[0.9, 0.5, 0.1])
    kept = [
        filter_masks(signals, FilterConfig(**{field: value}, empty_photos="none")).kept.tolist()
        for field, value in (("min_score", 0.3), ("min_iou", 0.3), ("min_score", 0.7), ("min_score", 0.3))
    ]
    assert kept == [[False, True, True], [True, True, False], [False, False, True], [False, True, True]]


@pytest.mark.parametrize("count", [3, 40_000])
def test_photos_and_clusters_are_told_apart_however_many_there_are(count):
    numbers = np.arange(count)
    signals = signals_of(np.where(numbers % 3, 0.9, 0.1), image=numbers, cluster=numbers + 1)
    result = filter_masks(signals, FilterConfig(min_score=0.5, empty_photos="none"))
    assert result.photos().kept == result.kept.sum() == (numbers % 3 > 0).sum()
    assert [counts.kept for counts in result.clusters().values()] == (numbers % 3 > 0).astype(int).tolist()
