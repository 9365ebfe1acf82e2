"""Mending on a drawn photo: three coloured squares on a ground, whose patches point in directions of their own."""

import numpy as np
import pytest
from needs import needs_crf

from maskdistill.errors import ConfigError, ShapeError
from maskdistill.masks import mask_iou
from maskdistill.review.repair import Click, Mender

PATCH, ROWS, COLS = 8, 12, 16
SIZE = ROWS * PATCH, COLS * PATCH
COLOURS = np.array([[90, 140, 90], [220, 40, 40], [40, 40, 220], [220, 40, 40]], np.uint8)


def drawn():
    """(rows, cols) of patches: 0 ground, 1 and 3 alike but apart, 2 another."""
    kinds = np.zeros((ROWS, COLS), int)
    kinds[2:6, 2:6], kinds[2:6, 6:10], kinds[8:11, 11:15] = 1, 2, 3
    return kinds


def of(*numbers):
    return np.isin(drawn(), numbers).repeat(PATCH, axis=0).repeat(PATCH, axis=1)


def middle(number):
    rows, cols = np.nonzero(drawn() == number)
    return (cols.mean() + 0.5) * PATCH, (rows.mean() + 0.5) * PATCH


@pytest.fixture(scope="module")
def mender():
    directions = np.eye(8)[[0, 1, 2, 1]]
    tokens = directions[drawn()] + np.random.default_rng(0).normal(0, 0.05, (ROWS, COLS, 8))
    pixels = COLOURS[drawn()].repeat(PATCH, axis=0).repeat(PATCH, axis=1)
    return Mender(tokens.astype(np.float16), pixels)


def test_without_clicks_the_mask_comes_back_as_it_is(mender):
    mask = of(1)
    assert (mender.mend(mask, []) == mask).all()


def test_a_click_adds_what_is_like_it_there(mender):
    found = mender.mend(of(1), [Click(*middle(2), adds=True)])
    assert mask_iou(found, of(1, 2)) > 0.9


def test_a_click_takes_away_what_is_like_it_there(mender):
    found = mender.mend(of(1, 2), [Click(*middle(2), adds=False)])
    assert mask_iou(found, of(1)) > 0.9


def test_the_clicked_point_is_as_the_last_click_says(mender):
    for adds in (True, False):
        for number in range(4):
            x, y = middle(number) if number else (12.0, 80.0)
            assert mender.mend(of(1), [Click(x, y, adds)])[int(y), int(x)] == adds


def test_the_same_clicks_give_the_same_mask(mender):
    clicks = [Click(*middle(2), adds=True), Click(*middle(1), adds=False)]
    assert (mender.mend(of(1), clicks) == mender.mend(of(1), clicks)).all()


def test_undoing_the_last_click_gives_the_mask_before_it(mender):
    clicks = [Click(*middle(2), adds=True), Click(*middle(1), adds=False)]
    before = mender.mend(of(1), clicks[:1])
    mender.mend(of(1), clicks)
    assert (mender.mend(of(1), clicks[:1]) == before).all()


def test_what_comes_out_is_the_callers_own(mender):
    clicks = [Click(*middle(2), adds=True)]
    found = mender.mend(of(1), clicks)
    wanted, found[:] = found.copy(), False
    assert (mender.mend(of(1), clicks) == wanted).all()
    mask = of(1)
    mender.mend(mask, [])[:] = True
    assert (mender.mend(of(1), []) == of(1)).all()


def test_steps_that_are_forgotten_are_taken_again(mender):
    clicks = [Click(3.0 + 5 * place, 40.0, place % 2 == 0) for place in range(4)]
    found = mender.mend(of(1), clicks)
    for x in range(40):
        mender.mend(of(2), [Click(float(x), 90.0, adds=True)])
    assert (mender.mend(of(1), clicks) == found).all()


def test_a_click_near_the_border_changes_less_than_one_far_from_it():
    plain = Mender(np.ones((ROWS, COLS, 4)), np.full((*SIZE, 3), 90, np.uint8))  # nothing to see but the mask
    mask = np.zeros(SIZE, bool)
    mask[:, :40] = True
    near, far = (plain.mend(mask, [Click(x, 48, adds=True)]).sum() - mask.sum() for x in (44, 70))
    assert 0 < near < far / 4


def test_padded_tokens_are_left_out():
    padded = np.zeros((ROWS + 4, COLS, 8))
    padded[:ROWS] = np.eye(8)[[0, 1, 2, 1]][drawn()]
    pixels = COLOURS[drawn()].repeat(PATCH, axis=0).repeat(PATCH, axis=1)
    mender = Mender(padded, pixels, content=(ROWS / (ROWS + 4), 1.0))
    assert mask_iou(mender.mend(of(1), [Click(*middle(2), adds=True)]), of(1, 2)) > 0.9


def test_a_new_mask_is_the_object_under_the_click(mender):
    assert mask_iou(mender.new_mask(Click(*middle(2), adds=True)), of(2)) > 0.85


def test_a_mask_is_split_between_two_clicks(mender):
    one, other = mender.split(of(1, 2), Click(*middle(1), adds=True), Click(*middle(2), adds=True))
    assert not (one & other).any()
    assert ((one | other) == of(1, 2)).all()
    assert mask_iou(one, of(1)) > 0.9
    assert mask_iou(other, of(2)) > 0.9


def test_odd_input_is_refused(mender):
    with pytest.raises(ConfigError, match="128 x 96"):
        mender.mend(of(1), [Click(500, 3, adds=True)])
    with pytest.raises(ShapeError, match=r"\(96, 128\)"):
        mender.mend(np.zeros((3, 3), bool), [])
    with pytest.raises(ShapeError, match="tokens"):
        Mender(np.zeros((3, 4)), np.zeros((6, 8, 3), np.uint8))
    with pytest.raises(ShapeError, match="photo"):
        Mender(np.zeros((3, 4, 2)), np.zeros((6, 8), np.uint8))


def test_only_the_part_around_the_click_changes_unless_it_is_everywhere():
    directions = np.eye(8)[[0, 1, 2, 1]][drawn()]
    pixels = COLOURS[drawn()].repeat(PATCH, axis=0).repeat(PATCH, axis=1)
    mender, (x, y), nothing = Mender(directions, pixels), middle(1), np.zeros(SIZE, bool)
    assert not (mender.mend(nothing, [Click(x, y, adds=True)]) & of(3)).any()
    assert not (mender.mend(of(1, 3), [Click(x, y, adds=False)]) & of(1)).all()


@needs_crf
def test_the_crf_may_sharpen_what_changes(mender):
    found = mender.mend(of(1), [Click(*middle(2), adds=True)], crf=True)
    assert mask_iou(found, of(1, 2)) > 0.95
