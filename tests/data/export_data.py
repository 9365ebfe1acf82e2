"""Photos and masks to export, and readers of what was written."""

import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy import ndimage

from maskdistill.exports.records import ExportImage, ExportMask
from maskdistill.masks import encode_mask

HEIGHT, WIDTH = 40, 56
NAMES = ["cow", 'odd: "name", #1 \\ {ö}']


def save_photo(path, *, size=(WIDTH, HEIGHT), seed=0, orientation=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    image = Image.fromarray(ndimage.gaussian_filter(pixels, (2, 2, 0)))
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


def make_image(root, number, id, *, split=None, suffix=".jpg", **options):
    path = save_photo(root / "data" / f"{id}{suffix}", seed=number, **options)
    return ExportImage(number, id, path, f"{id}{suffix}", HEIGHT, WIDTH, split)


def blob(seed=0, shape=(HEIGHT, WIDTH), share=0.2, blur=4.0):
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), blur)
    return smooth > np.quantile(smooth, 1 - share)


def ring_and_dot():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:25, 10:35] = True
    mask[10:16, 15:22] = False
    mask[30:36, 45:53] = True
    return mask


def make_mask(id, image, mask, label=1, **options):
    return ExportMask(id, image, label, 0.5, encode_mask(mask), **options)


def make_data(root):
    """Three photos, and masks of the first two."""
    images = [make_image(root, number, id) for number, id in enumerate(["a", "b", "c"])]
    masks = [
        make_mask(0, 0, ring_and_dot(), 2),
        make_mask(1, 0, blob(1), 1, kept=False),
        make_mask(10, 1, np.ones((HEIGHT, WIDTH), bool), 1),
    ]
    return images, masks


def label_map(image):
    labels = np.zeros((image.height, image.width), np.uint8)
    labels[3:20, 5 : 20 + image.number] = 1
    labels[10:30, 30:50] = 2
    labels[0] = 255
    return labels


def decode(code):
    return coco_mask.decode(code).astype(bool)


def paint_exactly(polygons, shape):
    codes = coco_mask.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *shape)
    return decode(coco_mask.merge(codes))


def paint_pixels(polygon, shape):
    """As readers do that cut coordinates to whole pixels and paint the outline too."""
    canvas = Image.new("1", shape[::-1])
    ImageDraw.Draw(canvas).polygon([(int(x), int(y)) for x, y in polygon], fill=1, outline=1)
    return np.array(canvas)


def load_coco(path):
    return COCO(str(path))
