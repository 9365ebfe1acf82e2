"""Photos and masks of a few pixels, and the files in which other tools write such masks."""

import base64
import io
import json
import zlib

import numpy as np
from PIL import Image

from maskdistill.datasets import open_source
from maskdistill.masks import bounding_box, decode_mask, encode_mask

HEIGHT, WIDTH = 24, 32
NAMES = ("a", "b", "deep/c")


def draw_photos(folder):
    """Three photos below a folder, the last one in a folder of its own; returns the source."""
    for number, name in enumerate(NAMES):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return open_source(folder)


def box(x, y, width, height):
    """(24, 32) bool with a box."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def ring(x, y, side):
    """A box with a hole."""
    return box(x, y, side, side) & ~box(x + 2, y + 2, side - 4, side - 4)


MASKS = {"a": [box(1, 2, 8, 6), ring(12, 4, 10)], "b": [box(0, 0, 5, 24)], "deep/c": [box(3, 3, 9, 9)]}


def masks_by_photo(table):
    """Photo id -> its masks in order, from what ``read_given_masks`` gives."""
    found = {}
    for row in table.itertuples():
        mask = decode_mask({"size": [HEIGHT, WIDTH], "counts": row.counts})
        found.setdefault(row.photo, []).append(mask)
    return found


def same_masks(found, wanted):
    """Whether each photo has these masks, in any order."""
    keys = {id: sorted(mask.tobytes() for mask in masks) for id, masks in found.items()}
    return keys == {id: sorted(mask.tobytes() for mask in masks) for id, masks in wanted.items()}


def plain_code(mask):
    """Run lengths as a list, as COCO writes crowds."""
    pixels = mask.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(pixels)) + 1
    counts = np.diff([0, *edges.tolist(), pixels.size]).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if pixels[0] else counts}


def coco(masks=MASKS, suffix=".png", shape=encode_mask, **more):
    """A data set of COCO, every other mask of another category."""
    images = [
        {"id": 7 + number, "file_name": name + suffix, "height": HEIGHT, "width": WIDTH}
        for number, name in enumerate(masks)
    ]
    annotations = [
        {"id": 0, "image_id": 7 + number, "category_id": 3 + place % 2, "segmentation": shape(mask), **more}
        for number, name in enumerate(masks)
        for place, mask in enumerate(masks[name])
    ]
    for place, annotation in enumerate(annotations, start=1):
        annotation["id"] = place
    categories = [{"id": 3, "name": "cup"}, {"id": 4, "name": "plate"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def sam(name, masks):
    """A file of SA-1B: one photo with its masks."""
    annotations = [
        {
            "id": 500 + place,
            "segmentation": encode_mask(mask),
            "bbox": [float(side) for side in bounding_box(mask)],
            "area": int(mask.sum()),
            "predicted_iou": 0.9 - place / 10,
            "stability_score": 0.95,
            "point_coords": [[3.5, 4.5]],
            "crop_box": [0.0, 0.0, float(WIDTH), float(HEIGHT)],
        }
        for place, mask in enumerate(masks)
    ]
    about = {"image_id": 1, "width": WIDTH, "height": HEIGHT, "file_name": f"{name}.jpg"}
    return {"image": about, "annotations": annotations}


def fiftyone(masks=MASKS):
    """``samples.json`` of a FiftyOne data set with detections that have masks in their boxes."""

    def detection(mask, place):
        x, y, width, height = bounding_box(mask)
        content = io.BytesIO()
        np.save(content, mask[y : y + height, x : x + width])
        packed = base64.b64encode(zlib.compress(content.getvalue())).decode()
        return {
            "_id": {"$oid": f"{place:024x}"},
            "_cls": "Detection",
            "label": ("cup", "plate")[place % 2],
            "bounding_box": [x / WIDTH, y / HEIGHT, width / WIDTH, height / HEIGHT],
            "mask": {"$binary": {"base64": packed, "subType": "00"}},
            "confidence": 0.8,
        }

    samples = [
        {
            "filepath": f"data/{name.rpartition('/')[2]}.png",
            "tags": [],
            "made": {"_cls": "Detections", "detections": [detection(mask, place) for place, mask in enumerate(found)]},
        }
        for name, found in masks.items()
    ]
    return {"samples": samples}


def write(path, content):
    """A json file; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path
