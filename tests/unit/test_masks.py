import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from maskdistill.masks import (
    border_share,
    bounding_box,
    decode_mask,
    encode_mask,
    mask_iou,
)
from maskdistill.proposals.components import component_at, keep_large_components


def random_mask(shape, seed=0, share=0.5):
    return np.random.default_rng(seed).random(shape) < share


def text_mask(*rows):
    return np.array([[mark == "#" for mark in row] for row in rows])


def flood(mask, row, col):
    component, stack = np.zeros_like(mask), [(row, col)]
    while stack:
        r, c = stack.pop()
        if 0 <= r < mask.shape[0] and 0 <= c < mask.shape[1] and mask[r, c] and not component[r, c]:
            component[r, c] = True
            stack += [(r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)]
    return component


def slow_runs(mask):
    """Lengths of runs down the columns, the first of zeros, as COCO counts them."""
    runs, current, length = [], False, 0
    for col in range(mask.shape[1]):
        for row in range(mask.shape[0]):
            if mask[row, col] != current:
                runs.append(length)
                current, length = not current, 0
            length += 1
    return [*runs, length]


MASKS = [
    random_mask((7, 11)),
    random_mask((11, 4), seed=1, share=0.1),
    np.zeros((5, 3), bool),
    np.ones((3, 5), bool),
    np.ones((1, 1), bool),
    random_mask((1, 9)),
    random_mask((9, 1)),
]


@pytest.mark.parametrize("mask", MASKS, ids=lambda mask: f"{mask.shape}-{int(mask.sum())}")
def test_run_length_code_equals_a_slow_loop_and_comes_back(mask):
    code = encode_mask(mask)
    assert code["size"] == list(mask.shape)
    slow = coco_mask.frPyObjects({"size": list(mask.shape), "counts": slow_runs(mask)}, *mask.shape)
    assert code["counts"] == slow["counts"].decode("ascii")
    back = decode_mask(json.loads(json.dumps(code)))
    assert back.dtype == bool
    np.testing.assert_array_equal(back, mask)


def test_mask_that_is_a_view_is_encoded_right():
    mask = random_mask((6, 8))
    np.testing.assert_array_equal(decode_mask(encode_mask(mask[::2, ::-1].T)), mask[::2, ::-1].T)


@pytest.mark.parametrize("seed", range(5))
def test_piece_with_equals_a_flood_fill(seed):
    mask = random_mask((6, 9), seed)
    for row in range(6):
        for col in range(9):
            np.testing.assert_array_equal(component_at(mask, (row, col)), flood(mask, row, col))


def test_pieces_that_touch_at_a_corner_are_apart():
    mask = text_mask("#.", ".#")
    assert component_at(mask, (0, 0)).sum() == 1


@pytest.mark.parametrize("min_piece", [0.0, 0.2, 0.5, 1.0])
def test_keep_large_components_equals_flood_fills(min_piece):
    mask = random_mask((9, 12), seed=3, share=0.45)
    components = {flood(mask, row, col).tobytes() for row, col in np.argwhere(mask)}
    components = [np.frombuffer(component, bool).reshape(mask.shape) for component in components]
    largest = max(component.sum() for component in components)
    expected = np.any([component for component in components if component.sum() >= min_piece * largest], axis=0)
    assert len(components) > 3
    np.testing.assert_array_equal(keep_large_components(mask, min_piece), expected)


@pytest.mark.parametrize("mask", [np.zeros((3, 4), bool), np.ones((3, 4), bool)], ids=["empty", "full"])
def test_keep_large_components_of_one_or_none(mask):
    np.testing.assert_array_equal(keep_large_components(mask, 1.0), mask)


def test_border_share_by_hand():
    mask = text_mask("##..", "....", "...#")
    assert border_share(mask) == pytest.approx(3 / 10)  # the frame of 3 x 4 has 10 pixels
    assert border_share(text_mask("....", ".##.", "....")) == 0
    assert border_share(np.ones((3, 4), bool)) == 1


@pytest.mark.parametrize("shape", [(5, 7), (2, 2), (1, 6), (4, 2)])
def test_border_share_equals_a_slow_loop(shape):
    mask = random_mask(shape, seed=2)
    height, width = shape
    frame = {(r, c) for r in range(height) for c in range(width) if r in (0, height - 1) or c in (0, width - 1)}
    assert border_share(mask) == pytest.approx(sum(bool(mask[spot]) for spot in frame) / len(frame))


def test_border_share_of_one_column():
    assert border_share(np.array([[False], [True], [False]])) == pytest.approx(1 / 3)


def test_iou_by_hand():
    first, second = text_mask("##..", "##.."), text_mask(".##.", ".##.")
    assert mask_iou(first, second) == pytest.approx(2 / 6)
    assert mask_iou(first, first) == 1
    assert mask_iou(first, ~first) == 0
    assert mask_iou(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 0


def test_bounding_box_by_hand():
    mask = np.zeros((6, 9), bool)
    mask[1, 7] = mask[4, 2] = True
    assert bounding_box(mask) == (2, 1, 6, 4)
    assert bounding_box(np.ones((3, 5), bool)) == (0, 0, 5, 3)
    assert bounding_box(np.zeros((3, 5), bool)) == (0, 0, 0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_bounding_box_is_that_of_pycocotools(seed):
    mask = random_mask((8, 13), seed, share=0.05)
    code = encode_mask(mask)
    assert list(bounding_box(mask)) == coco_mask.toBbox(code).tolist()
    assert all(type(value) is int for value in bounding_box(mask))
