"""Photos in which it is known where objects end: objects that are found, cut out and pasted into other photos.

The masks of a composite are exact, however rough the mask was that cut an object out: what is pasted is what was cut.
The idea is Cut, Paste and Learn's (Dwibedi et al., ICCV 2017); no ground truth is read.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

FEATHER = 3  # pixels over which an object's outline fades
FEWEST, MOST = 2, 5  # objects in a composite
SHARES = (0.008, 0.2)  # of the photo that an object covers, drawn evenly by their logarithms
MOST_ENLARGED = 1.5  # an object is enlarged no more than this
LARGEST_SIDE = 0.95  # of the photo's side that an object takes
SMALLEST = 8  # pixels, side of an object
FEWEST_PIXELS = 200  # of an object that is worth pasting


@dataclass(frozen=True, eq=False)
class Cutout:
    """An object without what is around it."""

    pixels: np.ndarray  # (h, w, 3) uint8, its box
    alpha: np.ndarray  # (h, w) float32 in [0, 1], 1 inside


def cut_out(pixels: np.ndarray, mask: np.ndarray) -> Cutout | None:
    """The largest piece of a mask, its holes filled; None if that is too small.

    Args:
        pixels: (H, W, 3) uint8.
        mask: (H, W) bool.
    """
    pieces, count = ndimage.label(mask)
    if count > 1:
        pieces = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    whole = ndimage.binary_fill_holes(pieces)
    if np.count_nonzero(whole) < FEWEST_PIXELS:
        return None
    (box,) = ndimage.find_objects(whole.astype(np.uint8))
    alpha = ndimage.uniform_filter(whole.astype(np.float32), FEATHER)
    return Cutout(pixels[box], alpha[box].clip(0, 1))


def compose(
    background: np.ndarray, cutouts: list[Cutout], generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Paste objects, the later over the earlier, at random places and sizes, half of them mirrored.

    Args:
        background: (H, W, 3) uint8, the photo that they come into.
        cutouts: The objects.
        generator: Of places, sizes and mirroring.

    Returns:
        (H, W, 3) uint8 and the (K, H, W) float32 share of each pixel that each object covers in the end.
    """
    picture = background.astype(np.float32)
    height, width = picture.shape[:2]
    masks = np.zeros((len(cutouts), height, width), np.float32)
    for number, cutout in enumerate(cutouts):
        pixels, alpha = _drawn(cutout, (height, width), generator)
        rows, cols = alpha.shape
        top, left = int(generator.integers(height - rows + 1)), int(generator.integers(width - cols + 1))
        place = (slice(top, top + rows), slice(left, left + cols))
        picture[place] += alpha[..., None] * (pixels - picture[place])
        masks[(slice(number), *place)] *= 1 - alpha
        masks[(number, *place)] = alpha
    return picture.round().clip(0, 255).astype(np.uint8), masks


def _drawn(cutout: Cutout, size: tuple[int, int], generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Its pixels and how much each covers, (h, w, 3) and (h, w) float32, at a random size that fits into the photo."""
    low, high = np.log(SHARES)
    share = np.exp(generator.uniform(low, high))
    height, width = cutout.alpha.shape
    scale = np.sqrt(share * size[0] * size[1] / max(float(cutout.alpha.sum()), 1.0))
    scale = min(scale, MOST_ENLARGED, LARGEST_SIDE * size[0] / height, LARGEST_SIDE * size[1] / width)
    rows, cols = (
        min(max(SMALLEST, round(side * scale)), most) for side, most in zip((height, width), size, strict=True)
    )
    pixels = np.asarray(Image.fromarray(cutout.pixels).resize((cols, rows), Image.Resampling.LANCZOS), np.float32)
    alpha = np.asarray(Image.fromarray(cutout.alpha).resize((cols, rows), Image.Resampling.BILINEAR)).clip(0, 1)
    mirrored = slice(None, None, -1) if generator.random() < 0.5 else slice(None)
    return pixels[:, mirrored], alpha[:, mirrored]
