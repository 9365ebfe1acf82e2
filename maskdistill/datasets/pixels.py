"""From what a reader decodes to 8-bit RGB: every mode and depth, a strip at a time so that large pictures need little.

The range of numbers of more than 8 bits is taken from the picture itself, as cameras and microscopes write 10, 12 or 14
bits into files of 16 without saying so: it is the smallest of 8, 10, 12, 14 and 16 bits that holds the largest number.
So a picture is the same each time it is read, one that uses the upper three quarters of 16 bits keeps its darkness, and
a darker one is shown brighter by a power of two. Numbers of no known range go from their smallest to their largest.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

DEPTHS = (8, 10, 12, 14, 16)  # bits
_STRIP_PIXELS = 1 << 22  # of a picture that are converted at once


@dataclass(frozen=True)
class Decoded:
    """A picture as its reader gives it."""

    image: Image.Image  # decoded
    low_bytes: Image.Image | None = None  # of colors of 16 bits, whose high bytes are ``image``
    inverted: bool = False  # 0 is white in numbers of more than 8 bits
    unsigned: bool = False  # 32-bit numbers that Pillow takes for signed ones


def to_rgb(decoded: Decoded, *, factor: int = 1) -> Image.Image:
    """8-bit RGB, transparency laid over white; each side divided by ``factor`` and rounded up."""
    image = decoded.image
    convert = _converter(decoded)
    if convert is None:
        if factor == 1 and image.mode == "RGB" and not image.has_transparency_data and _is_large(image):
            return image  # a copy would need the memory twice
        convert = _colors
    if factor == 1 and not _is_large(image):
        return convert(image, decoded.low_bytes)
    width, height = image.size
    small = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    for top, bottom in _strips(image, factor):
        box = (0, top, width, bottom)
        low = None if decoded.low_bytes is None else decoded.low_bytes.crop(box)
        part = convert(image.crop(box), low)
        small.paste(part if factor == 1 else part.reduce(factor), (0, top // factor))
    return small


def needs_low_bytes(image: Image.Image) -> bool:
    """Whether the high bytes of colors of 16 bits are so small that the picture has fewer bits."""
    bands: Any = image.getextrema()  # of a picture with several bands a pair each
    return max(high for _, high in bands[:3]) < 1 << (DEPTHS[-2] - 8)


def _is_large(image: Image.Image) -> bool:
    return image.width * image.height > _STRIP_PIXELS


def _strips(image: Image.Image, factor: int = 1) -> Iterator[tuple[int, int]]:
    """First row and end of each strip; all but the last have a multiple of ``factor`` rows."""
    rows = max(1, _STRIP_PIXELS // image.width // factor) * factor
    return ((top, min(top + rows, image.height)) for top in range(0, image.height, rows))


def _converter(decoded: Decoded) -> Callable[[Image.Image, Any], Image.Image] | None:
    """What makes RGB of a strip and its low bytes; None if that is Pillow's own conversion."""
    if decoded.low_bytes is not None:
        tops = [
            (int(values[..., :3].max()), int(values[..., 3:].max(initial=0)))
            for values in (_sixteen_bits(*pair) for pair in _pairs(decoded.image, decoded.low_bytes))
        ]
        color, alpha = (_full_scale(max(top)) for top in zip(*tops, strict=True))
        return lambda image, low: _deep_colors(_sixteen_bits(image, low), color, alpha)
    if decoded.image.mode.startswith(("I", "F")):
        low, high = _value_range(decoded)
        return lambda image, _: _greys(_numbers(decoded, image), low, high, decoded.inverted)
    return None


def _pairs(image: Image.Image, low: Image.Image) -> Iterator[tuple[Image.Image, Image.Image]]:
    for top, bottom in _strips(image):
        box = (0, top, image.width, bottom)
        yield image.crop(box), low.crop(box)


def _colors(image: Image.Image, _low: Image.Image | None = None) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _sixteen_bits(high: Image.Image, low: Image.Image) -> np.ndarray:
    return np.asarray(high).astype(np.uint16) << 8 | np.asarray(low)  # (H, W, 3 or 4)


def _deep_colors(values: np.ndarray, color: int, alpha: int) -> Image.Image:
    scale = np.array([color, color, color, alpha][: values.shape[2]], np.float32)
    return _colors(Image.fromarray((values * (255 / scale) + 0.5).astype(np.uint8)))


def _full_scale(largest: int) -> int:
    return next(2**bits - 1 for bits in DEPTHS if largest < 2**bits)


def _numbers(decoded: Decoded, image: Image.Image) -> np.ndarray:
    values = np.asarray(image)
    return values.view(np.uint32) if decoded.unsigned else values


def _value_range(decoded: Decoded) -> tuple[float, float]:
    """The numbers that become black and white."""
    lows, highs = [], []
    for top, bottom in _strips(decoded.image):
        values = _numbers(decoded, decoded.image.crop((0, top, decoded.image.width, bottom)))
        finite = values[np.isfinite(values)]
        if finite.size:
            lows.append(finite.min().item())
            highs.append(finite.max().item())
    low, high = min(lows, default=0), max(highs, default=0)
    is_whole = isinstance(high, int)
    return (0, _full_scale(high)) if is_whole and low >= 0 and high < 2**16 else (low, high)


def _greys(values: np.ndarray, low: float, high: float, inverted: bool) -> Image.Image:
    """(H, W) numbers to RGB; what is no number is black, as the smallest is."""
    values = np.clip(np.where(np.isfinite(values), values, low).astype(np.float64), low, high)
    # Halves, because the difference of two large numbers may be none.
    share = (values / 2 - low / 2) / (high / 2 - low / 2) if high > low else np.zeros(values.shape)
    return Image.fromarray(((1 - share if inverted else share) * 255 + 0.5).astype(np.uint8)).convert("RGB")
