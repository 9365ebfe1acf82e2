"""From a signed map of patches to a mask of pixels, by the photo's colours if wanted, and parts of its score."""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from maskdistill.config import CrfConfig
from maskdistill.masks import mask_iou
from maskdistill.proposals import scoring
from maskdistill.proposals.crf import refine_probability
from maskdistill.proposals.refinement import coarser_map

if TYPE_CHECKING:
    from maskdistill.datasets.transforms import PatchGeometry

SIGMOID_GAIN = 4.0  # slope from the signed map (mean absolute value 1) to a probability, for the CRF
HARD = 0.55  # signed value of a mask without shades: a probability of 0.9 or 0.1


def refine_by_crf(values: np.ndarray, image: Image.Image, config: CrfConfig) -> tuple[np.ndarray, float]:
    """A mask by the photo's colours, from a signed map of its pixels, and its IoU with the mask of the map itself."""
    probability = 1 / (1 + np.exp(-SIGMOID_GAIN * values))
    refined = refine_probability(np.asarray(image), probability, config) > 0.5
    return refined, mask_iou(values > 0, refined)


def shape_parts(values: np.ndarray, vectors: np.ndarray) -> dict[str, float]:
    """The parts of a score that describe where a mask lies and what is in it.

    Args:
        values: Signed map on the working grid.
        vectors: (N, D) unit vectors of the patches.
    """
    inside = values > 0
    patches = coarser_map(values) > 0
    return {
        "contrast": scoring.contrast_part(vectors, patches.ravel()),
        "area": scoring.area_part(float(inside.mean())),
        "border": scoring.border_part(inside),
    }


def map_to_pixels(values: np.ndarray, geometry: "PatchGeometry", *, smooth: bool) -> np.ndarray:
    """A signed map of the working grid at the photo's size, (H, W) float32.

    It is interpolated if ``smooth``; else each patch is whole, and has one of two values.
    """
    from maskdistill.datasets.transforms import patches_to_pixels  # loads torch, which pages that mend masks do without

    if smooth:
        return patches_to_pixels(values, geometry, smooth=True)
    mask = patches_to_pixels(coarser_map(values) > 0, geometry, smooth=False)
    return np.where(mask, np.float32(HARD), np.float32(-HARD))
