"""Composites: what is pasted is what the masks say, wherever and however large."""

import numpy as np
import pytest

from maskdistill.models.composites import SHARES, compose, cut_out

RED, GREY = (255, 0, 0), (100, 100, 100)


def photo(colour, height=120, width=160):
    return np.tile(np.array(colour, np.uint8), (height, width, 1))


def square(height=120, width=160):
    mask = np.zeros((height, width), bool)
    mask[30:80, 40:100] = True
    return mask


def test_masks_are_exact():
    cutout = cut_out(photo(RED), square())
    for seed in range(20):
        picture, masks = compose(photo(GREY), [cutout], np.random.default_rng(seed))
        (mask,) = masks
        wanted = np.array(GREY) + mask[..., None] * (np.array(RED) - np.array(GREY, float))
        assert np.abs(picture - wanted).max() <= 1
        assert SHARES[0] / 2 < mask.mean() < 1.5 * SHARES[1]


def test_later_objects_cover_earlier_ones():
    one, other = (cut_out(photo(colour), square()) for colour in (RED, (0, 0, 255)))
    for seed in range(40):
        picture, masks = compose(photo(GREY), [one, other, one], np.random.default_rng(seed))
        assert masks.sum(axis=0).max() < 1.001
        assert (picture[masks[1] > 0.99] == (0, 0, 255)).all()


def test_equal_seeds_make_equal_composites():
    cutout = cut_out(photo(RED), square())
    first, second = (compose(photo(GREY), [cutout] * 3, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_the_largest_piece_is_cut_out_with_its_holes_filled():
    mask = square()
    mask[45:55, 60:70] = False
    mask[5:8, 5:8] = True
    cutout = cut_out(photo(RED), mask)
    assert cutout.alpha.shape == (50, 60)
    assert cutout.alpha[5:-5, 5:-5].min() == 1


@pytest.mark.parametrize("side", [0, 5])
def test_a_speck_is_no_object(side):
    mask = np.zeros((120, 160), bool)
    mask[:side, :side] = True
    assert cut_out(photo(RED), mask) is None


@pytest.mark.parametrize("size", [(9, 300), (300, 9), (8, 8)])
def test_fits_into_narrow_photos(size):
    cutout = cut_out(photo(RED), square())
    picture, masks = compose(photo(GREY, *size), [cutout] * 5, np.random.default_rng(0))
    assert picture.shape == (*size, 3)
    assert masks.shape == (5, *size)
