"""Dense CRF refinement of a mask (Krähenbühl and Koltun, NIPS 2011), by the optional package pydensecrf."""

import importlib.util
import math

import numpy as np
from PIL import Image

from maskdistill.config import CrfConfig
from maskdistill.errors import ConfigError, ShapeError

INSTALL_HINT = "pydensecrf is not installed: it needs a C++ compiler. Install one, then: pip install pydensecrf2"


def crf_available() -> bool:
    """Whether the package ``pydensecrf`` can be imported."""
    return importlib.util.find_spec("pydensecrf") is not None


def refine_probability(image: np.ndarray, probability: np.ndarray, config: CrfConfig) -> np.ndarray:
    """Mean-field inference of a two-label CRF.

    Args:
        image: (H, W, 3) uint8 RGB.
        probability: (H, W) foreground probability in [0, 1]; clipped away from 0 and 1.
        config: Weights, widths (pixels of the photo) and iterations. Above ``max_pixels`` the inference runs on a
            smaller copy, widths scaled with it, and its probabilities are interpolated: its time grows with the
            pixels, a second for 640 x 480.

    Returns:
        (H, W) float32 foreground probability.

    Raises:
        ConfigError: If pydensecrf is not installed.
        ShapeError: If the two sizes differ.
    """
    if not crf_available():
        raise ConfigError(INSTALL_HINT)
    if image.shape != (*probability.shape, 3):
        raise ShapeError("image", f"({probability.shape[0]}, {probability.shape[1]}, 3)", image.shape)
    height, width = probability.shape
    scale = min(1.0, math.sqrt(config.max_pixels / (height * width))) if config.max_pixels else 1.0
    if scale == 1.0:
        return _infer(image, probability, config, scale)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0))
    refined = _infer(small, _resize(probability, size), config, scale)
    return _resize(refined, (width, height))


def _infer(image: np.ndarray, probability: np.ndarray, config: CrfConfig, scale: float) -> np.ndarray:
    from pydensecrf.densecrf import DenseCRF2D

    height, width = probability.shape
    foreground = np.clip(probability.ravel().astype(np.float32), 1e-3, 1 - 1e-3)
    field = DenseCRF2D(width, height, 2)
    field.setUnaryEnergy(np.ascontiguousarray(-np.log(np.stack([1 - foreground, foreground])), dtype=np.float32))
    field.addPairwiseGaussian(sxy=config.gaussian_sigma * scale, compat=config.gaussian_weight)
    field.addPairwiseBilateral(
        sxy=config.bilateral_sigma_xy * scale,
        srgb=config.bilateral_sigma_rgb,
        rgbim=np.array(image, dtype=np.uint8, order="C"),
        compat=config.bilateral_weight,
    )
    return np.array(field.inference(config.iterations), dtype=np.float32)[1].reshape(height, width)


def _resize(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR))
