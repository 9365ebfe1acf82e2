"""Closer looks: which part of the photo, and an outline that follows what is seen there."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from maskdistill.features.forward import Features
from maskdistill.masks import mask_iou
from maskdistill.proposals.zoom import CROP_PATCHES, MOST_AREA, Zoom, crop_box, fine_grid, redraw

GRID = (48, 64)


class Colours:
    """A transformer whose token of a patch is its mean colour."""

    patch_size, mean, std = 4, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def __init__(self):
        self.passes = []

    def forward(self, pixels, request):
        self.passes.append(len(pixels))
        means = torch.nn.functional.avg_pool2d(pixels, self.patch_size)
        tokens = [item.flatten(1).T for item in means]
        return [Features(tuple(means.shape[2:]), dict.fromkeys(request.token_blocks, item)) for item in tokens]


def signed(*box, grid=GRID):
    values = np.full(grid, -1, np.float32)
    top, left, rows, cols = box
    values[top : top + rows, left : left + cols] = 1
    return values


def soft(values, width):
    """A candidate is unsure near its outline."""
    return gaussian_filter(values, width)


def disc(left=300, top=200, side=70):
    """A photo of a bright disc, and where the disc is."""
    image, truth = Image.new("RGB", (640, 480), (30, 60, 200)), Image.new("1", (640, 480))
    for picture, fill in ((image, (230, 120, 20)), (truth, 1)):
        ImageDraw.Draw(picture).ellipse((left, top, left + side, top + side), fill=fill)
    return image, np.asarray(truth)


def as_pixels(values):
    return np.asarray(Image.fromarray(values).resize((640, 480), Image.Resampling.BILINEAR)) > 0


class TestBox:
    @pytest.mark.parametrize("place", [(20, 30, 4, 3), (0, 0, 5, 9), (44, 60, 4, 4), (10, 0, 2, 20)])
    def test_it_holds_the_mask_and_lies_in_the_photo(self, place):
        left, top, right, bottom = crop_box(signed(*place) > 0)
        rows, cols = GRID
        assert 0 <= left <= place[1] / cols
        assert 0 <= top <= place[0] / rows
        assert (place[1] + place[3]) / cols <= right <= 1
        assert (place[0] + place[2]) / rows <= bottom <= 1
        assert (right - left) * (bottom - top) <= MOST_AREA

    def test_it_is_a_square_of_pixels_where_there_is_room(self):
        left, top, right, bottom = crop_box(signed(20, 30, 8, 3) > 0)
        assert (right - left) * GRID[1] == pytest.approx((bottom - top) * GRID[0])

    @pytest.mark.parametrize("place", [(0, 0, 0, 0), (2, 2, 44, 60)])
    def test_none_where_nothing_more_is_to_be_seen(self, place):
        assert crop_box(signed(*place) > 0) is None


@pytest.mark.parametrize("box", [(0.25, 0.25, 0.5, 0.583), (0.0, 0.0, 0.31, 0.4), (0.7, 0.61, 1.0, 1.0)])
def test_what_the_crop_shows_comes_to_its_place_in_the_photo(box):
    patches = np.zeros((CROP_PATCHES, CROP_PATCHES, 2), np.float32)
    patches[..., 0] = 1
    patches[4:12, 4:12] = (0, 1)  # the middle of the crop, whatever the candidate says
    rows, cols = fine_grid(GRID)
    (left, top, right, bottom), wanted = box, np.zeros((rows, cols), bool)
    width, height = right - left, bottom - top
    wanted[
        round((top + height / 4) * rows) : round((top + height * 3 / 4) * rows),
        round((left + width / 4) * cols) : round((left + width * 3 / 4) * cols),
    ] = True
    rough = soft(np.where(np.roll(wanted, (2, -2), (0, 1)), np.float32(1), np.float32(-1)), 8)
    drawn = redraw(rough, box, patches.reshape(-1, 2)) > 0
    assert mask_iou(drawn, wanted) > max(0.9, mask_iou(rough > 0, wanted))


def test_a_rough_candidate_gets_the_outline_of_the_object():
    image, truth = disc()
    rough = soft(signed(19, 29, 8, 10), 2)
    (drawn,) = Zoom(Colours(), (1, 2), 5).refine(image, rough[None])
    assert drawn.shape == fine_grid(GRID)
    assert mask_iou(as_pixels(drawn), truth) > mask_iou(as_pixels(rough), truth) + 0.1


def test_only_the_first_are_looked_at_and_no_more_at_once_than_memory_allows():
    image, _ = disc()
    values = np.array([signed(3 * place, 5 * place, 4, 4) for place in range(12)])
    backbone = Colours()
    drawn = Zoom(backbone, (1,), 10).refine(image, values)
    assert backbone.passes == [8, 2]
    plain = Zoom(backbone, (1,), 0).refine(image, values)
    changed = [bool((one != other).any()) for one, other in zip(drawn, plain, strict=True)]
    assert changed == [True] * 10 + [False] * 2


def test_large_empty_and_no_candidates_are_left_as_they_are():
    image, _ = disc()
    backbone = Colours()
    values = np.array([signed(0, 0, 48, 64), signed(0, 0, 0, 0)])
    assert Zoom(backbone, (1,), 10).refine(image, values).shape == (2, *fine_grid(GRID))
    assert Zoom(backbone, (1,), 10).refine(image, values[:0]).shape == (0, *fine_grid(GRID))
    assert backbone.passes == []
