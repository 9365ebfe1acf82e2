"""Dense CRF refinement of a mask (Krähenbühl and Koltun, NIPS 2011), by the optional package pydensecrf."""

import importlib.util
import math

import numpy as np
from PIL import Image

from maskdistill.config import CrfConfig
from maskdistill.errors import ConfigError, ShapeError

ABSENT = 0.05  # a class less probable than this everywhere is left out: inference takes time for every class
INSTALL_HINT = (
    "pydensecrf is not installed: it needs a C++ compiler and Python before 3.13. With both: pip install pydensecrf2"
)


def crf_available() -> bool:
    """Whether the package ``pydensecrf`` can be imported."""
    return importlib.util.find_spec("pydensecrf") is not None


def refine_probability(image: np.ndarray, probability: np.ndarray, config: CrfConfig) -> np.ndarray:
    """Mean-field inference of a two-label CRF.

    Args:
        image: (H, W, 3) uint8 RGB.
        probability: (H, W) foreground probability in [0, 1]; clipped away from 0 and 1.
        config: As ``refine_classes``.

    Returns:
        (H, W) float32 foreground probability.

    Raises what ``refine_classes`` raises.
    """
    foreground = probability.astype(np.float32)
    return _refine(image, np.stack([1 - foreground, foreground]), config)[1]


def refine_classes(image: np.ndarray, probabilities: np.ndarray, config: CrfConfig) -> np.ndarray:
    """Mean-field inference of a CRF over all classes that come near to winning anywhere.

    Args:
        image: (H, W, 3) uint8 RGB.
        probabilities: (C, H, W) float32, each pixel summing to 1; clipped away from 0.
        config: Weights, widths (pixels of the photo) and iterations. Above ``max_pixels`` the inference runs on a
            smaller copy, widths scaled with it, and its probabilities are interpolated: its time grows with the
            pixels, a second for 640 x 480 and two classes.

    Returns:
        (C, H, W) float32 probabilities; a class below ``ABSENT`` everywhere keeps its own, which cannot win.

    Raises:
        ConfigError: If pydensecrf is not installed.
        ShapeError: If the two sizes differ.
    """
    present = np.flatnonzero(probabilities.reshape(len(probabilities), -1).max(axis=1) >= ABSENT)
    if len(present) < 2:
        return probabilities
    chosen = probabilities[present]
    refined = probabilities.copy()
    refined[present] = _refine(image, chosen / chosen.sum(axis=0), config) * chosen.sum(axis=0)
    return refined


def _refine(image: np.ndarray, probabilities: np.ndarray, config: CrfConfig) -> np.ndarray:
    if not crf_available():
        raise ConfigError(INSTALL_HINT)
    height, width = probabilities.shape[1:]
    if image.shape != (height, width, 3):
        raise ShapeError("image", f"({height}, {width}, 3)", image.shape)
    scale = min(1.0, math.sqrt(config.max_pixels / (height * width))) if config.max_pixels else 1.0
    if scale == 1.0:
        return _infer(image, probabilities, config, scale)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0))
    refined = _infer(small, np.stack([_resize(values, size) for values in probabilities]), config, scale)
    return np.stack([_resize(values, (width, height)) for values in refined])


def _infer(image: np.ndarray, probabilities: np.ndarray, config: CrfConfig, scale: float) -> np.ndarray:
    from pydensecrf.densecrf import DenseCRF2D

    count, height, width = probabilities.shape
    clipped = np.clip(probabilities.reshape(count, -1), 1e-3, 1 - 1e-3).astype(np.float32)
    field = DenseCRF2D(width, height, count)
    field.setUnaryEnergy(np.ascontiguousarray(-np.log(clipped), dtype=np.float32))
    field.addPairwiseGaussian(sxy=config.gaussian_sigma * scale, compat=config.gaussian_weight)
    field.addPairwiseBilateral(
        sxy=config.bilateral_sigma_xy * scale,
        srgb=config.bilateral_sigma_rgb,
        rgbim=np.array(image, dtype=np.uint8, order="C"),
        compat=config.bilateral_weight,
    )
    return np.array(field.inference(config.iterations), dtype=np.float32).reshape(count, height, width)


def _resize(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR))
