"""Random views of a photo (crop, mirror, scale, light), written down as a recipe so that a view needs no file."""

import random
from dataclasses import dataclass

from PIL import Image, ImageEnhance, ImageOps

MIN_SIDE_FRACTION = 0.65  # of the photo's side that a crop keeps, so that the object stays recognisable
MIN_SCALE = 0.5  # of the crop's size
MAX_LONGER_SIDE = 640  # pixels, so that one large photo does not dominate the running time
LIGHT = 0.3  # largest change of brightness, contrast and saturation, as a fraction


@dataclass(frozen=True)
class ViewRecipe:
    """How to make one view out of an upright photo. Steps in the order of the fields."""

    box: tuple[int, int, int, int]  # (x1, y1, x2, y2) in pixels of the upright photo, x2 and y2 exclusive
    height: int  # pixels, after scaling
    width: int  # pixels, after scaling
    mirror: bool  # left and right swapped
    brightness: float  # factor, 1 changes nothing
    contrast: float  # factor, 1 changes nothing
    saturation: float  # factor, 1 changes nothing


def random_view(height: int, width: int, generator: random.Random) -> ViewRecipe:
    """Draw a recipe for a photo of this size in pixels; the same generator state gives the same recipe."""
    crop_height = max(1, round(height * generator.uniform(MIN_SIDE_FRACTION, 1)))
    crop_width = max(1, round(width * generator.uniform(MIN_SIDE_FRACTION, 1)))
    x1, y1 = generator.randint(0, width - crop_width), generator.randint(0, height - crop_height)
    scale = min(generator.uniform(MIN_SCALE, 1), MAX_LONGER_SIDE / max(crop_height, crop_width))
    return ViewRecipe(
        box=(x1, y1, x1 + crop_width, y1 + crop_height),
        height=max(1, round(crop_height * scale)),
        width=max(1, round(crop_width * scale)),
        mirror=generator.random() < 0.5,
        brightness=round(generator.uniform(1 - LIGHT, 1 + LIGHT), 3),
        contrast=round(generator.uniform(1 - LIGHT, 1 + LIGHT), 3),
        saturation=round(generator.uniform(1 - LIGHT, 1 + LIGHT), 3),
    )


def apply_view(image: Image.Image, view: ViewRecipe) -> Image.Image:
    """Make the view out of an upright RGB photo at full size; the result is RGB, ``view.height`` x ``view.width``."""
    # Not resize(box=...), which lets pixels from outside the crop bleed in at its edges.
    image = image.crop(view.box).resize((view.width, view.height), Image.Resampling.BICUBIC)
    if view.mirror:
        image = ImageOps.mirror(image)
    image = ImageEnhance.Brightness(image).enhance(view.brightness)
    image = ImageEnhance.Contrast(image).enhance(view.contrast)
    return ImageEnhance.Color(image).enhance(view.saturation)
