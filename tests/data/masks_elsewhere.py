"""The masks that other tools wrote into tests/data/made_elsewhere, and write anew in an environment of their own."""

import numpy as np
from PIL import Image
from scipy.ndimage import binary_fill_holes

from maskdistill.masks import decode_mask, mask_iou

HEIGHT, WIDTH = 96, 128
OUTLINED = 0.85  # IoU with masks that outlines along the middles of the pixels give: half a pixel smaller all around


def box(x, y, width, height):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[4 * y : 4 * (y + height), 4 * x : 4 * (x + width)] = True
    return mask


MASKS = {  # of a photo, the first a cup, the second a plate
    "a": [box(1, 2, 8, 6), box(12, 4, 10, 10) & ~box(14, 6, 6, 6)],
    "b": [box(0, 0, 5, 24)],
    "c": [box(3, 3, 9, 9)],
}


def draw_photos(folder):
    for number, name in enumerate(MASKS):
        pixels = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")


def check_masks(brought, *, least_iou, holes=True):
    """Every mask came in, none was left out, and each overlaps its own; without holes where a tool writes none."""
    assert brought.record["left_out"] == []
    for photo, wanted in MASKS.items():
        rows = brought.table[brought.table["photo"] == photo]
        found = [decode_mask({"size": [HEIGHT, WIDTH], "counts": counts}) for counts in rows["counts"]]
        assert len(found) == len(wanted)
        for mask in wanted:
            written = mask if holes else binary_fill_holes(mask)
            assert max(mask_iou(written, other) for other in found) >= least_iou
