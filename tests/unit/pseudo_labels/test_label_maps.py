import itertools

import numpy as np
import pytest
from PIL import Image

from maskdistill.config import LabelConfig
from maskdistill.datasets.label_files import palette
from maskdistill.errors import ConfigError, RunError, ShapeError
from maskdistill.pseudo_labels.label_maps import edge_band, paint_labels, read_label_png, write_label_png

PLAIN = LabelConfig(ignore_dropped=False)
SHAPE = (12, 16)


def box(top, left, bottom, right, shape=SHAPE):
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def random_masks(seed, count=6):
    generator = np.random.default_rng(seed)
    corners = np.sort(generator.integers(0, 13, (count, 2, 2)), axis=1)
    masks = [box(*corner.ravel()) for corner in corners]
    labels = generator.integers(1, 5, count)
    return masks, labels, generator.integers(0, 4, count) / 4, generator.random(count) < 0.6


def slow_labels(masks, labels, confidences, kept, config, probability):
    """The rules, pixel by pixel."""
    height, width = SHAPE
    painted = np.zeros(SHAPE, int)
    for row, col in itertools.product(range(height), range(width)):
        here = [i for i in range(len(masks)) if kept[i] and masks[i][row, col]]
        if here:
            painted[row, col] = labels[max(here, key=lambda i: (confidences[i], -i))]
    result = painted.copy()
    for row, col in itertools.product(range(height), range(width)):
        dropped = any(masks[i][row, col] and not kept[i] for i in range(len(masks)))
        if config.ignore_dropped and dropped and painted[row, col] == 0:
            result[row, col] = 255
        reach = range(-config.border_band, config.border_band + 1)
        around = [(row + down, col + right) for down in reach for right in reach]
        around = [painted[spot] for spot in around if 0 <= spot[0] < height and 0 <= spot[1] < width]
        if len(set(around)) > 1 or probability[row, col] < config.min_probability:
            result[row, col] = 255
    return result


@pytest.mark.parametrize("seed", range(12))
def test_painting_equals_slow_loops(seed):
    masks, labels, confidences, kept = random_masks(seed)
    probability = np.random.default_rng(seed).random(SHAPE, np.float32)
    config = LabelConfig(ignore_dropped=seed % 2 == 0, border_band=seed % 3, min_probability=(seed % 4) / 5)
    painted = paint_labels(SHAPE, masks, labels, confidences, kept, config, probability)
    assert painted.dtype == np.uint8
    np.testing.assert_array_equal(painted, slow_labels(masks, labels, confidences, kept, config, probability))


@pytest.mark.parametrize("better", [0, 1])
def test_worse_mask_never_overwrites_a_better_one(better):
    """The known mistake of public implementations: docs/method.md."""
    masks = [box(0, 0, 8, 8), box(4, 4, 12, 12)]
    confidences = [0.2, 0.2]
    confidences[better] = 0.9
    painted = paint_labels(SHAPE, masks, [3, 4], confidences, [True, True], PLAIN)
    assert (painted[masks[better]] == (3, 4)[better]).all()
    assert (painted[masks[1 - better] & ~masks[better]] == (4, 3)[better]).all()
    assert (painted[~masks[0] & ~masks[1]] == 0).all()


def test_equal_confidence_goes_to_the_first_and_nan_to_the_bottom():
    everywhere = np.ones(SHAPE, bool)
    assert (paint_labels(SHAPE, [everywhere] * 2, [5, 6], [0.5, 0.5], [True] * 2, PLAIN) == 5).all()
    assert (paint_labels(SHAPE, [everywhere] * 2, [5, 6], [np.nan, 0.0], [True] * 2, PLAIN) == 6).all()


def test_dropped_mask_is_uncertain_only_where_no_kept_one_lies():
    masks = [box(0, 0, 6, 6), box(0, 0, 12, 12)]
    painted = paint_labels(SHAPE, masks, [1, 2], [0.1, 0.9], [True, False], LabelConfig())
    assert (painted[masks[0]] == 1).all()
    assert (painted[masks[1] & ~masks[0]] == 255).all()
    assert (painted[~masks[1]] == 0).all()
    assert (paint_labels(SHAPE, masks, [1, 2], [0.1, 0.9], [True, False], PLAIN)[~masks[0]] == 0).all()


@pytest.mark.parametrize("masks", [[], np.zeros((0, *SHAPE), bool)], ids=["list", "array"])
def test_photo_without_masks_is_background(masks):
    painted = paint_labels(SHAPE, masks, [], [], [], LabelConfig(border_band=2))
    assert painted.shape == SHAPE
    assert not painted.any()


def test_band_lies_on_both_sides_and_not_along_the_photo_border():
    painted = paint_labels(SHAPE, [box(0, 0, 12, 8)], [7], [1.0], [True], LabelConfig(border_band=2))
    np.testing.assert_array_equal(painted, np.tile([7] * 6 + [255] * 4 + [0] * 6, (12, 1)))


def test_no_band_between_masks_of_one_label_or_around_a_dropped_one():
    masks = [box(0, 0, 12, 8), box(0, 8, 12, 16)]
    config = LabelConfig(border_band=1, ignore_dropped=True)
    assert (paint_labels(SHAPE, masks, [2, 2], [0.5, 0.6], [True, True], config) == 2).all()
    dropped = paint_labels(SHAPE, masks[:1], [2], [0.5], [False], config)
    np.testing.assert_array_equal(dropped, np.where(masks[0], 255, 0))


def test_edge_of_a_hidden_mask_leaves_no_band():
    masks = [box(4, 4, 8, 8), np.ones(SHAPE, bool)]
    painted = paint_labels(SHAPE, masks, [1, 2], [0.1, 0.9], [True, True], LabelConfig(border_band=1))
    assert (painted == 2).all()


def test_edge_band_of_one_pixel_map():
    assert not edge_band(np.array([[3]], np.uint8), 2).any()


def test_pixels_below_the_probability_become_uncertain_and_equal_or_nan_ones_stay():
    probability = np.full(SHAPE, 0.6, np.float32)
    probability[0, 0], probability[0, 1] = 0.59, np.nan
    config = LabelConfig(min_probability=0.6)
    painted = paint_labels(SHAPE, [box(0, 0, 6, 6)], [1], [1.0], [True], config, probability)
    assert painted[0, 0] == 255
    assert painted[0, 1] == 1
    assert (painted == 255).sum() == 1


def test_min_probability_needs_probabilities():
    with pytest.raises(ConfigError, match="labels.min_probability needs the probabilities of stage 1"):
        paint_labels(SHAPE, [], [], [], [], LabelConfig(min_probability=0.5))


@pytest.mark.parametrize("label", [0, -1, 255, 256, 1.5])
def test_labels_that_mean_something_else_are_refused(label):
    with pytest.raises(ConfigError, match=f"label must be 1 to 254, got {label}"):
        paint_labels(SHAPE, [box(0, 0, 2, 2)], [label], [1.0], [True], PLAIN)


def test_label_254_is_the_last():
    assert paint_labels(SHAPE, [np.ones(SHAPE, bool)], [254], [1.0], [True], PLAIN).min() == 254


def test_wrong_shapes_are_named():
    mask = box(0, 0, 2, 2)
    with pytest.raises(ShapeError, match=r"kept must have shape \(1,\), one for each mask, got \(2,\)"):
        paint_labels(SHAPE, [mask], [1], [1.0], [True, True], PLAIN)
    with pytest.raises(ShapeError, match=r"masks\[1\] must have shape \(12, 16\) of bool, got \(16, 12, 'bool'\)"):
        paint_labels(SHAPE, [mask, mask.T], [1, 1], [1.0, 1.0], [True, True], PLAIN)
    with pytest.raises(ShapeError, match=r"masks\[0\] .* got \(12, 16, 'uint8'\)"):
        paint_labels(SHAPE, [mask.astype(np.uint8)], [1], [1.0], [True], PLAIN)
    with pytest.raises(ShapeError, match=r"probability must have shape \(12, 16\), got \(16, 12\)"):
        paint_labels(SHAPE, [mask], [1], [1.0], [True], PLAIN, np.ones((16, 12)))


def slow_colour(label):
    """VOC's formula, bit by bit."""
    colour = [0, 0, 0]
    for shift in range(7, -1, -1):
        for channel in range(3):
            colour[channel] |= (label >> channel & 1) << shift
        label >>= 3
    return colour


def test_palette_is_that_of_voc():
    colours = palette()
    assert colours.shape == (256, 3)
    assert colours.dtype == np.uint8
    assert colours.tolist() == [slow_colour(label) for label in range(256)]
    # aeroplane, bird, person and the void, as VOC's own pictures show them
    assert [colours[label].tolist() for label in (1, 3, 15, 255)] == [
        [128, 0, 0],
        [128, 128, 0],
        [192, 128, 128],
        [224, 224, 192],
    ]


@pytest.mark.parametrize(
    "labels",
    [
        np.arange(256, dtype=np.uint8).reshape(8, 32),
        np.array([[0, 1]], np.uint8),
        np.zeros((1, 1), np.uint8),
        np.full((3, 5), 255, np.int64),
        np.random.default_rng(0).integers(0, 3, (20, 30), np.uint8)[::2, ::-3].T,
    ],
    ids=["all values", "two values", "one pixel", "int64", "a view"],
)
def test_values_survive_the_file(tmp_path, labels):
    path = tmp_path / "new folder" / "photo.png"
    write_label_png(path, labels)
    back = read_label_png(path)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, labels)
    assert [file.name for file in path.parent.iterdir()] == ["photo.png"]
    with Image.open(path) as image:
        assert (image.mode, image.format) == ("P", "PNG")
        np.testing.assert_array_equal(np.array(image.convert("RGB")), palette()[labels])


@pytest.mark.parametrize(
    "labels", [np.array([[300]]), np.array([[-1]]), np.array([[1.0]]), np.array([[True]])], ids=lambda a: str(a.dtype)
)
def test_values_that_would_change_are_refused(tmp_path, labels):
    with pytest.raises(ConfigError, match="holds integers from 0 to 255, got"):
        write_label_png(tmp_path / "a.png", labels)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(2, 3, 3), (0, 4), (4,)])
def test_only_a_map_of_pixels_is_written(tmp_path, shape):
    with pytest.raises(ShapeError, match=r"labels must have shape \(H, W\)"):
        write_label_png(tmp_path / "a.png", np.zeros(shape, np.uint8))


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write_label_png(path, np.ones((2, 2), np.uint8))

    def half(image, target, **options):
        target.write_bytes(b"\x89PNG")
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(OSError, match="No space left"):
        write_label_png(path, np.zeros((2, 2), np.uint8))
    assert read_label_png(path).tolist() == [[1, 1], [1, 1]]
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("size", [0, 7, 30, 850])
def test_cut_off_file_is_named(tmp_path, size):
    path = tmp_path / "a.png"
    write_label_png(path, np.random.default_rng(0).integers(0, 256, (20, 20), np.uint8))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(RunError, match=r"a\.png is damaged"):
        read_label_png(path)


def test_missing_file_and_picture_in_colours_are_named(tmp_path):
    with pytest.raises(RunError, match=r"No a\.png"):
        read_label_png(tmp_path / "a.png")
    Image.new("RGB", (2, 2)).save(tmp_path / "b.png")
    with pytest.raises(RunError, match="PNG of mode RGB, wanted a palette PNG"):
        read_label_png(tmp_path / "b.png")
