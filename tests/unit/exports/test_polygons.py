import numpy as np
import pytest
from export_data import blob, paint_exactly, paint_pixels, ring_and_dot
from scipy import ndimage

from maskdistill.exports.polygons import INSET, join_rings, mask_polygons
from maskdistill.masks import mask_iou

MASKS = {
    "one pixel": np.pad(np.ones((1, 1), bool), 3),
    "all": np.ones((4, 7), bool),
    "row": np.ones((1, 9), bool),
    "column": np.ones((9, 1), bool),
    "corner to corner": np.kron(np.eye(3, dtype=bool), np.ones((2, 2), bool)),
    "ring and dot": ring_and_dot(),
    "hole that leaves by a corner": np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 1]], bool),
    "half noise": np.random.default_rng(0).random((24, 31)) < 0.5,
    "sparse": np.random.default_rng(1).random((24, 31)) < 0.05,
    "blobs": blob(2, (64, 64), 0.3, 3),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_polygons_painted_give_the_mask(mask):
    polygons = mask_polygons(mask)
    assert len(polygons) == ndimage.label(mask)[1]
    np.testing.assert_array_equal(paint_exactly(polygons, mask.shape), mask)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_one_polygon_for_all_pieces_gives_the_mask(mask):
    np.testing.assert_array_equal(paint_exactly([join_rings(mask_polygons(mask))], mask.shape), mask)


@pytest.mark.parametrize("name", ["one pixel", "all", "row", "column", "blobs", "ring and dot"])
def test_polygons_suit_readers_that_paint_whole_pixels(name):
    mask = MASKS[name]
    painted = np.any([paint_pixels(polygon, mask.shape) for polygon in mask_polygons(mask)], axis=0)
    assert mask_iou(painted, mask) > 0.99


def test_joining_lines_are_as_short_as_they_can_be():
    """Pieces in a row, the largest in the middle: each is joined to its neighbour, not all to the largest."""
    mask = np.zeros((20, 64), bool)
    for left, width in ((1, 3), (10, 6), (20, 12), (40, 6), (52, 4)):
        mask[5:15, left : left + width] = True
    polygon = join_rings(mask_polygons(mask))
    painted = paint_pixels(polygon, mask.shape)
    assert not (mask & ~painted).any()
    assert (painted & ~mask).sum() == (10 - 4) + (20 - 16) + (40 - 32) + (52 - 46)


def test_outline_of_a_rectangle_by_hand():
    mask = np.zeros((6, 9), bool)
    mask[1:3, 4:8] = True
    corners = {(4 + INSET, 1 + INSET), (8 - INSET, 1 + INSET), (4 + INSET, 3 - INSET), (8 - INSET, 3 - INSET)}
    (polygon,) = mask_polygons(mask)
    assert {tuple(corner) for corner in np.round(polygon, 6).tolist()} == {
        tuple(np.round(corner, 6).tolist()) for corner in corners
    }
    assert len(polygon) == 4


def test_empty_mask_has_no_polygon():
    assert mask_polygons(np.zeros((4, 5), bool)) == []


def test_speckle_does_not_take_for_ever():
    """The join took time by the square of the pieces: minutes for a noisy mask of a large photo."""
    mask = np.zeros((64, 64), bool)
    mask[::2, ::2] = True
    mask[:8, :8] = True
    polygon = join_rings(mask_polygons(mask))
    painted = paint_exactly([polygon], mask.shape)
    assert painted[:8, :8].all()  # the largest are kept
    assert not (painted & ~mask).any()
    assert painted.sum() < mask.sum()
