"""COCO files with a few small photos."""

import json

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

HEIGHT, WIDTH = 20, 30
CATEGORIES = [{"id": 7, "name": "cow"}, {"id": 3, "name": "cat"}]


def rectangle(y1, y2, x1, x2):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y1:y2, x1:x2] = 1
    return mask


def compressed_rle(mask):
    rle = coco_mask.encode(np.asfortranarray(mask))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def plain_rle(mask):
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": ([0] if flat[0] else []) + counts}


def polygon(y1, y2, x1, x2):
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


def make_coco(path, names=("a.jpg",), annotations=(), *, folder="images", categories=CATEGORIES, **fields):
    """A json of photos that lie in a folder beside its own, with more fields for each image."""
    for name in names:
        save_photo(path.parent.parent / folder / name)
    images = [{"id": n, "file_name": name, "height": HEIGHT, "width": WIDTH, **fields} for n, name in enumerate(names)]
    return write_coco(path, images, annotations, categories)


def write_coco(path, images, annotations=(), categories=CATEGORIES):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": list(annotations), "categories": list(categories)}
    path.write_text(json.dumps(content))
    return path


def save_photo(path, size=(WIDTH, HEIGHT), orientation=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.new("RGB", size).save(path, exif=exif)
    return path


def annotation(segmentation, category_id=7, **more):
    return {"image_id": 0, "category_id": category_id, "segmentation": segmentation, "area": 1, **more}
