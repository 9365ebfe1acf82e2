import io

import numpy as np
from PIL import Image

from maskdistill.pictures import colors, drawing


def square(size=20, top=5, left=5, side=8):
    mask = np.zeros((size, size), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_colour_map_ends_are_the_scales_ends_and_outside_is_clipped():
    image = drawing.color_map(np.array([[-5.0, 0.0, 1.0, 9.0]]), 0, 1, "sequential")
    pixels = np.asarray(image)[0]
    assert tuple(pixels[0]) == tuple(pixels[1]) == colors.rgb("#440154")
    assert tuple(pixels[2]) == tuple(pixels[3]) == colors.rgb("#FDE725")


def test_colour_map_of_a_constant_does_not_divide_by_zero():
    assert drawing.color_map(np.ones((2, 3)), 1, 1, "diverging").size == (3, 2)


def test_mask_layer_is_transparent_outside_and_coloured_inside():
    data = drawing.png_bytes(drawing.mask_layer(square(), "#3FC8E4"))
    layer = Image.open(io.BytesIO(data)).convert("RGBA")
    assert layer.getpixel((6, 6)) == (*colors.rgb("#3FC8E4"), 255)
    assert layer.getpixel((0, 0))[3] == 0


def test_overlay_leaves_the_rest_of_the_photo_alone():
    photo = Image.new("RGB", (20, 20), (100, 100, 100))
    picture = np.asarray(drawing.overlay(photo, [square()], 0.5))
    assert tuple(picture[0, 0]) == (100, 100, 100)
    assert tuple(picture[5, 5]) == colors.rgb(colors.mask_color(0))  # the rim is opaque
    assert tuple(picture[9, 9]) == tuple(round(50 + part / 2) for part in colors.rgb(colors.mask_color(0)))


def test_index_mask_gives_an_overlap_to_the_better_mask():
    index = np.asarray(drawing.index_mask([square(), np.ones((20, 20), dtype=bool)], (20, 20)))
    assert index[9, 9] == 1
    assert index[0, 0] == 2


def test_contact_sheet_holds_every_picture():
    pictures = [(f"Step {number}", Image.new("RGB", (30, 20), "red")) for number in range(5)]
    sheet = drawing.contact_sheet(pictures, width=60, columns=3)
    assert (np.asarray(sheet) == (255, 0, 0)).all(axis=-1).sum() == 5 * 60 * 40
