import math

import numpy as np
import pytest
import torch
from PIL import Image

from maskdistill.models.augment import (
    CropRecipe,
    crop_labels,
    crop_photo,
    draw_crop,
    fit_longer_side,
    fit_shorter_side,
    in_threads,
    normalise,
    resize_masks,
    sample_generators,
)


def recipe(height=8, width=12, mirror=False, angle=0.0, top=0.0, left=0.0):
    return CropRecipe(height, width, mirror, angle, top, left)


def random_labels(height=8, width=12, seed=0):
    return np.random.default_rng(seed).integers(0, 20, (height, width)).astype(np.uint8)


def slow_crop(labels, how, side):
    """Each pixel of the crop, one at a time, from the recipe's own words."""
    result = np.full((side, side), 255)
    angle = math.radians(how.angle)
    for row in range(side):
        for col in range(side):
            x, y = col + 0.5 + how.left - how.width / 2, row + 0.5 + how.top - how.height / 2
            # A picture turned clockwise (y points down) by the angle: look where the point came from.
            x, y = math.cos(angle) * x + math.sin(angle) * y, -math.sin(angle) * x + math.cos(angle) * y
            x = (-x if how.mirror else x) + how.width / 2
            y = y + how.height / 2
            i, j = math.floor(y * labels.shape[0] / how.height), math.floor(x * labels.shape[1] / how.width)
            if 0 <= i < labels.shape[0] and 0 <= j < labels.shape[1]:
                result[row, col] = labels[i, j]
    return result


@pytest.mark.parametrize(
    "how",
    [
        recipe(),
        recipe(mirror=True),
        recipe(top=2.3, left=-3.7),
        recipe(height=13, width=19, top=1.1, left=4.2),
        recipe(height=5, width=7, top=-2.6, left=-1.3),
        recipe(angle=4.9, top=-1.0),
        recipe(height=11, width=17, mirror=True, angle=-4.7, top=0.4, left=2.8),
    ],
)
def test_crop_of_labels_equals_a_slow_loop(how):
    labels = random_labels()
    np.testing.assert_array_equal(crop_labels(labels, how, 10).numpy(), slow_crop(labels, how, 10))


def test_positive_angles_turn_clockwise():
    labels = np.zeros((21, 21), np.uint8)
    labels[0:3, 9:12] = 1  # at the top
    turned = crop_labels(labels, recipe(21, 21, angle=45.0), 21).numpy()
    rows, cols = np.nonzero(turned == 1)
    assert rows.mean() < 7
    assert cols.mean() > 14  # at the top right


@pytest.mark.parametrize("seed", range(4))
def test_photo_and_labels_stay_on_top_of_each_other(seed):
    labels = np.zeros((48, 64), np.uint8)
    labels[10:30, 20:50] = 1
    image = Image.fromarray(np.repeat(labels[:, :, None] * 255, 3, axis=2))
    how = draw_crop(48, 64, 40, torch.Generator().manual_seed(seed))
    pixels, crop = crop_photo(image, how, 40), crop_labels(labels, how, 40)
    white = pixels.mean(dim=0) > normalise(Image.new("RGB", (1, 1), (128, 128, 128))).mean()
    differs = (white != (crop == 1)) & (crop != 255)
    assert (crop == 1).sum() > 60
    assert differs.sum() <= 12  # here and there along the edge, where the photo was scaled smoothly; a shift gives 20


def test_padding_is_ignored_and_near_zero():
    image = Image.fromarray(np.full((8, 12, 3), 255, np.uint8))
    how = recipe(top=-5.0, left=-3.0)
    pixels, labels = crop_photo(image, how, 16), crop_labels(random_labels(), how, 16)
    assert (labels[:5] == 255).all()
    assert (labels[:, :3] == 255).all()
    assert (labels[5:13, 3:15] != 255).all()
    assert pixels[:, labels == 255].abs().max() < 0.02  # the mean colour in whole grey levels
    assert pixels[:, labels != 255].min() > 2


def test_drawn_crops_are_within_the_published_bounds_and_use_all_of_them():
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_crop(300, 400, 512, generator) for _ in range(400)]
    scales = [how.width / 512 for how in drawn]
    assert 0.75 <= min(scales) < 0.76
    assert 1.24 < max(scales) <= 1.25
    assert all(abs(how.height / how.width - 0.75) < 0.01 for how in drawn)
    angles = [how.angle for how in drawn]
    assert -5 <= min(angles) < -4.9
    assert 4.9 < max(angles) <= 5
    assert 0.4 < np.mean([how.mirror for how in drawn]) < 0.6
    for how in drawn:  # inside where there is room, else all of the photo
        assert min(0, how.width - 512) <= how.left <= max(0, how.width - 512)
        assert min(0, how.height - 512) <= how.top <= max(0, how.height - 512)


def test_sizes_by_hand():
    assert fit_longer_side(375, 500, 512) == (384, 512)
    assert fit_longer_side(1000, 2, 64) == (64, 1)
    assert fit_shorter_side(375, 500, 800, 1333 / 800) == (800, 1067)
    assert fit_shorter_side(100, 1000, 800, 1333 / 800) == (133, 1333)


def test_normalise_by_hand():
    pixels = normalise(Image.new("RGB", (3, 2), (255, 0, 128)))
    assert pixels.shape == (3, 2, 3)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (128 / 255 - 0.406) / 0.225]
    assert pixels[:, 1, 2].tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [(5, 7), (16, 24), (8, 12), (3, 20)])
def test_resized_masks_equal_a_slow_loop(size):
    masks = np.random.default_rng(1).random((2, 8, 12)) < 0.5
    resized = resize_masks(masks, *size)
    for row in range(size[0]):
        for col in range(size[1]):
            i, j = math.floor((row + 0.5) * 8 / size[0]), math.floor((col + 0.5) * 12 / size[1])
            np.testing.assert_array_equal(resized[:, row, col], masks[:, i, j])
    assert resized.dtype == bool
    assert resize_masks(masks[:0], *size).shape == (0, *size)


def test_each_photo_of_a_batch_has_its_own_numbers():
    numbers = [
        [torch.rand(1, generator=own).item() for own in sample_generators(torch.Generator().manual_seed(seed), 3)]
        for seed in (0, 0, 1)
    ]
    assert numbers[0] == numbers[1]
    assert len({*numbers[0], *numbers[2]}) == 6


def test_threads_keep_the_order_and_pass_on_errors():
    assert in_threads(lambda item: item * 2, [3, 1, 2]) == [6, 2, 4]
    assert in_threads(len, []) == []
    with pytest.raises(ZeroDivisionError, match="division"):
        in_threads(lambda item: 1 / item, [1, 0])
