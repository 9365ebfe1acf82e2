import numpy as np
import pytest

from maskdistill.config import RunConfig
from maskdistill.datasets.transforms import patch_grid
from maskdistill.masks import mask_iou
from maskdistill.proposals.foreground_masks import CutMask, Seen, correct_masks, foreground_part, signed_map

ROWS, COLS, PATCH = 8, 10, 8
HEIGHT, WIDTH = ROWS * PATCH, COLS * PATCH
CONFIG = RunConfig()


def rectangle(top, left, height, width, scale=PATCH):
    mask = np.zeros((ROWS * scale, COLS * scale), bool)
    mask[top * scale : (top + height) * scale, left * scale : (left + width) * scale] = True
    return mask


OBJECT = rectangle(2, 2, 4, 4)
OBJECT_PATCHES = rectangle(2, 2, 4, 4, 1)
GROUND_TOO = rectangle(2, 0, 6, 10)  # a cut that took the street for the object


def seen_as(inside, sure=0.95, vectors=None):
    """A photo whose foreground is ``inside`` (rows, cols), and whose patches are of two kinds."""
    probability = np.where(inside, np.float32(sure), np.float32(1 - sure))
    kinds = OBJECT_PATCHES if vectors is None else vectors
    units = np.where(kinds.ravel()[:, None], np.float32([1, 0]), np.float32([0, 1]))
    geometry = patch_grid(HEIGHT, WIDTH, shorter_side=HEIGHT, patch_size=PATCH, mode="resize")
    return Seen(probability, units, geometry)


def cut_as(mask, score=0.7, **parts):
    return CutMask(mask, score, parts or {"stability": 0.7})


def test_one_mask_becomes_the_foreground():
    (found,) = correct_masks([cut_as(GROUND_TOO, view_agreement=0.4)], seen_as(OBJECT_PATCHES), CONFIG)
    assert found.recut
    assert found.source == 0
    assert mask_iou(found.mask, OBJECT) > 0.9
    assert mask_iou(GROUND_TOO, OBJECT) < 0.4
    assert found.parts["view_agreement"] == 0.4
    assert found.parts["foreground"] == pytest.approx(0.9)
    assert found.parts["cut_agreement"] == pytest.approx(mask_iou(found.mask, GROUND_TOO))
    assert {"area", "border", "contrast"} <= set(found.parts)


def test_photo_without_a_cut_gets_a_mask():
    (found,) = correct_masks([], seen_as(OBJECT_PATCHES), CONFIG)
    assert found.source is None
    assert mask_iou(found.mask, OBJECT) > 0.9


def test_where_the_head_sees_nothing_the_cut_stays():
    seen = seen_as(np.zeros((ROWS, COLS), bool), sure=0.9)
    (found,) = correct_masks([cut_as(GROUND_TOO)], seen, CONFIG)
    assert not found.recut
    np.testing.assert_array_equal(found.mask, GROUND_TOO)
    assert found.parts["foreground"] == 0
    assert correct_masks([], seen, CONFIG) == []


def test_several_masks_keep_their_shapes_and_change_places():
    cut = [cut_as(rectangle(0, 7, 2, 3), 0.9, stability=0.7), cut_as(OBJECT, 0.6, stability=0.6)]
    found = correct_masks(cut, seen_as(OBJECT_PATCHES), CONFIG)
    assert [item.source for item in found] == [1, 0]
    assert not any(item.recut for item in found)
    for item in found:
        np.testing.assert_array_equal(item.mask, cut[item.source].mask)


def test_settings_say_what_becomes_of_the_masks():
    seen, cut = seen_as(OBJECT_PATCHES), [cut_as(GROUND_TOO), cut_as(rectangle(0, 0, 1, 1), 0.2)]
    assert not any(
        item.recut for item in correct_masks(cut[:1], seen, CONFIG.with_overrides(["foreground.masks=rank"]))
    )
    found = correct_masks(cut, seen, CONFIG.with_overrides(["foreground.masks=recut"]))
    assert sorted((item.source, item.recut) for item in found) == [(0, True), (1, False)]


def test_small_pieces_are_dropped_and_the_seed_alone_kept_where_that_is_set():
    inside = OBJECT_PATCHES | rectangle(2, 8, 4, 2, 1) | rectangle(0, 0, 1, 1, 1)
    seen = seen_as(inside, vectors=inside)
    (both,) = correct_masks([cut_as(OBJECT)], seen, CONFIG)
    assert not both.mask[:PATCH, :PATCH].any()
    assert both.mask[:, 8 * PATCH :].any()
    (alone,) = correct_masks([cut_as(OBJECT)], seen, CONFIG.with_overrides(["proposals.component=seed"]))
    assert mask_iou(alone.mask, OBJECT) > 0.9


def test_photo_decides_where_the_object_ends():
    """The head is unsure about a column of patches that look like the object here."""
    probability = np.where(OBJECT_PATCHES, np.float32(0.9), np.float32(0.1))
    probability[2:6, 5] = 0.42
    seen = seen_as(OBJECT_PATCHES)
    unsure = Seen(probability, seen.vectors, seen.geometry)
    assert (signed_map(cut_as(OBJECT), unsure)[2:6, 5] > 0).all()
    assert (signed_map(cut_as(OBJECT), unsure, refine=False)[2:6, 5] < 0).all()


def test_foreground_part_is_inside_minus_ring():
    probability = np.full((ROWS, COLS), 0.25, np.float32)
    probability[2:6, 2:6] = 0.75
    probability[0, 9] = 1  # beyond the ring
    seen = Seen(probability, seen_as(OBJECT_PATCHES).vectors, seen_as(OBJECT_PATCHES).geometry)
    assert foreground_part(OBJECT, seen) == pytest.approx(0.5)
    assert foreground_part(~OBJECT, seen) == 0
    assert foreground_part(np.ones_like(OBJECT), seen) == pytest.approx(probability.mean())
    speck = np.zeros_like(OBJECT)
    speck[2 * PATCH : 2 * PATCH + 2, 2 * PATCH : 2 * PATCH + 2] = True
    assert 0 <= foreground_part(speck, seen) <= 1
