import numpy as np
import pytest
from coco_data import HEIGHT, WIDTH, compressed_rle, plain_rle, polygon, rectangle
from pycocotools import mask as coco_mask

from maskdistill.datasets.coco_masks import (
    AnnotationError,
    check_mask,
    code_size,
    decode_counts,
    paint_runs,
    run_lengths,
    unwrap,
)

BOX = rectangle(5, 12, 8, 20)
FLAT = polygon(5, 12, 8, 20)[0]
PAIRS = [FLAT[n : n + 2] for n in range(0, 8, 2)]
OTHER = polygon(1, 3, 1, 3)[0]
PIXELS = HEIGHT * WIDTH


def paint(segmentation):
    found = unwrap(segmentation)
    height, width = code_size(found) if isinstance(found, dict) else (HEIGHT, WIDTH)
    return paint_runs(run_lengths(found, height, width), height, width)


@pytest.mark.parametrize(
    "segmentation",
    [
        FLAT,
        [FLAT],
        [[FLAT]],
        PAIRS,
        [PAIRS],
        [[PAIRS]],
        [FLAT, []],
        [FLAT, [3, 4, 5, 6]],  # a piece without an area
        [float(value) for value in FLAT],
        plain_rle(BOX),
        compressed_rle(BOX),
        [compressed_rle(BOX)],
    ],
)
def test_every_way_to_write_one_rectangle(segmentation):
    np.testing.assert_array_equal(paint(segmentation), BOX.astype(bool))


@pytest.mark.parametrize(
    "segmentation",
    [[FLAT, OTHER], [[FLAT, OTHER]], [PAIRS, [OTHER[n : n + 2] for n in range(0, 8, 2)]], [FLAT, [OTHER]]],
)
def test_several_pieces_are_one_mask(segmentation):
    np.testing.assert_array_equal(paint(segmentation), (BOX | rectangle(1, 3, 1, 3)).astype(bool))


def test_polygon_beyond_the_edge_is_cut_off():
    np.testing.assert_array_equal(paint(polygon(-2, 5, -2.5, 6)), rectangle(0, 5, 0, 6).astype(bool))
    np.testing.assert_array_equal(paint(polygon(15, HEIGHT + 2, 20, WIDTH + 2)), rectangle(15, 20, 20, 30).astype(bool))


@pytest.mark.parametrize(
    ("segmentation", "kind"),
    [
        ([[1e9, 1, 5, 1, 5, 5]], "outside"),
        ([[1, 1, 5, 1, 5, -1e300]], "outside"),
        ([[10**400, 1, 5, 1, 5, 5]], "outside"),
        ([[1, 1, 2 * WIDTH, 1, 5, 5]], "outside"),
        ([[float("inf"), 1, 5, 1, 5, 5]], "outside"),
        ([[1, 1, 5, 1, 5]], "odd number"),
        ([[1, 1, 5, 1, 5, 5, 7]], "odd number"),
        ([[1, 1, None, 1, 5, 5]], "no number"),
        ([[1, 1, "5", 1, 5, 5]], "no number"),
        ([[1, 1, True, 1, 5, 5]], "no number"),
        ([[1, 1, [5], 1, 5, 5]], "no number"),
        ([[1, 1, {}, 1, 5, 5]], "no number"),
        ([FLAT, 5], "neither"),
        ([{"x": 1, "y": 2}, {"x": 2, "y": 3}], "no number"),
        ([[1, 1, 5, 5]], "three points"),  # maybe a box, maybe a line
        ([[1, 1], [5, 5]], "three points"),
        ([[0.1, 0.1, 0.6, 0.1, 0.6, 0.8]], "fractions"),
        ([[[PAIRS, PAIRS]]], "holes"),
        ([[[[[[FLAT]]]]]], "neither"),
        ("[[1, 2, 3]]", "neither"),
        (7, "neither"),
        (True, "neither"),
        ({}, "size"),
        ({"size": [HEIGHT, WIDTH]}, "neither"),
        ({"size": [HEIGHT, WIDTH], "counts": None}, "neither"),
        ({"size": [HEIGHT, WIDTH], "counts": []}, "add up"),
        ({"size": [HEIGHT, WIDTH], "counts": ""}, "add up"),
        ({"size": [HEIGHT, WIDTH], "counts": [400, PIXELS]}, "add up"),
        ({"size": [HEIGHT, WIDTH], "counts": [400, 20]}, "add up"),
        ({"size": [HEIGHT, WIDTH], "counts": [400, -5, PIXELS - 395]}, "whole numbers"),
        ({"size": [HEIGHT, WIDTH], "counts": [400.0, PIXELS - 400]}, "whole numbers"),
        ({"size": [HEIGHT, WIDTH], "counts": ["400", PIXELS - 400]}, "whole numbers"),
        ({"size": [HEIGHT, WIDTH], "counts": [True, PIXELS - 1]}, "whole numbers"),
        ({"size": [HEIGHT, WIDTH], "counts": [2**64, PIXELS]}, "add up"),
        ({"size": [HEIGHT, WIDTH], "counts": "ZZZZ~~~zz0"}, "damaged"),
        ({"size": [HEIGHT, WIDTH], "counts": "é"}, "damaged"),
        ({"size": [HEIGHT, WIDTH], "counts": " 1"}, "damaged"),
        ({"size": [HEIGHT, WIDTH], "counts": "o" * 50 + "0"}, "damaged"),
        ({"size": [HEIGHT, WIDTH], "counts": compressed_rle(BOX)["counts"][:-2]}, "add up|damaged"),
        ({"size": [HEIGHT, WIDTH], "counts": compressed_rle(BOX)["counts"] + "o"}, "damaged"),
        ({"size": [HEIGHT, float(WIDTH)], "counts": "1"}, "size"),
        ({"size": [HEIGHT], "counts": "1"}, "size"),
        ({"size": {}, "counts": "1"}, "size"),
    ],
)
def test_what_cannot_be_drawn_is_refused(segmentation, kind):
    with pytest.raises(AnnotationError, match=kind):
        paint(segmentation)


def test_long_values_make_short_sentences():
    with pytest.raises(AnnotationError) as caught:
        check_mask([["x" * 10**6] * 1000], HEIGHT, WIDTH)
    assert len(str(caught.value)) < 500


def test_outline_that_would_fill_the_memory_is_refused():
    zigzag = [value for n in range(5000) for value in (0, n % 2000, 2000, n % 2000)]
    with pytest.raises(AnnotationError, match="too long"):
        check_mask([zigzag], 2000, 2000)


def random_codes(count, seed=0):
    rng = np.random.default_rng(seed)
    for number in range(count):
        mask = rng.random(rng.integers(1, 40, 2)) < rng.random()
        if number % 3 == 0:
            mask[: len(mask) // 2] = number % 2  # long runs
        yield mask, coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()


def test_many_compressed_codes_are_decoded_as_pycocotools_does():
    masks, texts = zip(*random_codes(300), strict=True)
    counts, bounds, totals = decode_counts(texts)
    assert totals.tolist() == [mask.size for mask in masks]
    for mask, start, end in zip(masks, bounds[:-1], bounds[1:], strict=True):
        np.testing.assert_array_equal(paint_runs(counts[start:end], *mask.shape), mask)


def test_damaged_codes_do_not_spoil_their_neighbors():
    masks, texts = zip(*random_codes(60, seed=1), strict=True)
    damaged = {5: "", 9: "~~", 10: "é", 20: "oooo", 21: " ", 59: "\ud800"}
    _, _, totals = decode_counts([damaged.get(number, text) for number, text in enumerate(texts)])
    for number, mask in enumerate(masks):
        assert totals[number] == (0 if number == 5 else -1 if number in damaged else mask.size)
