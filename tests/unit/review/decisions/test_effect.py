import numpy as np
import pandas as pd
import pytest
from decisions_data import IDS, frame_of

from maskdistill.review.decisions import effective

COLUMNS = ["step", "reviewer", "scope", "mask_id", "image_id", "x", "y", "w", "h", "action", "cluster", "dormant"]


def marks_of(*said, frame=None):
    """Marks from (mask, action) or (mask, action, cluster), one a step."""
    table = (frame_of() if frame is None else frame).set_index("mask_id")
    rows = []
    for step, (mask_id, action, *cluster) in enumerate(said, start=1):
        place = table.loc[mask_id, ["image_id", "x", "y", "w", "h"]]
        rows.append((step, f"person {step}", "labels", mask_id, *place, action, *(cluster or [0]), False))
    return pd.DataFrame(rows, columns=COLUMNS)


def row_of(mask_id):
    return IDS.index(mask_id)


def test_no_marks():
    found = effective(marks_of(), frame_of())
    for values in (found.decision, found.cluster, found.step, found.skipped):
        assert values.tolist() == [0] * 12
    assert found.reviewer.tolist() == [""] * 12
    assert found.orphaned == 0


def test_no_masks():
    found = effective(marks_of((0, "accept")), frame_of([]))
    assert (len(found.decision), found.orphaned) == (0, 1)


def test_the_latest_word_counts_whoever_said_it():
    marks = marks_of((0, "reject"), (1, "accept"), (0, "accept"), (10, "relabel", 3), (1, "reject"))
    found = effective(marks, frame_of())
    expected = {0: (1, 0, 3, "person 3"), 1: (-1, 0, 5, "person 5"), 10: (1, 3, 4, "person 4")}
    for mask_id in IDS:
        row = row_of(mask_id)
        word = found.decision[row], found.cluster[row], found.step[row], found.reviewer[row]
        assert word == expected.get(mask_id, (0, 0, 0, ""))
    assert (found.decision.dtype, found.cluster.dtype, found.step.dtype) == (np.int8, np.int32, np.int64)


def test_a_word_after_relabelling_takes_the_class_back():
    found = effective(marks_of((0, "relabel", 3), (0, "accept"), (1, "relabel", 3), (1, "reject")), frame_of())
    assert found.cluster.tolist() == [0] * 12
    assert found.decision[:2].tolist() == [1, -1]


def test_clear_takes_back_and_skip_leaves():
    said = (0, "reject"), (0, "clear"), (1, "reject"), (1, "skip"), (2, "skip"), (2, "relabel", 2), (10, "skip")
    found = effective(marks_of(*said), frame_of())
    assert found.decision[:4].tolist() == [0, -1, 1, 0]
    assert found.skipped[:4].tolist() == [False, True, False, True]
    assert found.step[:4].tolist() == [0, 3, 6, 0]
    assert found.reviewer[:4].tolist() == ["", "person 3", "person 6", ""]


def test_a_relabel_of_an_earlier_clustering_only_takes_back():
    marks = marks_of((0, "reject"), (0, "relabel", 2))
    marks.loc[1, "dormant"] = True
    found = effective(marks, frame_of())
    assert (found.decision[0], found.cluster[0], found.step[0]) == (0, 0, 0)


def moved(frame, mask_id, **change):
    frame = frame.copy()
    for name, value in change.items():
        frame.loc[frame["mask_id"] == mask_id, name] = value
    return frame


def test_a_mask_with_another_number_is_found_by_its_box():
    frame = frame_of()
    frame["mask_id"] = [3, 4, 5, 13, 14, 15, 23, 24, 25, 33, 34, 35]
    found = effective(marks_of((0, "reject"), (21, "accept")), frame)
    assert np.flatnonzero(found.decision).tolist() == [0, 7]
    assert found.orphaned == 0


def test_a_mask_is_not_found_by_its_number_alone():
    """Photos were added before it: mask 10 is another photo's now."""
    frame = frame_of()
    frame["image_id"] = frame["image_id"].replace({"photo 1": "photo 9"})
    found = effective(marks_of((10, "reject"), (0, "reject")), frame)
    assert np.flatnonzero(found.decision).tolist() == [0]
    assert found.orphaned == 1


@pytest.mark.parametrize(
    ("width", "orphaned"),
    [(40, 0), (41, 1), (23, 0), (22, 1)],  # of 30 x 20: 30 / 40 and 23 / 30 are the same mask, 30 / 41 and 22 / 30 not
)
def test_a_box_that_changed_too_much_is_another_masks(width, orphaned):
    found = effective(marks_of((2, "reject")), moved(frame_of(), 2, w=width))
    assert found.orphaned == orphaned
    assert int((found.decision == -1).sum()) == 1 - orphaned


def test_the_most_alike_of_several_takes_the_mark():
    frame = moved(moved(frame_of(), 0, x=2), 1, x=1)  # the mark is at 0
    found = effective(marks_of((0, "reject")), frame)
    assert np.flatnonzero(found.decision).tolist() == [1]


def test_found_as_by_a_slow_loop():
    generator = np.random.default_rng(0)

    def random_frame(shift):
        boxes = np.random.default_rng(1).integers(5, 60, (400, 4)) + shift
        ids = np.arange(400) // 4 * 10 + np.arange(400) % 4
        table = pd.DataFrame(boxes, columns=["x", "y", "w", "h"])
        return table.assign(mask_id=ids, image_id=[f"p{mask_id // 10}" for mask_id in ids])

    frame, old = random_frame(generator.integers(0, 2, (400, 4))), random_frame(0)
    frame = frame.sample(300, random_state=0).reset_index(drop=True)
    said = [(int(mask_id), "reject") for mask_id in generator.choice(old["mask_id"], 200, replace=False)]
    marks = marks_of(*said, frame=old)
    found = effective(marks, frame)
    expected, lost = set(), 0
    for mark in marks.itertuples():
        near = frame[frame["image_id"] == mark.image_id]
        ious = [(overlap(mark, row), row.Index) for row in near.itertuples()]
        same = [row.Index for row in near.itertuples() if row.mask_id == mark.mask_id and overlap(mark, row) == 1]
        best = max(ious, default=(0, None))
        if same or best[0] >= 0.75:
            expected.add(same[0] if same else best[1])
        else:
            lost += 1
    assert set(np.flatnonzero(found.decision).tolist()) == expected
    assert found.orphaned == lost > 20
    assert len(expected) > 100


def overlap(one, other):
    width = min(one.x + one.w, other.x + other.w) - max(one.x, other.x)
    height = min(one.y + one.h, other.y + other.h) - max(one.y, other.y)
    both = max(width, 0) * max(height, 0)
    return both / (one.w * one.h + other.w * other.h - both)
