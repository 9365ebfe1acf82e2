import numpy as np
import pytest
from PIL import Image

from maskdistill.errors import ShapeError
from maskdistill.pictures.colors import MASK_COLORS, rgb
from maskdistill.pictures.show import show

GREY = Image.new("RGB", (40, 30), (100, 100, 100))


def test_mask_is_tinted_and_outlined_and_the_rest_is_the_photo():
    mask = np.zeros((30, 40), bool)
    mask[5:20, 10:30] = True
    pixels = np.asarray(show(GREY, mask, opacity=0.5))
    assert tuple(pixels[5, 15]) == rgb(MASK_COLORS[0])  # the rim
    assert tuple(pixels[12, 20]) == tuple(round((100 + value) / 2) for value in rgb(MASK_COLORS[0]))
    assert (pixels[~mask] == 100).all()


def test_the_first_mask_lies_on_top_and_height_is_kept():
    left, whole = np.zeros((30, 40), bool), np.ones((30, 40), bool)
    left[:, :20] = True
    pixels = np.asarray(show(GREY, [left, whole], opacity=1.0))
    assert tuple(pixels[15, 5]) == rgb(MASK_COLORS[0])
    assert tuple(pixels[15, 35]) == rgb(MASK_COLORS[1])
    assert show(GREY, height=15).size == (20, 15)


def test_mask_of_another_size_is_refused():
    with pytest.raises(ShapeError, match=r"masks\[0\]"):
        show(GREY, np.zeros((30, 41), bool))
