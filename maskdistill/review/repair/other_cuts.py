"""What cuts of a photo's patches with other thresholds make of the object under a mask, from its tokens."""

from collections.abc import Iterator, Sequence

import numpy as np

from maskdistill.config import ProposalConfig
from maskdistill.errors import ShapeError
from maskdistill.masks import mask_iou
from maskdistill.proposals.normalized_cut import FAINT_LINK, MIN_PATCHES, cut_once
from maskdistill.proposals.refinement import finer_map, keep_components, refine_patches, resize_map

AWAY = (-0.15, 0.15)  # of the thresholds from the run's own, cosines


def other_cuts(
    tokens: np.ndarray, mask: np.ndarray, config: ProposalConfig, away: Sequence[float] = AWAY
) -> Iterator[np.ndarray]:
    """Cut a photo anew, once a threshold, and take the side that is more like a mask.

    Args:
        tokens: (rows, cols, C) float32 unit vectors of the photo's patches, without padding.
        mask: (H, W) bool, at the photo's size.
        config: ``tau``, ``refine_steps`` and ``min_piece`` of the run.
        away: Of each threshold from ``tau``.

    Yields:
        (H, W) bool, in the order of ``away``; none where the photo has too few patches.

    Raises:
        ShapeError: If ``tokens`` or ``mask`` have another shape.
    """
    if tokens.ndim != 3 or mask.ndim != 2:
        raise ShapeError("tokens and mask", "(rows, cols, C) and (H, W)", (tokens.shape, mask.shape))
    grid, vectors = tokens.shape[:2], tokens.reshape(-1, tokens.shape[2])
    wanted = resize_map(mask.astype(np.float32), *grid) > 0.5
    if len(vectors) < MIN_PATCHES:
        return
    affinity, everything = vectors @ vectors.T, np.ones(len(vectors), bool)
    for step in away:
        links = np.where(affinity > config.tau + step, np.float32(1), np.float32(FAINT_LINK))
        side = cut_once(links, everything, grid, config).eigenvector > 0
        if mask_iou(~side, wanted) > mask_iou(side, wanted):
            side = ~side
        values = np.where(side, np.float32(1), np.float32(-1))
        if config.refine_steps:
            values = refine_patches(vectors, side.ravel(), ~side.ravel(), config.refine_steps).reshape(grid)
        yield resize_map(keep_components(finer_map(values), None, config.min_piece), *mask.shape) > 0
