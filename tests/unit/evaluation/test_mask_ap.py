import sys
import threading
import time

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import COCOeval

from maskdistill.errors import ConfigError, ShapeError
from maskdistill.evaluation.mask_ap import (
    box_corloc,
    instances_from,
    instances_of,
    mask_ap,
    predictions_of,
    single_mask_ap50,
)
from maskdistill.evaluation.region_metrics import class_regions, object_regions
from maskdistill.masks import decode_mask, encode_mask

SIZE = (32, 40)


def box(row, col, height=8, width=8, size=SIZE):
    mask = np.zeros(size, bool)
    mask[row : row + height, col : col + width] = True
    return mask


def truth(*masks, crowd=()):
    return [
        *({"segmentation": encode_mask(mask), "iscrowd": 0} for mask in masks),
        *({"segmentation": encode_mask(mask), "iscrowd": 1} for mask in crowd),
    ]


def found(*pairs):
    return [{"segmentation": encode_mask(mask), "score": score} for mask, score in pairs]


def label_map(*parts):
    labels = np.zeros(SIZE, np.uint8)
    for mask, value in parts:
        labels[mask] = value
    return labels


def slow_ap50(ground_truth, predictions):
    """AP at IoU 0.5 from bool masks: greedy matching by score, precision made monotone, 101 points of recall."""
    rows = sorted(
        ((s, photo, mask) for photo, items in enumerate(predictions) for mask, s in items), key=lambda r: -r[0]
    )
    taken, hits = set(), []
    for _, photo, mask in rows:
        ious = [((mask & other).sum() / (mask | other).sum(), index) for index, other in enumerate(ground_truth[photo])]
        free = [(iou, index) for iou, index in ious if (photo, index) not in taken and iou >= 0.5]
        hits.append(bool(free))
        if free:
            taken.add((photo, max(free)[1]))
    total = sum(len(masks) for masks in ground_truth)
    precision = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
    recall = [sum(hits[: n + 1]) / total for n in range(len(hits))]
    points = [
        max((p for p, r in zip(precision, recall, strict=True) if r >= level - 1e-12), default=0.0)
        for level in np.linspace(0, 1, 101)
    ]
    return float(np.mean(points))


def test_regions_become_instances_with_their_class():
    labels = label_map((box(0, 0), 3), (box(0, 20), 3), (box(20, 0), 7), (box(20, 20), 255))
    instances = instances_of(labels, min_area=1)
    assert [(item["category_id"], item["iscrowd"]) for item in instances] == [(3, 0), (3, 0), (7, 0)]
    for item, mask in zip(instances, [box(0, 0), box(0, 20), box(20, 0)], strict=True):
        np.testing.assert_array_equal(decode_mask(item["segmentation"]), mask)


def test_touching_objects_of_a_class_are_one_and_of_two_classes_two():
    assert len(instances_of(label_map((box(0, 0), 3), (box(0, 8), 3)), min_area=1)) == 1
    assert len(instances_of(label_map((box(0, 0), 3), (box(0, 8), 4)), min_area=1)) == 2
    assert len(instances_of(label_map((box(0, 0), 3), (box(8, 8), 3)), min_area=1)) == 2  # at a corner only


def test_small_regions_are_one_crowd():
    labels = label_map((box(0, 0), 3), (box(0, 20, 2, 2), 3), (box(20, 20, 3, 2), 5))
    large, crowd = instances_of(labels, min_area=7)
    assert (large["iscrowd"], crowd["iscrowd"]) == (0, 1)
    np.testing.assert_array_equal(decode_mask(crowd["segmentation"]), box(0, 20, 2, 2) | box(20, 20, 3, 2))
    assert [item["iscrowd"] for item in instances_of(labels, min_area=6)] == [0, 0, 1]  # from min_area on it counts


@pytest.mark.parametrize("labels", [label_map(), label_map((box(0, 0), 255))])
def test_photo_without_an_object_has_no_instance(labels):
    assert instances_of(labels) == []


def test_regions_by_class_are_those_a_mask_is_compared_with():
    labels = label_map((box(0, 0), 3), (box(0, 20, 2, 2), 3), (box(20, 20), 5))
    regions = class_regions(labels, min_area=5)
    assert [label for label, _ in regions] == [3, 5]
    *pieces, union = object_regions(labels, min_area=5)
    for (_, mask), piece in zip(regions, pieces, strict=True):
        np.testing.assert_array_equal(mask, piece)
    np.testing.assert_array_equal(union, labels > 0)


def test_ignored_pixels_are_cut_out_of_predictions():
    labels = label_map((box(0, 0, 10, 10), 255), (box(1, 1), 3))
    masks = [box(0, 0, 10, 10), box(0, 0, 1, 10), box(0, 0, 0, 0)]
    plain = predictions_of(masks, [0.9, 0.8, 0.7])
    assert [item["score"] for item in plain] == [0.9, 0.8]
    cut = predictions_of(masks, [0.9, 0.8, 0.7], labels)
    assert len(cut) == 1  # the second lies in ignored pixels only
    np.testing.assert_array_equal(decode_mask(cut[0]["segmentation"]), box(1, 1))
    instances = instances_of(labels, min_area=1)
    assert mask_ap([instances], [cut])["ap"] == pytest.approx(1)
    assert mask_ap([instances], [plain[:1]])["ap"] < 0.5


def test_predictions_must_fit_scores_and_labels():
    with pytest.raises(ShapeError, match=r"scores must have shape \(1,\)"):
        predictions_of([box(0, 0)], [])
    with pytest.raises(ShapeError, match=r"mask must have shape \(32, 40\), as the labels, got \(8, 8\)"):
        predictions_of([np.ones((8, 8), bool)], [1.0], label_map())


def test_perfect_masks():
    masks = [[box(0, 0), box(20, 20)], [box(4, 4, 20, 20)]]
    result = mask_ap([truth(*photo) for photo in masks], [found(*((mask, 0.5) for mask in photo)) for photo in masks])
    known = {name: value for name, value in result.items() if value is not None}
    assert known == dict.fromkeys(("ap50", "ap", "ap_small", "ar", "ar_small"), pytest.approx(1))
    assert all(type(value) is float for value in known.values())


def test_sizes_are_measured_apart():
    size = (200, 200)
    small, medium, large = box(0, 0, 10, 10, size), box(0, 60, 40, 40, size), box(90, 90, 100, 100, size)
    result = mask_ap([truth(small, medium, large)], [found((small, 0.9), (large, 0.8))])
    assert [result[f"ar_{name}"] for name in ("small", "medium", "large")] == pytest.approx([1, 0, 1])
    assert mask_ap([truth(medium)], [[]]) == {name: None if name.endswith(("small", "large")) else 0 for name in result}


def test_objects_that_overlap_are_instances_of_their_own():
    inner, outer, crowd = box(2, 2, 4, 4), box(0, 0), box(20, 20)
    instances = instances_from([(crowd, 255), (outer, 3), (inner, 3), (box(0, 0, 0, 0), 1)])
    assert [item["iscrowd"] for item in instances] == [1, 0, 0]
    assert mask_ap([instances], [found((outer, 0.9), (inner, 0.8), (box(22, 22, 4, 4), 0.95))])["ap"] == pytest.approx(
        1
    )


def test_box_of_the_best_mask_decides_on_the_photo():
    ring = box(0, 0, 10, 10) & ~box(2, 2, 6, 6)  # its box fits, its pixels do not
    photos = [truth(box(0, 0, 10, 10)), truth(box(0, 0), box(20, 20)), truth(box(0, 0)), [], truth(crowd=[box(0, 0)])]
    predictions = [
        found((ring, 0.9), (box(20, 20), 0.1)),
        found((box(10, 10, 2, 2), 0.9), (box(0, 0), 0.8)),
        [],
        found((box(0, 0), 0.9)),
        found((box(0, 0), 0.9)),
    ]
    assert box_corloc(photos, predictions) == pytest.approx(1 / 3)
    assert box_corloc([[]], [found((box(0, 0), 1))]) is None
    with pytest.raises(ShapeError):
        box_corloc([[]], [])


def test_one_object_of_two_missed():
    result = mask_ap([truth(box(0, 0), box(20, 20))], [found((box(0, 0), 0.9))])
    assert result["ap50"] == pytest.approx(51 / 101)  # recall 0.00, 0.01, ..., 0.50
    assert result["ar"] == pytest.approx(0.5)


def test_wrong_mask_of_higher_score_halves_the_precision():
    result = mask_ap([truth(box(0, 0))], [found((box(0, 0), 0.8), (box(20, 20), 0.9))])
    assert result["ap50"] == pytest.approx(0.5)
    result = mask_ap([truth(box(0, 0))], [found((box(0, 0), 0.9), (box(20, 20), 0.8))])
    assert result["ap50"] == pytest.approx(1)


def test_iou_of_0_6_counts_at_three_of_ten_thresholds():
    result = mask_ap([truth(box(0, 0, 10, 10))], [found((box(0, 0, 10, 6), 0.9))])
    assert result["ap50"] == pytest.approx(1)
    assert result["ap"] == pytest.approx(0.3)  # IoU 0.50, 0.55 and 0.60
    assert result["ar"] == pytest.approx(0.3)


def test_mask_of_the_second_photo_does_not_match_an_object_of_the_first():
    assert mask_ap([truth(box(0, 0)), truth(box(20, 20))], [found((box(20, 20), 0.9)), []])["ap50"] == 0


@pytest.mark.parametrize("seed", range(4))
def test_ap50_equals_a_slow_loop(seed):
    generator = np.random.default_rng(seed)
    spots = [(0, 0), (0, 16), (16, 0), (16, 16)]
    ground_truth = [[box(*spots[i], 12, 12) for i in generator.permutation(4)[: n % 4]] for n in range(8)]
    predictions = [
        [
            (box(*(spots[i] + generator.integers(0, 4, 2)), 12, 12), float(generator.random()))
            for i in generator.permutation(4)[: generator.integers(0, 5)]
        ]
        for _ in range(8)
    ]
    slow = slow_ap50(ground_truth, predictions)
    assert 0.05 < slow < 0.95
    result = mask_ap([truth(*masks) for masks in ground_truth], [found(*pairs) for pairs in predictions])
    assert result["ap50"] == pytest.approx(slow)


def test_prediction_on_a_photo_without_an_object_is_wrong():
    photos = [truth(box(0, 0)), []]
    assert mask_ap(photos, [found((box(0, 0), 0.8)), found((box(0, 0), 0.9))])["ap50"] == pytest.approx(0.5)
    assert mask_ap(photos, [found((box(0, 0), 0.8)), []])["ap50"] == pytest.approx(1)


def test_prediction_in_a_crowd_is_neither_right_nor_wrong():
    photos = [truth(box(0, 0), crowd=[box(16, 16, 16, 16)])]
    predictions = [found((box(20, 20), 0.9), (box(24, 24), 0.85), (box(0, 0), 0.8))]
    assert mask_ap(photos, predictions)["ap50"] == pytest.approx(1)
    assert mask_ap([truth(box(0, 0))], predictions)["ap50"] == pytest.approx(1 / 3)


def test_class_plays_no_part():
    photo = [item | {"category_id": label} for label, item in enumerate(truth(box(0, 0), box(20, 20)), start=5)]
    predictions = [item | {"category_id": 1} for item in found((box(0, 0), 1), (box(20, 20), 1))]
    assert mask_ap([photo], [predictions])["ap50"] == pytest.approx(1)


def test_box_of_some_predictions_is_not_read():
    # pycocotools wants a box of each prediction if the first has one.
    first, second = found((box(0, 0), 1), (box(20, 20), 1))
    result = mask_ap([truth(box(0, 0), box(20, 20))], [[first | {"bbox": [0, 0, 8, 8]}, second]])
    assert result["ap50"] == pytest.approx(1)


def test_nothing_predicted_and_nothing_to_find():
    missed = mask_ap([truth(box(0, 0)), []], [[], []])
    assert [missed[name] for name in ("ap50", "ap", "ar")] == [0, 0, 0]
    assert set(mask_ap([], []).values()) == {None}
    assert set(mask_ap([[], truth(crowd=[box(0, 0)])], [found((box(0, 0), 1)), []]).values()) == {None}
    assert single_mask_ap50([truth(box(0, 0))], [[]]) == 0
    assert single_mask_ap50([[]], [found((box(0, 0), 1))]) is None


def test_numbers_of_photos_sizes_and_scores_are_checked():
    with pytest.raises(ShapeError, match=r"predictions must have shape \(1,\), a list for each photo, got \(0,\)"):
        mask_ap([truth(box(0, 0))], [])
    with pytest.raises(ShapeError, match=r"must have shape \(32, 40\), as the others of its photo, got \(8, 8\)"):
        mask_ap([truth(box(0, 0))], [found((np.ones((8, 8), bool), 0.5))])
    with pytest.raises(ConfigError, match="score nan. Give each one a finite number"):
        mask_ap([truth(box(0, 0))], [found((box(0, 0), float("nan")))])
    with pytest.raises(ConfigError, match="score None"):
        single_mask_ap50([truth(box(0, 0))], [truth(box(0, 0))])


def test_inputs_stay_as_they_were_and_nothing_is_printed(capsys):
    ground_truth, predictions = [truth(box(0, 0))], [found((box(0, 0), 0.5))]
    before = repr((ground_truth, predictions))
    mask_ap(ground_truth, predictions)
    single_mask_ap50(ground_truth, predictions)
    assert repr((ground_truth, predictions)) == before
    assert capsys.readouterr() == ("", "")


def test_standard_output_is_back_after_two_threads_evaluated(monkeypatch):
    # Without a lock the first to begin ends first, and the second puts back what the first had redirected to.
    stdout, delays, results, evaluate = sys.stdout, iter([0.05, 0.1]), [], COCOeval.evaluate

    def slow_evaluate(evaluation):
        time.sleep(next(delays))
        evaluate(evaluation)

    monkeypatch.setattr(COCOeval, "evaluate", slow_evaluate)
    photos, predictions = [truth(box(0, 0))], [found((box(0, 0), 0.5))]
    threads = [threading.Thread(target=lambda: results.append(mask_ap(photos, predictions)["ap50"])) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert results == [pytest.approx(1)] * 2
    left_over, sys.stdout = sys.stdout, stdout
    assert left_over is stdout


def test_single_leaves_out_the_objects_it_does_not_overlap():
    photos, predictions = [truth(box(0, 0), box(20, 20), box(0, 20))], [found((box(20, 20), 0.9))]
    assert single_mask_ap50(photos, predictions) == pytest.approx(1)
    assert mask_ap(photos, predictions)["ap50"] == pytest.approx(34 / 101)  # recall 0.00, 0.01, ..., 0.33


def test_single_takes_the_prediction_of_highest_score():
    photos = [truth(box(0, 0), box(20, 20))]
    assert single_mask_ap50(photos, [found((box(0, 20), 0.9), (box(0, 0), 0.8))]) == 0
    assert single_mask_ap50(photos, [found((box(0, 20), 0.8), (box(0, 0), 0.9))]) == pytest.approx(1)


def test_single_chooses_the_object_by_iou_and_not_by_area():
    photos = [truth(box(0, 0, 32, 40), box(0, 0, 8, 8))]
    assert single_mask_ap50(photos, [found((box(0, 0, 8, 9), 0.9))]) == pytest.approx(1)


def test_single_without_a_prediction_misses_one_object():
    photos = [truth(box(0, 0)), truth(box(0, 0), box(20, 20))]
    assert single_mask_ap50(photos, [found((box(0, 0), 0.9)), []]) == pytest.approx(51 / 101)


def test_single_keeps_the_crowd():
    photos = [truth(box(0, 0)), truth(box(0, 0), crowd=[box(16, 16, 16, 16)]), truth(crowd=[box(16, 16, 16, 16)])]
    predictions = [found((box(0, 0), 0.8)), found((box(20, 20), 0.9)), found((box(20, 20), 0.9))]
    assert single_mask_ap50(photos, predictions) == pytest.approx(51 / 101)  # one of two objects, and nothing wrong


def test_iou_of_two_sizes_is_silently_negative_in_pycocotools():
    # The reason for checking sizes.
    codes = [encode_mask(np.ones(shape, bool)) for shape in ((4, 4), (8, 2))]
    assert coco_mask.iou(codes[:1], codes[1:], [0]) == -1
