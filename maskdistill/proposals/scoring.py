"""A mask's own score, without labels: parts that can be shown, and how they combine.

Every part lies in [0, 1], higher is better. The score is the weighted geometric mean of the parts that could be
measured, with the weights in ``WEIGHTS``: one part near 0 pulls the whole score down, whatever the others say. A part
that was not measured (no second view, no CRF) leaves the mean, its weight with it.

The two agreements weigh most because agreeing with oneself under another view, and under another way of splitting, is
the best sign of a true mask there is without labels. The weights were set on the train split of the benchmark photos;
``python -m benchmarks.masks`` reports how the score and each part rank masks on either split.
"""

import math
from collections.abc import Mapping

import numpy as np

from maskdistill.masks import border_share

WEIGHTS = {
    "given": 1.0,
    "view_agreement": 2.0,
    "stability": 1.0,
    "crf_agreement": 1.0,
    "cut_agreement": 1.0,
    "foreground": 0.5,
    "border": 0.5,
    "area": 0.25,
    "contrast": 0.25,
    "eigengap": 0.25,
    **dict.fromkeys(("pool_inside", "pool_edge", "pool_agreement", "pool_contrast", "pool_size", "pool_border"), 1.0),
}
PLAIN_GAP = 0.2  # gap of eigenvalues from which a graph falls in two plainly enough
PLAIN_CONTRAST = 0.4  # difference of cosines from which inside and outside differ plainly enough
FLOOR = 0.01  # a part of 0 counts as this, so that the other parts still order the worst masks
PART_NAMES = {
    "given": "Given",
    "view_agreement": "Views",
    "stability": "Stability",
    "contrast": "Contrast",
    "eigengap": "Eigengap",
    "crf_agreement": "CRF",
    "cut_agreement": "Cut",
    "foreground": "Foreground",
    "area": "Area",
    "border": "Border",
    "pool_inside": "Inside",
    "pool_edge": "Edge",
    "pool_agreement": "Both views",
    "pool_contrast": "Difference",
    "pool_size": "Size",
    "pool_border": "Off border",
}
PART_HELP = {
    "given": "the score that came with the mask, which was made elsewhere",
    "view_agreement": "IoU with the mask found in the mirror image at three quarters of the size",
    "stability": "IoU of the cut and the mask refined from it, on the patches",
    "contrast": "how much more alike the patches inside are to each other than to those outside",
    "eigengap": "how clearly the graph of patches falls into two parts",
    "crf_agreement": "IoU of the mask before and after the CRF",
    "cut_agreement": "IoU of the mask after the foreground with the mask as it was cut",
    "foreground": "probability of foreground, learnt across photos: mean inside minus mean in a ring around",
    "area": "1 for ordinary sizes, 0 for a speck or nearly the whole photo",
    "border": "1 minus the share of the photo's border that the mask covers",
    "pool_inside": "candidate: mean probability of foreground inside, learnt across photos",
    "pool_edge": "candidate: that mean minus the mean in a ring of two patches around",
    "pool_agreement": "candidate: IoU with the nearest candidate of the second view",
    "pool_contrast": "candidate: mean cosine to the mean direction of its patches, inside minus ring around",
    "pool_size": "candidate: root of its share of the photo",
    "pool_border": "candidate: 1 minus the share of the photo's border that it covers",
}
SMALL, LARGE = 0.02, 0.6  # fractions of the photo between which an area is ordinary


def combine(parts: Mapping[str, float]) -> float:
    """Weighted geometric mean of the parts measured, in [0, 1]; 0 if there are none."""
    total = sum(WEIGHTS[name] for name in parts)
    logs = sum(WEIGHTS[name] * math.log(max(value, FLOOR)) for name, value in parts.items())
    return math.exp(logs / total) if total else 0.0


def eigengap_part(gap: float) -> float:
    """Gap between the second and third eigenvalue as a part: only unclear graphs, below ``PLAIN_GAP``, lose."""
    return float(np.clip(gap / PLAIN_GAP, 0, 1))


def area_part(fraction: float) -> float:
    """1 for an area between ``SMALL`` and ``LARGE`` of the photo, linear to 0 at nothing and at the whole photo."""
    return float(np.clip(min(fraction / SMALL, (1 - fraction) / (1 - LARGE)), 0, 1))


def border_part(mask: np.ndarray) -> float:
    """1 minus the share of the photo's border that a (H, W) mask covers."""
    return 1 - border_share(mask)


def contrast_part(vectors: np.ndarray, inside: np.ndarray) -> float:
    """Mean cosine to the inside's mean direction: of the patches inside minus outside, over ``PLAIN_CONTRAST``.

    Args:
        vectors: (N, D) unit vectors.
        inside: (N,) bool.
    """
    if inside.all() or not inside.any():
        return 0.0
    mean = vectors[inside].mean(axis=0)
    cosines = vectors @ (mean / max(float(np.linalg.norm(mean)), 1e-6))
    return float(np.clip((cosines[inside].mean() - cosines[~inside].mean()) / PLAIN_CONTRAST, 0, 1))
