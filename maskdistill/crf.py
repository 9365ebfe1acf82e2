"""Dense CRF refinement of a mask (Krähenbühl and Koltun, NIPS 2011), by the optional package pydensecrf."""

import importlib.util

import numpy as np

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
        config: Weights, widths and iterations.

    Returns:
        (H, W) float32 foreground probability.

    Raises:
        ConfigError: If pydensecrf is not installed.
        ShapeError: If the two sizes differ.
    """
    if not crf_available():
        raise ConfigError(INSTALL_HINT)
    from pydensecrf.densecrf import DenseCRF2D

    if image.shape != (*probability.shape, 3):
        raise ShapeError("image", f"({probability.shape[0]}, {probability.shape[1]}, 3)", image.shape)
    height, width = probability.shape
    foreground = np.clip(probability.ravel().astype(np.float32), 1e-3, 1 - 1e-3)
    field = DenseCRF2D(width, height, 2)
    field.setUnaryEnergy(np.ascontiguousarray(-np.log(np.stack([1 - foreground, foreground])), dtype=np.float32))
    field.addPairwiseGaussian(sxy=config.gaussian_sigma, compat=config.gaussian_weight)
    field.addPairwiseBilateral(
        sxy=config.bilateral_sigma_xy,
        srgb=config.bilateral_sigma_rgb,
        rgbim=np.array(image, dtype=np.uint8, order="C"),
        compat=config.bilateral_weight,
    )
    return np.array(field.inference(config.iterations), dtype=np.float32)[1].reshape(height, width)
