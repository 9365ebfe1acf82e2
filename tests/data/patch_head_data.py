"""Tokens and label maps of photos of six patches, and what a patch's target is by a slow loop."""

from pathlib import Path

import numpy as np

from maskdistill.config import TrainConfig
from maskdistill.datasets import Photo
from maskdistill.datasets.transforms import patch_grid, patches_to_pixels

WIDTH = 5
CONFIG = TrainConfig(
    whole_patches=False,
    hidden=8,
    epochs=20,
    batch_size=2,
    learning_rate=0.05,
    dropout=0,
    class_balance=0,
    patch_share=1.0,
    smoothing=0,
)
SQUARE = patch_grid(16, 24, shorter_side=16, patch_size=8, mode="resize")  # 2 x 3 patches, pixels as they are
PADDED = patch_grid(13, 21, shorter_side=13, patch_size=8, mode="pad")  # 2 x 3 patches, three pixels of padding


class Tokens(dict):
    """Stands in for a store."""

    def read(self, number):
        return self[number]

    def read_patches(self, number, patches):
        values = self[number]
        return values.reshape(-1, values.shape[-1])[patches]


def random_tokens(rows, cols, seed=0, dtype=np.float16):
    return np.random.default_rng(seed).normal(size=(rows, cols, WIDTH)).astype(dtype)


def random_labels(geometry, seed=0, values=(0, 1, 2, 255)):
    return np.random.default_rng(seed).choice(np.array(values, np.uint8), (geometry.height, geometry.width))


def photo_of(geometry, name="0"):
    return Photo(name, Path(f"{name}.png"), geometry.height, geometry.width, "")


def toy(number, geometry):
    """Labels, and tokens that tell the class of a patch."""
    patches = np.random.default_rng(number).integers(0, 3, (geometry.rows, geometry.cols))
    labels = patches_to_pixels(patches.astype(np.uint8), geometry, smooth=False)
    return labels, patches, random_tokens(geometry.rows, geometry.cols, number) * 0.1 + np.eye(WIDTH)[patches]


def slow_targets(labels, geometry, num_classes):
    """By a loop over network pixels, of which each takes the photo pixels whose centres lie in it."""
    scale_y, scale_x = geometry.height / geometry.resized_height, geometry.width / geometry.resized_width
    shares, weights = np.zeros((geometry.rows * geometry.cols, num_classes + 1)), []
    for patch in range(geometry.rows * geometry.cols):
        top, left = (8 * number for number in divmod(patch, geometry.cols))
        counted = 0.0
        for y in range(top, min(top + 8, geometry.resized_height)):
            for x in range(left, min(left + 8, geometry.resized_width)):
                inside = [
                    labels[row, col]
                    for row in range(geometry.height)
                    for col in range(geometry.width)
                    if y * scale_y < row + 0.5 <= (y + 1) * scale_y and x * scale_x < col + 0.5 <= (x + 1) * scale_x
                ]
                for label in inside:
                    if label != 255:
                        counted += 1 / len(inside)
                        shares[patch, label] += 1 / len(inside)
        weights.append(counted / 64)
    total = shares.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, shares / np.maximum(total, 1e-9), np.eye(num_classes + 1)[0])
    return shares, np.array(weights)
