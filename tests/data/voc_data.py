"""Small folders in VOC's layout, sound or with one part of another form."""

import numpy as np
from PIL import Image

from maskdistill.datasets.label_files import palette

SIZE = (8, 6)  # width, height of every photo


def make_voc(root, stems, *, lists=None, labels=None, classes=None, labelmap=None, suffix=".jpg"):
    """Photos of these names; labels as (H, W) arrays, pictures or bytes, lists and texts as lines or bytes."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for stem in stems:
        path = root / "JPEGImages" / f"{stem}{suffix}"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", SIZE).save(path)
    for stem, label in (labels or {}).items():
        put_label(root, f"{stem}.png", label)
    texts = {f"ImageSets/Segmentation/{name}.txt": content for name, content in (lists or {}).items()}
    texts |= {"classes.txt": classes, "labelmap.txt": labelmap}
    for name, content in texts.items():
        if content is not None:
            (root / name).write_bytes(content if isinstance(content, bytes) else "\n".join([*content, ""]).encode())
    return root


def put_label(root, name, label):
    """One label file: bytes as they are, an array as a palette picture whose colors mean nothing."""
    path = root / "SegmentationClass" / name
    path.parent.mkdir(exist_ok=True)
    if isinstance(label, bytes):
        path.write_bytes(label)
    elif isinstance(label, Image.Image):
        label.save(path)
    else:
        image = Image.fromarray(label)
        image.putpalette(range(256))
        image.save(path)


def drawn_label(class_id, shape=(6, 8)):
    """A rectangle of a class below a row of ignored pixels."""
    label = np.zeros(shape, np.uint8)
    label[1:4, 2:6] = class_id
    label[0] = 255
    return label


def colored(label, colors=None):
    """A label in colors, VOC's unless others are given."""
    return Image.fromarray((palette() if colors is None else np.array(colors, np.uint8))[label])


def with_palette(label, colors):
    """A palette picture with the colors of the values 0, 1, ..."""
    image = Image.fromarray(label)
    image.putpalette(np.array(colors, np.uint8).tobytes())
    return image


def splits(source):
    """Photo id -> split."""
    return {photo.id: photo.split for photo in source.photos}


def reasons(source, what="label"):
    """What is left out, by the name of its file."""
    return {item.path.name: item.reason for item in source.skipped if item.what == what}
