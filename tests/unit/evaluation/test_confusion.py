import dataclasses
import itertools
import json

import numpy as np
import pytest

from maskdistill.errors import ConfigError, DatasetError, ShapeError
from maskdistill.evaluation.confusion import (
    Confusion,
    identity_matching,
    iou_of_pairs,
    match_by_majority,
    match_one_to_one,
    mean_and_std,
    report,
)


def skipping_unknown(confusion):
    """A copy of the same counts that leaves unknown pixels out."""
    copy = dataclasses.replace(confusion, skip_unknown=True)
    copy.counts, copy.unknown, copy.num_images = confusion.counts.copy(), confusion.unknown.copy(), confusion.num_images
    return copy


def random_maps(seed=0, num_classes=3, num_clusters=4, shape=(12, 17), ignored=0.1, unknown=0.2):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, num_classes + 1, shape).astype(np.uint8)
    prediction = generator.integers(0, num_clusters + 1, shape).astype(np.uint8)
    labels[generator.random(shape) < ignored] = 255
    prediction[generator.random(shape) < unknown] = 255
    return labels, prediction


def confusion_of(labels, prediction, num_classes=3, num_clusters=4, **options):
    confusion = Confusion(num_classes=num_classes, num_clusters=num_clusters, **options)
    confusion.update(np.asarray(labels), np.asarray(prediction))
    return confusion


def from_counts(counts, unknown=None, **options):
    counts = np.array(counts)
    confusion = Confusion(num_classes=counts.shape[0] - 1, num_clusters=counts.shape[1] - 1, **options)
    confusion.counts += counts
    if unknown is not None:
        confusion.unknown += np.array(unknown)
    return confusion


def slow_iou(labels, prediction, matching, skip_unknown):
    """IoU of each class over the pixels, one by one; None for a class absent from both."""
    found = {}
    for label in range(4):
        hits = union = 0
        for truth, value in zip(labels.ravel().tolist(), prediction.ravel().tolist(), strict=True):
            if truth == 255 or (skip_unknown and value == 255):
                continue
            answer = matching.get(value)
            hits += truth == label and answer == label
            union += truth == label or answer == label
        found[label] = hits / union if union else None
    return found


def test_counts_equal_a_slow_loop():
    labels, prediction = random_maps()
    confusion = confusion_of(labels, prediction)
    slow, unknown = np.zeros((4, 5), int), np.zeros(4, int)
    for truth, value in zip(labels.ravel(), prediction.ravel(), strict=True):
        if truth != 255 and value == 255:
            unknown[truth] += 1
        elif truth != 255:
            slow[truth, value] += 1
    assert confusion.counts.dtype == np.int64
    np.testing.assert_array_equal(confusion.counts, slow)
    np.testing.assert_array_equal(confusion.unknown, unknown)
    assert unknown.all()
    assert slow.all()


def test_largest_ids_do_not_run_into_ignore():
    labels = np.array([[254, 254, 255, 0]], np.uint8)
    prediction = np.array([[254, 255, 254, 254]], np.uint8)
    confusion = confusion_of(labels, prediction, 254, 254)
    assert (confusion.counts[254, 254], confusion.counts[0, 254], confusion.unknown[254]) == (1, 1, 1)
    assert confusion.counts.sum() + confusion.unknown.sum() == 3


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.uint16])
def test_any_kind_of_integers_counts_alike(kind):
    labels, prediction = random_maps()
    one, other = confusion_of(labels, prediction), confusion_of(labels.astype(kind), prediction.astype(kind))
    np.testing.assert_array_equal(one.counts, other.counts)


def test_counts_above_32_bits_and_24_bits_of_mantissa_are_exact():
    confusion = from_counts([[2**52, 1], [0, 2**52 + 1]])
    confusion.update(np.array([[1]], np.uint8), np.array([[1]], np.uint8))
    assert (confusion + confusion).counts.tolist() == [[2**53, 2], [0, 2**53 + 4]]


def test_photos_one_by_one_equal_parts_added_up():
    maps = [random_maps(seed) for seed in range(4)]
    whole, first, second = (Confusion(num_classes=3, num_clusters=4) for _ in range(3))
    for number, pair in enumerate(maps):
        whole.update(*pair)
        (first if number % 2 else second).update(*pair)
    total = first + second
    np.testing.assert_array_equal(total.counts, whole.counts)
    np.testing.assert_array_equal(total.unknown, whole.unknown)
    assert total.num_images == whole.num_images == 4
    assert first.num_images == 2


def test_sum_does_not_share_its_counts():
    first = confusion_of(*random_maps())
    before = first.counts.copy()
    (first + first).update(*random_maps(1))
    skipping_unknown(first).update(*random_maps(1))
    np.testing.assert_array_equal(first.counts, before)
    assert not first.skip_unknown


def test_addition_refuses_what_does_not_fit():
    one = Confusion(num_classes=3, num_clusters=4)
    with pytest.raises(ShapeError, match=r"must have shape \(4, 5\), got \(4, 4\)"):
        one + Confusion(num_classes=3, num_clusters=3)
    with pytest.raises(ConfigError, match="skips unknown pixels"):
        one + skipping_unknown(one)
    with pytest.raises(TypeError, match="unsupported operand"):
        one + 1


@pytest.mark.parametrize("name", ["num_classes", "num_clusters"])
@pytest.mark.parametrize("number", [0, 255])
def test_number_of_classes_has_bounds(name, number):
    with pytest.raises(ConfigError, match=f"{name} must be 1 to 254, got {number}"):
        Confusion(**({"num_classes": 3, "num_clusters": 3} | {name: number}))


@pytest.mark.parametrize(
    ("labels", "prediction", "error", "message"),
    [
        ([[0, 4]], [[0, 0]], DatasetError, r"labels hold the value 4; wanted 0 to 3.*classes.txt"),
        ([[0, -1]], [[0, 0]], DatasetError, "labels hold the value -1"),
        ([[0, 3]], [[0, 5]], ConfigError, r"prediction holds the value 5; wanted 0 to 4.*number of clusters"),
        ([[0, 3]], [[0, 256]], ConfigError, "prediction holds the value 256"),
        ([[0, 3]], [[0.0, 1.0]], ConfigError, "integers, got float64. Take the argmax"),
        ([[0, 3]], [[0], [3]], ShapeError, r"prediction must have shape .*\(1, 2\).* got \(2, 1\)"),
        ([0, 3], [0, 3], ShapeError, r"\(H, W\)"),
    ],
)
def test_bad_maps_are_refused_and_nothing_is_counted(labels, prediction, error, message):
    confusion = Confusion(num_classes=3, num_clusters=4)
    with pytest.raises(error, match=message):
        confusion.update(np.array(labels), np.array(prediction))
    assert not confusion.counts.any()
    assert not confusion.num_images


@pytest.mark.parametrize("skip_unknown", [False, True])
@pytest.mark.parametrize("matching", [{0: 0, 1: 2, 2: 1, 4: 3}, {0: 0, 1: 1, 2: 1, 3: 0, 4: 3}, {0: 0}])
def test_report_equals_a_slow_loop(matching, skip_unknown):
    labels, prediction = random_maps()
    result = report(confusion_of(labels, prediction, skip_unknown=skip_unknown), ["a", "b", "c"], matching)
    slow = slow_iou(labels, prediction, matching, skip_unknown)
    assert list(result.iou) == ["background", "a", "b", "c"]
    assert list(result.iou.values()) == pytest.approx(list(slow.values()))
    assert result.miou == pytest.approx(np.mean(list(slow.values())))
    judged = (labels != 255) & ~(skip_unknown & (prediction == 255))
    answers = np.vectorize(lambda value: matching.get(value, -1))(prediction)
    assert result.pixel_accuracy == pytest.approx((answers == labels)[judged].mean())
    assert result.coverage == pytest.approx((prediction != 255)[labels != 255].mean())


def test_unknown_pixels_by_hand():
    labels = np.array([[1, 1, 1, 1, 0, 0, 0, 255]], np.uint8)
    prediction = np.array([[1, 1, 255, 255, 0, 0, 255, 255]], np.uint8)
    confusion = confusion_of(labels, prediction, 1, 1)
    wrong = report(confusion, ["cat"], identity_matching(1))
    assert wrong.iou == {"background": pytest.approx(2 / 3), "cat": 0.5}
    assert wrong.pixel_accuracy == pytest.approx(4 / 7)
    assert wrong.confusion == [[2, 0, 1], [0, 2, 2]]
    skipped = report(skipping_unknown(confusion), ["cat"], identity_matching(1))
    assert skipped.iou == {"background": 1, "cat": 1}
    assert skipped.pixel_accuracy == 1
    assert skipped.confusion == [[2, 0, 0], [0, 2, 0]]
    assert wrong.num_images == skipped.num_images == 1
    assert wrong.coverage == skipped.coverage == pytest.approx(4 / 7)


def test_confusion_after_matching_by_hand():
    confusion = from_counts([[10, 1, 2, 3], [4, 0, 20, 5], [6, 30, 7, 8]])
    result = report(confusion, ["cat", "dog"], {0: 0, 1: 2, 2: 1})
    assert result.confusion == [[10, 2, 1, 3], [4, 20, 0, 5], [6, 7, 30, 8]]
    assert result.iou["cat"] == pytest.approx(20 / (29 + 29 - 20))
    assert result.matching == {0: "background", 1: "dog", 2: "cat"}


def test_class_absent_from_both_is_left_out_of_the_mean():
    result = report(from_counts([[6, 0, 0], [2, 4, 0], [0, 0, 0]]), ["cat", "dog"], identity_matching(2))
    assert result.iou == {"background": 6 / 8, "cat": 4 / 6, "dog": None}
    assert result.miou == pytest.approx((6 / 8 + 4 / 6) / 2)


def test_class_that_is_only_predicted_or_only_true_has_iou_zero():
    predicted = report(from_counts([[6, 0, 1], [0, 4, 0], [0, 0, 0]]), ["cat", "dog"], identity_matching(2))
    assert predicted.iou["dog"] == 0
    assert predicted.miou == pytest.approx((6 / 7 + 1 + 0) / 3)
    unmatched = report(from_counts([[6, 0, 0], [0, 4, 0], [0, 0, 3]]), ["cat", "dog"], {0: 0, 1: 1})
    assert unmatched.iou["dog"] == 0
    assert unmatched.miou == pytest.approx(2 / 3)


def test_report_without_a_pixel_has_no_measure():
    confusion = confusion_of(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8), 1, 1)
    result = report(confusion, ["cat"], match_one_to_one(confusion))
    assert (result.miou, result.pixel_accuracy, result.coverage) == (None, None, None)
    assert result.num_images == 1


def test_report_survives_json_without_nan():
    result = report(from_counts([[6, 0, 0], [2, 4, 0], [0, 0, 0]]), ["cat", "dog"], {0: 0, 1: 1})
    values = result.to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["matching"] == {"0": "background", "1": "cat"}
    assert values["iou"]["dog"] is None


@pytest.mark.parametrize(
    ("names", "matching", "message"),
    [
        (["cat"], {0: 0}, "names of 2 classes, without background, got 1"),
        (["cat", "cat"], {0: 0}, "Two classes are named 'cat'"),
        (["cat", "background"], {0: 0}, "Two classes are named 'background'"),
        (["cat", "dog"], {0: 0, 3: 1}, "cluster 3 to class 1, but there are clusters 0 to 2"),
        (["cat", "dog"], {0: 0, 1: -1}, "cluster 1 to class -1.* classes 0 to 2"),
    ],
)
def test_names_and_matching_must_fit(names, matching, message):
    with pytest.raises(ConfigError, match=message):
        report(Confusion(num_classes=2, num_clusters=2), names, matching)


def test_iou_of_pairs_equals_a_slow_loop():
    labels, prediction = random_maps()
    for skip_unknown in (False, True):
        pairs = iou_of_pairs(confusion_of(labels, prediction, skip_unknown=skip_unknown))
        assert pairs.shape == (4, 5)
        judged = (labels != 255) & ~(skip_unknown & (prediction == 255))
        for label, cluster in itertools.product(range(4), range(5)):
            truth, found = (labels == label) & judged, (prediction == cluster) & judged
            assert pairs[label, cluster] == pytest.approx((truth & found).sum() / (truth | found).sum())


def best_by_trying_all(confusion, names):
    """Highest mean IoU over all one-to-one matchings with background fixed."""
    classes, clusters = range(1, confusion.num_classes + 1), range(1, confusion.num_clusters + 1)
    size = min(len(classes), len(clusters))
    return max(
        report(confusion, names, {0: 0} | dict(zip(chosen, order, strict=True))).miou
        for chosen in itertools.combinations(clusters, size)
        for order in itertools.permutations(classes, size)
    )


@pytest.mark.parametrize("num_clusters", [2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_one_to_one_is_the_best_of_all_matchings(num_clusters, seed):
    counts = np.random.default_rng(seed).integers(1, 100, (4, num_clusters + 1))
    confusion = from_counts(counts, unknown=[5, 9, 1, 30])
    matching = match_one_to_one(confusion)
    assert matching.pop(0) == 0
    assert len(matching) == min(3, num_clusters) == len(set(matching.values()))
    assert 0 not in matching.values()
    best = best_by_trying_all(confusion, ["a", "b", "c"])
    assert report(confusion, ["a", "b", "c"], {0: 0, **matching}).miou == pytest.approx(best)


def test_one_to_one_maximises_iou_and_not_overlap():
    # Class 1 has most pixels in cluster 1, which is mostly background, and by common pixels would get it: 20 > 15 + 1.
    confusion = from_counts([[0, 200, 0], [0, 20, 15], [0, 1, 0]])
    assert match_one_to_one(confusion) == {0: 0, 1: 2, 2: 1}


def test_background_stays_background_even_where_a_cluster_covers_it_better():
    confusion = from_counts([[1, 90], [9, 5]])
    assert match_one_to_one(confusion) == {0: 0, 1: 1}
    assert match_by_majority(confusion) == {0: 0, 1: 0}


def test_pair_without_a_common_pixel_is_no_match():
    confusion = from_counts([[5, 3, 0, 0], [0, 7, 0, 0], [4, 0, 0, 0], [0, 0, 0, 0]])
    assert match_one_to_one(confusion) == {0: 0, 1: 1}


def test_shuffled_clusters_are_found_again():
    labels, _ = random_maps(ignored=0.05)
    new_ids = np.arange(256, dtype=np.uint8)
    new_ids[[1, 2, 3]] = 4, 1, 2
    confusion = confusion_of(labels, new_ids[labels])
    assert match_one_to_one(confusion) == {0: 0, 4: 1, 1: 2, 2: 3}
    assert report(confusion, ["a", "b", "c"], match_one_to_one(confusion)).miou == 1


def test_majority_by_hand():
    confusion = from_counts([[9, 1, 8, 0, 2], [9, 5, 3, 0, 2], [1, 4, 0, 0, 1]])
    assert match_by_majority(confusion) == {0: 0, 1: 1, 2: 0, 4: 0}  # a tie goes to the lower id; cluster 3 is empty


def test_majority_takes_several_clusters_for_one_class():
    labels = np.array([[1, 1, 1, 1, 0, 2]], np.uint8)
    prediction = np.array([[1, 1, 2, 2, 0, 3]], np.uint8)
    confusion = confusion_of(labels, prediction, 2, 3)
    assert report(confusion, ["cat", "dog"], match_by_majority(confusion)).miou == 1
    assert report(confusion, ["cat", "dog"], match_one_to_one(confusion)).iou["cat"] == 0.5


def test_unknown_pixels_can_change_the_matching():
    # By what is said, class 1 needs cluster 1 most; with 200 pixels missed its IoU is low anyway, and class 2 gets it.
    confusion = from_counts([[0, 0, 0], [0, 10, 0], [0, 8, 3]], unknown=[0, 200, 0])
    assert match_one_to_one(confusion) == {0: 0, 1: 2}
    assert match_one_to_one(skipping_unknown(confusion)) == {0: 0, 1: 1, 2: 2}


def test_identity_matching():
    assert identity_matching(2) == {0: 0, 1: 1, 2: 2}


def test_mean_and_std_by_hand():
    mean, std = mean_and_std([1.0, 2.0, 6.0])
    assert mean == 3
    assert std == pytest.approx(((4 + 1 + 9) / 2) ** 0.5)
    assert mean_and_std([0.5]) == (0.5, None)
    with pytest.raises(ConfigError, match="at least one seed"):
        mean_and_std([])
