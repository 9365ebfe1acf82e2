"""Photos of ellipses with ground truth, as many as wanted: a few dozen are drawn, the others are hard links to them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskdistill.masks import bounding_box, encode_mask
from maskdistill.pseudo_labels.label_maps import write_label_png

SIZE = (240, 320)  # height, width of a photo in pixels
NUM_CLASSES = 20
NUM_DRAWN = 40  # different photos
TRAIN_SHARE = 0.8


@dataclass(frozen=True)
class Shape:
    """A mask that many photos share."""

    mask: np.ndarray  # (H, W) bool
    code: dict[str, Any]
    box: list[int]

    @property
    def area(self) -> int:
        """Pixels."""
        return int(self.mask.sum())


def draw_photos(folder: Path, num_photos: int, generator: np.random.Generator) -> list[np.ndarray]:
    """A VOC folder of photos with ground truth; returns the different label maps, by number modulo ``NUM_DRAWN``."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    labels = []
    for number in range(num_photos):
        first = number % NUM_DRAWN
        photo, label = (folder / "JPEGImages" / f"{number:06d}.jpg", folder / "SegmentationClass" / f"{number:06d}.png")
        if number < NUM_DRAWN:
            labels.append(_draw(photo, label, generator))
        else:
            os.link(folder / "JPEGImages" / f"{first:06d}.jpg", photo)
            os.link(folder / "SegmentationClass" / f"{first:06d}.png", label)
    names = [f"{number:06d}" for number in range(num_photos)]
    split = round(TRAIN_SHARE * num_photos)
    (folder / "ImageSets/Segmentation/train.txt").write_text("\n".join(names[:split]))
    (folder / "ImageSets/Segmentation/val.txt").write_text("\n".join(names[split:]))
    (folder / "classes.txt").write_text("\n".join(f"class {label}" for label in range(1, NUM_CLASSES + 1)))
    return labels


def draw_photo(path: Path, generator: np.random.Generator) -> None:
    """A JPEG of ``SIZE``."""
    coarse = Image.fromarray(generator.integers(0, 255, (8, 10, 3), dtype=np.uint8))
    coarse.resize(SIZE[::-1], Image.Resampling.BICUBIC).save(path, quality=85)


def _draw(photo: Path, label: Path, generator: np.random.Generator) -> np.ndarray:
    draw_photo(photo, generator)
    labels = np.zeros(SIZE, np.uint8)
    for _ in range(3):
        labels[draw_shape(generator).mask] = generator.integers(1, NUM_CLASSES + 1)
    write_label_png(label, labels)
    return labels


def draw_shape(generator: np.random.Generator) -> Shape:
    """An ellipse of random place and size."""
    height, width = SIZE
    y, x = generator.uniform(0.2, 0.8, 2) * SIZE
    tall, wide = generator.uniform(0.08, 0.35, 2) * SIZE
    rows, cols = np.ogrid[:height, :width]
    mask = ((rows - y) / tall) ** 2 + ((cols - x) / wide) ** 2 < 1
    return Shape(mask, encode_mask(mask), list(bounding_box(mask)))
