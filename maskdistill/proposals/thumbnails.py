"""Small crops of masks: what stands for a mask wherever many are shown."""

from pathlib import Path

from PIL import Image

from maskdistill.files import replace_atomically

THUMB_SIDE = 96  # pixels
THUMB_MARGIN = 0.1  # fraction of the box's longer side


def crop_around(image: Image.Image, box: list[int], size: tuple[int, int], side: int) -> Image.Image:
    """The part of a photo around a box, with a margin.

    Args:
        image: The photo, perhaps decoded smaller than ``size``.
        box: x, y, width, height in pixels of the full photo.
        size: height, width of the full photo in pixels.
        side: Pixels of the crop's longer side.
    """
    scale_x, scale_y = image.width / size[1], image.height / size[0]
    x, y, width, height = box
    margin = THUMB_MARGIN * max(width, height)
    left, top = max(0, (x - margin) * scale_x), max(0, (y - margin) * scale_y)
    right = min(image.width, (x + width + margin) * scale_x)
    bottom = min(image.height, (y + height + margin) * scale_y)
    ratio = side / max(right - left, bottom - top, 1)
    sides = (max(1, round((right - left) * ratio)), max(1, round((bottom - top) * ratio)))
    return image.resize(sides, Image.Resampling.BILINEAR, box=(left, top, right, bottom), reducing_gap=2.0)


def write_thumbnail(path: Path, image: Image.Image, box: list[int], size: tuple[int, int]) -> None:
    """Write ``crop_around`` as a JPEG of at most 96 pixels a side."""
    crop = crop_around(image, box, size, THUMB_SIDE)
    replace_atomically(path, lambda temporary: crop.save(temporary, format="JPEG", quality=85))
