"""Label maps: painted from kept masks, written and read as palette PNG. 0 is background, 255 uncertain."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from scipy import ndimage

from maskdistill.config import LabelConfig
from maskdistill.datasets import IGNORE_INDEX, MAX_PIXELS
from maskdistill.datasets.label_files import palette
from maskdistill.datasets.records import MAX_LABEL
from maskdistill.errors import ConfigError, ShapeError
from maskdistill.files import replace_atomically
from maskdistill.storage.read_files import DamagedFileError, MissingFileError, reading


def paint_labels(
    shape: tuple[int, int],
    masks: Sequence[np.ndarray],
    labels: Sequence[int] | np.ndarray,
    confidences: Sequence[float] | np.ndarray,
    kept: Sequence[bool] | np.ndarray,
    config: LabelConfig,
    probability: np.ndarray | None = None,
) -> np.ndarray:
    """The label map of a photo from its masks: where masks overlap, the more confident one shows.

    Args:
        shape: (H, W) of the photo, pixels.
        masks: M arrays, each (H, W) bool; they may overlap. None at all gives background.
        labels: (M,) each mask's cluster, 1 to 254.
        confidences: (M,) higher paints over lower, the lower index over the higher if they are equal; NaN is lowest.
        kept: (M,) bool, which masks the filter keeps.
        config: What becomes 255.
        probability: (H, W) stage 1's probability, in [0, 1], of what it predicts at each pixel; NaN passes.

    Returns:
        (H, W) uint8: 0 background, 1 to 254 labels, 255 uncertain.

    Raises:
        ShapeError: If an array has another shape.
        ConfigError: If a label is out of range, or ``min_probability`` is set without a ``probability``.
    """
    kept = np.asarray(kept, bool)
    _check(shape, masks, labels, confidences, kept, probability)
    if config.min_probability > 0 and probability is None:
        raise ConfigError("labels.min_probability needs the probabilities of stage 1. Train stage 1, or set it to 0.")
    painted = np.zeros(shape, np.uint8)
    for index in _lowest_first(confidences):
        if kept[index]:
            painted[masks[index]] = labels[index]
    result = painted.copy()
    if config.ignore_dropped:
        for index in np.flatnonzero(~kept).tolist():
            result[masks[index] & (painted == 0)] = IGNORE_INDEX
    if config.border_band:
        result[edge_band(painted, config.border_band)] = IGNORE_INDEX
    if config.min_probability > 0 and probability is not None:
        result[probability < config.min_probability] = IGNORE_INDEX
    return result


def edge_band(labels: np.ndarray, width: int) -> np.ndarray:
    """Pixels near an edge between two labels; the frame of the photo is no edge.

    Args:
        labels: (H, W) uint8.
        width: Pixels on each side: a pixel is near if another label lies at most so many rows and columns away.

    Returns:
        (H, W) bool.
    """
    size = 2 * width + 1
    # "nearest" repeats the outermost pixel, which lies in the window anyway: nothing new comes in from outside.
    highest = ndimage.maximum_filter(labels, size=size, mode="nearest")
    return highest != ndimage.minimum_filter(labels, size=size, mode="nearest")


def write_label_png(path: Path, labels: np.ndarray) -> None:
    """Write a label map as an 8-bit palette PNG that shows in VOC's colours; never half a file.

    Args:
        path: Where; its folder is made if needed.
        labels: (H, W) integers from 0 to 255, at least one pixel.

    Raises:
        ShapeError: If it is not a map of pixels.
        ConfigError: If a value cannot be written as it is.
    """
    if labels.ndim != 2 or not labels.size:
        raise ShapeError("labels", "(H, W) with a pixel at least", labels.shape)
    if labels.dtype.kind not in "ui" or labels.min() < 0 or labels.max() > IGNORE_INDEX:
        raise ConfigError(
            f"A label map holds integers from 0 to {IGNORE_INDEX}, got {labels.dtype} from {labels.min()} "
            f"to {labels.max()}. Use at most {MAX_LABEL} clusters."
        )
    image = Image.fromarray(np.ascontiguousarray(labels, np.uint8))
    image.putpalette(palette().tobytes())
    replace_atomically(path, lambda temporary: image.save(temporary, format="PNG"))


def read_label_png(path: Path, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Inverse of ``write_label_png``: (H, W) uint8, the values as stored, whatever colours the palette gives them.

    Args:
        path: The file.
        shape: (H, W) in pixels of its photo, where that is known.

    Raises:
        MissingFileError: If there is no file.
        DamagedFileError: If it is damaged, not a palette PNG, or of another size.
    """
    try:
        # Image.open would warn of photos above 89 megapixels, though the library takes twice that.
        with reading(path), PngImageFile(path) as image:
            _check_label_image(path, image, shape)
            image.load()
    except FileNotFoundError as error:
        raise MissingFileError(path) from error
    return np.array(image)


def _check_label_image(path: Path, image: Image.Image, shape: tuple[int, int] | None) -> None:
    """Before its pixels are decoded: a header may claim more of them than there is memory for."""
    found = image.height, image.width
    if image.mode != "P":
        raise DamagedFileError(path, f"it is a PNG of mode {image.mode}, wanted a palette PNG")
    if shape is not None and found != tuple(shape):
        raise DamagedFileError(path, f"it has {found[0]} x {found[1]} pixels, its photo {shape[0]} x {shape[1]}")
    if found[0] * found[1] > MAX_PIXELS:
        raise DamagedFileError(path, f"it claims {found[0]} x {found[1]} pixels")


def _lowest_first(confidences: Sequence[float] | np.ndarray) -> np.ndarray:
    confidences = np.asarray(confidences, np.float64)
    confidences = np.where(np.isnan(confidences), -np.inf, confidences)
    return np.lexsort((-np.arange(len(confidences)), confidences))


def _check(
    shape: tuple[int, int],
    masks: Sequence[np.ndarray],
    labels: Sequence[int] | np.ndarray,
    confidences: Sequence[float] | np.ndarray,
    kept: np.ndarray,
    probability: np.ndarray | None,
) -> None:
    for name, values in (("labels", labels), ("confidences", confidences), ("kept", kept)):
        if np.shape(values) != (len(masks),):
            raise ShapeError(name, f"({len(masks)},), one for each mask", np.shape(values))
    for index, mask in enumerate(masks):
        if mask.shape != tuple(shape) or mask.dtype != bool:
            raise ShapeError(f"masks[{index}]", f"{tuple(shape)} of bool", (*mask.shape, mask.dtype.name))
    if probability is not None and probability.shape != tuple(shape):
        raise ShapeError("probability", f"{tuple(shape)}", probability.shape)
    for label in labels:
        if not 1 <= label <= MAX_LABEL or label != int(label):
            raise ConfigError(
                f"A mask's label must be 1 to {MAX_LABEL}, got {label}. Use at most {MAX_LABEL} clusters."
            )
