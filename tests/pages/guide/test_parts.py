"""Pieces of the guide that need no page."""

import re

import numpy as np
import pytest
from PIL import Image

from maskdistill.handouts.guide_texts import STEPS
from maskdistill.handouts.photo_on_run import resize_mask
from maskdistill.pictures import overlays
from maskdistill.pictures.colors import label_colors, rgb

BLUE = "#3FC8E4"


def rgba(layer):
    return np.asarray(layer.convert("RGBA"))


@pytest.fixture
def disc():
    rows, cols = np.indices((120, 200))
    return (rows - 60) ** 2 + (cols - 80) ** 2 < 40**2


def test_a_mask_is_tinted_inside_and_its_rim_is_full(disc):
    pixels = rgba(overlays.mask_layer(disc, BLUE))
    assert (pixels[~disc][:, 3] == 0).all()
    assert pixels[60, 80].tolist() == [*rgb(BLUE), overlays.FILL]
    assert pixels[60, 41, 3] == 255
    assert set(pixels[disc][:, 3]) == {overlays.FILL, 255}


def test_a_dropped_mask_is_a_broken_rim_alone(disc):
    whole, dropped = (rgba(overlays.mask_layer(disc, BLUE, dropped=out))[..., 3] == 255 for out in (False, True))
    assert (dropped <= whole).all()
    assert 0.3 < dropped.sum() / whole.sum() < 0.7
    assert rgba(overlays.mask_layer(disc, BLUE, dropped=True))[60, 80, 3] == 0


def test_a_label_is_fainter_where_the_model_is_less_sure():
    pixel_by_pixel = [[0.9, 0.1, 0, 0], [0, 0, 1, 0], [0.1, 0.3, 0.4, 0.2], [0, 0.9, 0, 0.1]]
    probabilities = np.array(pixel_by_pixel, np.float32).T[:, None]
    pixels = rgba(overlays.confidence_layer(probabilities))[0]
    assert pixels[0, 3] == 0  # background
    assert pixels[1, :3].tolist() == pixels[2, :3].tolist() == list(label_colors()[2])
    assert pixels[3, :3].tolist() == list(label_colors()[1])
    assert pixels[1, 3] > pixels[3, 3] - 1 >= pixels[2, 3]


def test_very_many_classes_still_fit_into_a_palette():
    probabilities = np.eye(201, dtype=np.float32).reshape(201, 1, 201)
    pixels = rgba(overlays.confidence_layer(probabilities))[0]
    assert [tuple(pixel[:3]) for pixel in pixels[1:]] == list(label_colors()[1:201])
    assert (pixels[1:, 3] > 0).all()


def test_a_label_map_shows_the_photo_through():
    pixels = rgba(overlays.class_layer(np.array([[0, 1, 200]], np.uint8)))[0]
    assert pixels[0, 3] == 0
    assert pixels[2, :3].tolist() == list(label_colors()[200])
    assert 0 < pixels[1, 3] < 255


def test_words_about_a_mask_stand_inside_it():
    mask = np.zeros((100, 100), bool)
    mask[10:90, 10:14] = True  # a stroke whose middle of all pixels would lie outside
    mask[70:90, 10:90] = True
    u, v = overlays.anchor_of(mask)
    assert mask[int(v * 100), int(u * 100)]
    assert v > 0.7


def test_a_crop_holds_the_mask_with_its_rim(disc):
    photo = Image.new("RGB", (200, 120), "black")
    crop = overlays.crop_with_outline(photo, disc, BLUE, 300)
    assert max(crop.size) == 300
    assert abs(crop.width - crop.height) < 10  # the disc's box with its margin
    assert np.asarray(crop).max(axis=(0, 1)).tolist() == list(rgb(BLUE))


def test_a_crop_stays_inside_the_photo():
    mask = np.ones((30, 50), bool)
    assert overlays.crop_with_outline(Image.new("RGB", (50, 30)), mask, BLUE, 100).size == (100, 60)


def test_a_resized_mask_stays_a_mask(disc):
    small = resize_mask(disc, (60, 100))
    assert small.dtype == bool
    assert small.shape == (60, 100)
    assert abs(small.mean() - disc.mean()) < 0.01


def test_words_are_few_enough_for_a_projector():
    """With the type of the full screen on 1024 x 768 some 430 letters fit beside the picture."""
    for words in STEPS:
        said = re.sub(r"\*\*", "", " ".join((words.what, words.observe, words.caution)))
        assert len(said) < 430, words.name
        assert len(words.title) < 45
