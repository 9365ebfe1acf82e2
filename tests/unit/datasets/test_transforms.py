import numpy as np
import pytest
import torch
from PIL import Image

from maskdistill.datasets.transforms import (
    crop_to_pixels,
    patch_grid,
    patches_to_pixels,
    pixel_to_patch,
    pixels_to_patches,
    to_pixels,
)
from maskdistill.errors import ConfigError, ShapeError

MODES = ["resize", "pad"]
PLAIN = {"mean": (0, 0, 0), "std": (1, 1, 1)}


def test_resize_takes_the_nearest_whole_patches():
    geometry = patch_grid(375, 500, shorter_side=224, patch_size=16, mode="resize")
    assert (geometry.rows, geometry.cols) == (14, 19)  # 500 * 224 / 375 / 16 = 18.67
    assert (geometry.resized_height, geometry.resized_width) == (224, 304)


def test_pad_keeps_the_aspect():
    geometry = patch_grid(375, 500, shorter_side=230, patch_size=16, mode="pad")
    assert (geometry.resized_height, geometry.resized_width) == (230, 307)
    assert (geometry.rows, geometry.cols) == (15, 20)
    assert (geometry.padded_height, geometry.padded_width) == (240, 320)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("height", "width"), [(10, 10_000), (10_000, 10), (1, 1), (100, 401)])
def test_elongated_photo_keeps_a_bounded_grid(mode, height, width):
    geometry = patch_grid(height, width, shorter_side=64, patch_size=16, mode=mode)
    assert min(geometry.rows, geometry.cols) >= 1
    assert max(geometry.resized_height, geometry.resized_width) <= 4 * 64
    assert geometry.rows * geometry.cols <= 4 * 4 * 4


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("height", "width"), [(60, 64), (37, 83), (120, 45), (7, 9)])
def test_mask_goes_to_pixels_and_back(mode, height, width):
    geometry = patch_grid(height, width, shorter_side=40, patch_size=8, mode=mode)
    ids = np.arange(geometry.rows * geometry.cols).reshape(geometry.rows, geometry.cols)
    found = patches_to_pixels(ids, geometry, smooth=False)
    assert found.shape == (height, width)
    for y in range(height):
        for x in range(width):
            assert found[y, x] == ids[pixel_to_patch((x + 0.5) / width, (y + 0.5) / height, geometry)]


@pytest.mark.parametrize("mode", MODES)
def test_patch_is_the_part_of_the_photo_that_it_sees(mode):
    geometry = patch_grid(48, 80, shorter_side=52, patch_size=8, mode=mode)
    mask = np.zeros((geometry.rows, geometry.cols), bool)
    mask[2:4, 1:5] = True
    photo = Image.fromarray(patches_to_pixels(mask, geometry, smooth=False)).convert("RGB")
    seen = to_pixels(photo, geometry, **PLAIN)[0]
    patches = seen.reshape(geometry.rows, 8, geometry.cols, 8).mean(dim=(1, 3)).numpy()
    np.testing.assert_array_equal(patches > 0.5, mask)


def test_mask_stays_bool_and_ids_keep_their_type():
    geometry = patch_grid(30, 40, shorter_side=24, patch_size=8, mode="resize")
    for kind in (bool, np.uint8, np.int64):
        assert patches_to_pixels(np.ones((3, 4), kind), geometry, smooth=False).dtype == kind


@pytest.mark.parametrize("mode", MODES)
def test_smooth_map_is_bilinear_between_patch_centres(mode):
    geometry = patch_grid(30, 43, shorter_side=20, patch_size=8, mode=mode)
    values = np.random.default_rng(0).random((geometry.rows, geometry.cols)).astype(np.float32)
    found = patches_to_pixels(values, geometry, smooth=True)
    assert found.dtype == np.float32
    for y, x in [(0, 0), (14, 20), (29, 42), (7, 33)]:
        row = np.clip((y + 0.5) / 30 * geometry.resized_height / 8 - 0.5, 0, geometry.rows - 1)
        col = np.clip((x + 0.5) / 43 * geometry.resized_width / 8 - 0.5, 0, geometry.cols - 1)
        top, left = int(row), int(col)
        below, right = min(top + 1, geometry.rows - 1), min(left + 1, geometry.cols - 1)
        upper = values[top, left] * (1 - col + left) + values[top, right] * (col - left)
        lower = values[below, left] * (1 - col + left) + values[below, right] * (col - left)
        assert found[y, x] == pytest.approx(upper * (1 - row + top) + lower * (row - top), abs=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_finer_map_repeating_each_patch_lands_on_the_same_pixels(mode):
    geometry = patch_grid(37, 83, shorter_side=40, patch_size=8, mode=mode)
    ids = np.arange(geometry.rows * geometry.cols).reshape(geometry.rows, geometry.cols)
    finer = ids.repeat(3, axis=0).repeat(3, axis=1)
    wanted = patches_to_pixels(ids, geometry, smooth=False)
    np.testing.assert_array_equal(patches_to_pixels(finer, geometry, smooth=False), wanted)


def test_padding_is_zero_after_normalisation():
    geometry = patch_grid(20, 30, shorter_side=20, patch_size=16, mode="pad")
    image = Image.new("RGB", (30, 20), (255, 0, 51))
    pixels = to_pixels(image, geometry, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 0.1))
    assert pixels.shape == (3, 32, 32)
    assert pixels.dtype == torch.float32
    torch.testing.assert_close(pixels[:, 19, 29], torch.tensor([1.0, -2.0, -3.0]))
    assert not pixels[:, 20:].any()
    assert not pixels[:, :, 30:].any()


@pytest.mark.parametrize("mode", MODES)
def test_mirror_swaps_the_content_only(mode):
    geometry = patch_grid(20, 30, shorter_side=20, patch_size=16, mode=mode)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
    plain, mirrored = (to_pixels(image, geometry, **PLAIN, mirror=mirror) for mirror in (False, True))
    width = geometry.resized_width
    torch.testing.assert_close(mirrored[:, :, :width], plain[:, :, :width].flip(-1))
    assert not mirrored[:, :, width:].any()


def slow_means(values, num_cells):
    """Mean of the pixels whose centre lies in each cell, for cells no smaller than a pixel."""
    height, width = values.shape
    means = np.zeros(num_cells)
    for row, col in np.ndindex(num_cells):
        inside = [
            values[y, x]
            for y in range(height)
            for x in range(width)
            if row * height < (y + 0.5) * num_cells[0] <= (row + 1) * height
            and col * width < (x + 0.5) * num_cells[1] <= (col + 1) * width
        ]
        means[row, col] = np.mean(inside)
    return means


@pytest.mark.parametrize(("height", "width"), [(24, 48), (37, 83), (60, 64), (61, 45)])
def test_pixels_to_patches_equals_a_loop(height, width):
    geometry = patch_grid(height, width, shorter_side=24, patch_size=8, mode="resize")
    values = np.random.default_rng(0).random((height, width)).astype(np.float32)
    found = pixels_to_patches(values, geometry)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, slow_means(values, (geometry.rows, geometry.cols)), atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(26, 42), (31, 53), (60, 40)])
def test_pixels_to_patches_counts_padding_as_zero(height, width):
    geometry = patch_grid(height, width, shorter_side=13, patch_size=8, mode="pad")
    assert (geometry.resized_height, geometry.resized_width) != (geometry.padded_height, geometry.padded_width)
    values = np.random.default_rng(0).random((height, width)).astype(np.float32)
    content = slow_means(values, (geometry.resized_height, geometry.resized_width))
    padded = np.zeros((geometry.padded_height, geometry.padded_width))
    padded[: geometry.resized_height, : geometry.resized_width] = content
    wanted = np.zeros((geometry.rows, geometry.cols))
    for y, x in np.ndindex(padded.shape):
        wanted[y // 8, x // 8] += padded[y, x] / 64
    np.testing.assert_allclose(pixels_to_patches(values, geometry), wanted, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("height", "width"), [(60, 64), (37, 83), (120, 45), (7, 9)])
def test_mask_of_patches_comes_back_from_pixels(mode, height, width):
    geometry = patch_grid(height, width, shorter_side=16, patch_size=8, mode=mode)
    mask = np.random.default_rng(0).random((geometry.rows, geometry.cols)) < 0.5
    found = pixels_to_patches(patches_to_pixels(mask, geometry, smooth=False), geometry)
    content = pixels_to_patches(np.ones((height, width), bool), geometry)
    np.testing.assert_array_equal(found > content / 2, mask)
    assert 0 <= found.min() <= found.max() <= 1 + 1e-6


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float64])
def test_pixels_to_patches_takes_any_real_type_and_views(kind):
    geometry = patch_grid(16, 24, shorter_side=16, patch_size=8, mode="resize")
    values = np.zeros((24, 16), kind).T
    values[:8, 20:] = 1
    np.testing.assert_allclose(pixels_to_patches(values, geometry), [[0, 0, 0.5], [0, 0, 0]])


def test_crop_is_the_part_of_the_photo_stretched_to_a_square():
    colours = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8)
    image = Image.fromarray(colours)
    found = crop_to_pixels(image, (2, 1, 6, 5), 4, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 1.0))
    assert found.shape == (3, 4, 4)
    assert found.dtype == torch.float32
    wanted = (colours[1:5, 2:6] / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.25, 1.0]
    np.testing.assert_allclose(found.permute(1, 2, 0), wanted, atol=1e-5)


@pytest.mark.parametrize("box", [(10, 12, 70, 24), (20, 5, 24, 55), (10.5, 4.25, 50, 40)])
def test_crop_does_not_keep_the_aspect(box):
    y, x = np.mgrid[:60, :90]
    image = Image.fromarray(np.stack([2 * x, 3 * y, 0 * x], axis=-1).astype(np.uint8))
    found = crop_to_pixels(image, box, 8, **PLAIN)
    left, top, right, bottom = box
    steps = (np.arange(8) + 0.5) / 8
    across, down = left + (right - left) * steps - 0.5, top + (bottom - top) * steps - 0.5
    np.testing.assert_allclose(found[0].mean(dim=0), 2 * across / 255, atol=2 / 255)
    np.testing.assert_allclose(found[1].mean(dim=1), 3 * down / 255, atol=2 / 255)


def test_crop_between_pixels_is_smooth_in_its_box():
    ramp = np.repeat(np.arange(0, 250, 5, np.uint8)[None, :, None], 20, axis=0).repeat(3, axis=2)
    found = crop_to_pixels(Image.fromarray(ramp), (10.25, 3.5, 26.25, 11.5), 16, **PLAIN)
    wanted = (10.25 + np.arange(16)) * 5 / 255  # the pixel-area convention: the centre of pixel i is at i + 0.5
    np.testing.assert_allclose(found[0, 8], wanted, atol=1 / 255)


def test_large_crop_is_antialiased():
    stripes = np.zeros((240, 240, 3), np.uint8)
    stripes[:, ::2] = 255
    found = crop_to_pixels(Image.fromarray(stripes), (0, 0, 240, 240), 8, **PLAIN)
    np.testing.assert_allclose(found, 0.5, atol=0.02)


def test_click_outside_is_taken_to_the_border():
    geometry = patch_grid(20, 30, shorter_side=20, patch_size=16, mode="pad")
    assert pixel_to_patch(-1, -1, geometry) == (0, 0)
    assert pixel_to_patch(1, 1, geometry) == (1, 1)
    assert pixel_to_patch(9, 0, geometry) == (0, 1)


def test_wrong_input_is_refused():
    geometry = patch_grid(20, 30, shorter_side=32, patch_size=16, mode="resize")
    with pytest.raises(ShapeError, match=r"values must have shape \(k \* 2, k \* 3\), got \(3, 2\)"):
        patches_to_pixels(np.zeros((3, 2)), geometry, smooth=False)
    with pytest.raises(ShapeError, match=r"values must have shape \(20, 30\), got \(30, 20\)"):
        pixels_to_patches(np.zeros((30, 20)), geometry)
    with pytest.raises(ConfigError, match="Only float maps can be smoothed, got bool"):
        patches_to_pixels(np.zeros((2, 3), bool), geometry, smooth=True)
    with pytest.raises(ShapeError, match="mode RGB"):
        to_pixels(Image.new("L", (30, 20)), geometry, **PLAIN)
    with pytest.raises(ConfigError, match="'resize' or 'pad', got 'crop'"):
        patch_grid(20, 30, shorter_side=32, patch_size=16, mode="crop")
    with pytest.raises(ConfigError, match="patch_size=0"):
        patch_grid(20, 30, shorter_side=32, patch_size=0, mode="pad")
