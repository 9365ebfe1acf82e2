"""A mask's own score, without labels: parts that can be shown, and how they combine.

Every part lies in [0, 1], higher is better. The score is the mean of the parts that could be measured, each with the
weight in ``WEIGHTS``; a part that was not measured (no second view, no CRF) leaves the mean, its weight with it.
"""

from collections.abc import Mapping

import numpy as np

from maskdistill.masks import border_share

WEIGHTS = {
    "view_agreement": 2.0,  # IoU with the mask of the mirrored, smaller photo
    "contrast": 2.0,  # how much more alike patches inside are to each other than to the outside
    "eigengap": 1.0,  # how clearly the graph falls in two
    "crf_agreement": 1.0,  # IoU before and after the CRF
    "area": 1.0,  # 1 for ordinary sizes, falling to 0 for a speck and for nearly the whole photo
    "border": 1.0,  # 1 if the mask stays clear of the photo's border
}
PART_HELP = {
    "view_agreement": "IoU with the mask found in the mirror image at three quarters of the size",
    "contrast": "how much more alike the patches inside are to each other than to those outside",
    "eigengap": "how clearly the graph of patches falls into two parts",
    "crf_agreement": "IoU of the mask before and after the CRF",
    "area": "1 for ordinary sizes, 0 for a speck or nearly the whole photo",
    "border": "1 minus the share of the photo's border that the mask covers",
}
SMALL, LARGE = 0.02, 0.6  # fractions of the photo between which an area is ordinary


def combine(parts: Mapping[str, float]) -> float:
    """Weighted mean of the parts measured, in [0, 1]; 0 if there are none."""
    total = sum(WEIGHTS[name] for name in parts)
    return sum(WEIGHTS[name] * value for name, value in parts.items()) / total if total else 0.0


def area_part(fraction: float) -> float:
    """1 for an area between ``SMALL`` and ``LARGE`` of the photo, linear to 0 at nothing and at the whole photo."""
    return float(np.clip(min(fraction / SMALL, (1 - fraction) / (1 - LARGE)), 0, 1))


def border_part(mask: np.ndarray) -> float:
    """1 minus the share of the photo's border that a (H, W) mask covers."""
    return 1 - border_share(mask)


def contrast_part(vectors: np.ndarray, inside: np.ndarray) -> float:
    """Mean cosine of patches inside to their mean direction, minus that of the patches outside, clipped to [0, 1].

    Args:
        vectors: (N, D) unit vectors.
        inside: (N,) bool.
    """
    if inside.all() or not inside.any():
        return 0.0
    mean = vectors[inside].mean(axis=0)
    cosines = vectors @ (mean / max(float(np.linalg.norm(mean)), 1e-6))
    return float(np.clip(cosines[inside].mean() - cosines[~inside].mean(), 0, 1))
