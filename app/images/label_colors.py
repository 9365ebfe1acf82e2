"""Colours of label maps on the pages: like the masks' for the first classes, then on, each far from the one before."""

import colorsys
from functools import lru_cache

from PIL import Image

from app.images.drawing import MASK_COLOURS, png_url, rgb

_GOLDEN = 0.61803398875  # of the circle of hues: neighbours come out far apart
_IGNORED = (150, 150, 150)
_IGNORED_ALPHA = 110  # of 255


@lru_cache(maxsize=1)
def label_colours() -> tuple[tuple[int, int, int], ...]:
    """256 colours: index 0 background (never seen), n the n-th class, 255 uncertain."""
    first = [(0, 0, 0), *map(rgb, MASK_COLOURS)]
    rest = [_spread(number) for number in range(len(first), 255)]
    return (*first, *rest, _IGNORED)


def _spread(number: int) -> tuple[int, int, int]:
    lightness, saturation = (0.62, 0.75) if number % 2 else (0.45, 0.85)
    red, green, blue = colorsys.hls_to_rgb(number * _GOLDEN % 1, lightness, saturation)
    return round(255 * red), round(255 * green), round(255 * blue)


def label_layer(labels: Image.Image) -> Image.Image:
    """A palette picture of a label map with these colours: background transparent, 255 grey and half transparent."""
    layer = Image.frombytes("P", labels.size, labels.tobytes())
    layer.putpalette([part for colour in label_colours() for part in colour])
    layer.info["transparency"] = bytes([0, *[255] * 254, _IGNORED_ALPHA])
    return layer


def label_layer_url(labels: Image.Image) -> str:
    """``label_layer`` as a data URL, some 2 kB for a picture of 320 pixels."""
    return png_url(label_layer(labels))
