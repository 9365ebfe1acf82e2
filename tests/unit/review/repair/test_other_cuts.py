"""Cuts with other thresholds, on a drawn photo: an object of two halves that are alike, on a ground that is not."""

import numpy as np
import pytest

from maskdistill.config import ProposalConfig
from maskdistill.errors import ShapeError
from maskdistill.masks import mask_iou
from maskdistill.review.repair import other_cuts

ROWS, COLS, PATCH = 12, 16, 8


def kinds():
    found = np.zeros((ROWS, COLS), int)
    found[3:9, 3:8], found[3:9, 8:13] = 1, 2
    return found


def of(*numbers):
    return np.isin(kinds(), numbers).repeat(PATCH, axis=0).repeat(PATCH, axis=1)


@pytest.fixture(scope="module")
def tokens():
    """The halves have a cosine of 0.3 with each other, of 0 with the ground."""
    directions = np.array([[1, 0, 0], [0, 1, 0], [0, 0.3, 0.91**0.5]], np.float32)
    found = directions[kinds()] + np.random.default_rng(0).normal(0, 0.02, (ROWS, COLS, 3)).astype(np.float32)
    return found / np.linalg.norm(found, axis=2, keepdims=True)


def test_a_lower_threshold_finds_the_whole_object_and_a_higher_one_its_half(tokens):
    config = ProposalConfig(tau=0.3, refine_steps=0)
    whole, half = other_cuts(tokens, of(1), config, away=(-0.2, 0.3))
    assert mask_iou(whole, of(1, 2)) > 0.9
    assert max(mask_iou(half, of(1)), mask_iou(half, of(1, 2))) > 0.9


def test_the_side_is_that_of_the_mask_whatever_the_rule_says(tokens):
    for foreground in ("largest", "border"):
        config = ProposalConfig(foreground=foreground)
        (found,) = other_cuts(tokens, of(0), config, away=(-0.1,))
        assert mask_iou(found, of(0)) > 0.8


def test_shapes_are_of_the_photos_size_whatever_its_patches(tokens):
    mask = np.zeros((61, 83), bool)
    mask[10:30, 20:50] = True
    assert [found.shape for found in other_cuts(tokens, mask, ProposalConfig())] == [mask.shape] * 2


def test_a_photo_of_few_patches_has_none(tokens):
    assert list(other_cuts(tokens[:1, :2], of(1), ProposalConfig())) == []


def test_tokens_that_are_no_grid_are_refused(tokens):
    with pytest.raises(ShapeError, match="rows, cols, C"):
        next(other_cuts(tokens.reshape(-1, 3), of(1), ProposalConfig()))
