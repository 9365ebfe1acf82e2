import numpy as np
import pytest

from maskdistill.errors import ConfigError, ShapeError
from maskdistill.review.repair import erase_component, fill_holes, keep_component, merge, smooth


def boxes(*spans):
    mask = np.zeros((40, 60), bool)
    for top, bottom, left, right in spans:
        mask[top:bottom, left:right] = True
    return mask


ONE, OTHER = (5, 15, 5, 15), (20, 35, 30, 50)


def test_the_part_under_the_point_is_kept_or_erased_and_both_together_are_the_mask():
    mask = boxes(ONE, OTHER)
    assert (keep_component(mask, 40, 25) == boxes(OTHER)).all()
    assert (erase_component(mask, 40, 25) == boxes(ONE)).all()
    assert (mask == boxes(ONE, OTHER)).all()  # what was given stays


def test_a_point_just_beside_a_part_counts_as_on_it_and_one_far_from_all_changes_nothing():
    mask = boxes(ONE, OTHER)
    assert (keep_component(mask, 15.5, 10) == boxes(ONE)).all()
    assert (keep_component(mask, 25, 2) == mask).all()
    assert (erase_component(mask, 25, 2) == mask).all()


def test_parts_that_touch_at_a_corner_are_two():
    mask = boxes((5, 10, 5, 10), (10, 15, 10, 15))
    assert (keep_component(mask, 7, 7) == boxes((5, 10, 5, 10))).all()


def test_holes_are_filled_and_bays_are_not():
    bay = boxes((5, 30, 5, 30)) & ~boxes((10, 20, 20, 30))
    mask = bay & ~boxes((10, 15, 8, 14))
    assert (fill_holes(mask) == bay).all()


def test_smoothing_drops_specks_and_slits_and_leaves_a_large_shape():
    mask = boxes((5, 35, 5, 55)) & ~boxes((5, 35, 20, 21))
    mask[2, 58] = True
    found = smooth(mask)
    assert not found[2, 58]
    assert found[10:30, 20].all()
    assert np.count_nonzero(found ^ boxes((5, 35, 5, 55))) < 12  # corners are rounded


def test_smoothing_never_leaves_nothing():
    mask = boxes((5, 6, 5, 6))
    assert (smooth(mask) == mask).all()


def test_merged_masks_are_their_union():
    assert (merge([boxes(ONE), boxes(OTHER), boxes(ONE)]) == boxes(ONE, OTHER)).all()


def test_what_is_no_mask_is_refused():
    with pytest.raises(ConfigError, match="at least one"):
        merge([])
    with pytest.raises(ShapeError, match=r"\(40, 60\)"):
        merge([boxes(ONE), np.zeros((4, 4), bool)])
    with pytest.raises(ShapeError, match="bool"):
        fill_holes(np.zeros((4, 4)))
    with pytest.raises(ConfigError, match="60 x 40"):
        keep_component(boxes(ONE), 61, 3)
    with pytest.raises(ConfigError, match="60 x 40"):
        erase_component(boxes(ONE), float("nan"), 3)
