"""Layers over a photo: outlined masks, and label maps that fade where a model is unsure.

Each is a palette picture, a few kB as PNG.
"""

import numpy as np
from PIL import Image
from scipy import ndimage

from maskdistill.pictures import colors, drawing
from maskdistill.pictures.colors import label_colors

FILL = 120  # opacity of a mask's inside, of 255
LEVELS = 8  # steps of opacity from unsure to sure
_OPAQUE = 255
_STRONGEST = 215  # opacity of a label that the model is certain of: the photo still shows
_CLASS = 185  # opacity of a label map
_DASH = 10  # pixels of a dash and of the gap after it, on a photo of 1024


def mask_layer(mask: np.ndarray, color: str, *, dropped: bool = False) -> Image.Image:
    """A mask tinted inside with a full rim; a dropped one is a dashed rim alone.

    Args:
        mask: (H, W) bool.
        color: ``#RRGGBB``.
        dropped: Whether the mask is out.
    """
    scale = max(mask.shape) / 1024
    rim = drawing.outline(mask, max(1, round(5 * scale)))
    index = np.where(rim, 2, mask).astype(np.uint8)
    if dropped:
        rows, cols = np.indices(mask.shape)
        dash = max(2, round(_DASH * scale))
        index = np.where(rim & ((rows + cols) // dash % 2 == 0), np.uint8(2), np.uint8(0))
    return _palette_picture(index, [(0, 0, 0), colors.rgb(color), colors.rgb(color)], [0, FILL, _OPAQUE])


def confidence_layer(probabilities: np.ndarray) -> Image.Image:
    """Each pixel's most probable class in its colour, the more transparent the less probable; background is clear.

    Args:
        probabilities: (K + 1, H, W), background first.
    """
    labels = probabilities.argmax(axis=0)
    present = [int(label) for label in np.unique(labels) if label]
    levels = min(LEVELS, _OPAQUE // max(1, len(present)))
    place = np.zeros(len(probabilities), int)
    place[present] = range(len(present))
    # A class wins with little more than 1 / (K + 1) at least; from there to 1 the opacity grows.
    level = np.clip((probabilities.max(axis=0) * levels).astype(int), 0, levels - 1)
    index = np.where(labels > 0, 1 + place[labels] * levels + level, 0).astype(np.uint8)
    palette = [(0, 0, 0)] + [label_colors()[label] for label in present for _ in range(levels)]
    opacities = [0] + [round(_STRONGEST * (step + 1) / levels) for _ in present for step in range(levels)]
    return _palette_picture(index, palette, opacities)


def class_layer(labels: np.ndarray) -> Image.Image:
    """A label map in the classes' colours; background is clear.

    Args:
        labels: (H, W) uint8, 0 background.
    """
    return _palette_picture(labels, list(label_colors()), [0] + [_CLASS] * 255)


def anchor_of(mask: np.ndarray) -> tuple[float, float]:
    """The point farthest inside a mask, where its tag stands: fractions of width and height."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, col = np.unravel_index(int(depth.argmax()), mask.shape)
    return (int(col) + 0.5) / mask.shape[1], (int(row) + 0.5) / mask.shape[0]


def crop_with_outline(image: Image.Image, mask: np.ndarray, color: str, side: int) -> Image.Image:
    """The part of a photo around a mask, whose rim is drawn in.

    Args:
        image: RGB.
        mask: (H, W) bool of the same size, not empty.
        color: ``#RRGGBB``.
        side: Pixels of the crop's longer side.
    """
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    margin = round(0.1 * max(rows[-1] - rows[0], cols[-1] - cols[0])) + 1
    box = (
        max(0, cols[0] - margin),
        max(0, rows[0] - margin),
        min(image.width, cols[-1] + 1 + margin),
        min(image.height, rows[-1] + 1 + margin),
    )
    scale = side / max(box[2] - box[0], box[3] - box[1])
    size = max(1, round(scale * (box[2] - box[0]))), max(1, round(scale * (box[3] - box[1])))
    pixels = np.array(image.resize(size, Image.Resampling.BICUBIC, box=box))
    share = Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BILINEAR, box=box)
    pixels[drawing.outline(np.asarray(share) > 0.5, max(1, side // 110))] = colors.rgb(color)
    return Image.fromarray(pixels)


def _palette_picture(index: np.ndarray, palette: list[tuple[int, int, int]], opacities: list[int]) -> Image.Image:
    picture = Image.frombytes("P", (index.shape[1], index.shape[0]), np.ascontiguousarray(index).tobytes())
    picture.putpalette([part for color in palette for part in color])
    picture.info["transparency"] = bytes(opacities)
    return picture
