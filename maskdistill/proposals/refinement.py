"""From a cut of patches to a signed map: two mean directions compared, and interpolation."""

import numpy as np
from PIL import Image

from maskdistill.proposals.components import component_at, keep_large_components

WORK_SCALE = 4  # components are sorted out on a grid this many times finer than the patches


def refine_patches(vectors: np.ndarray, foreground: np.ndarray, background: np.ndarray, steps: int) -> np.ndarray:
    """Let each patch choose between the mean direction of the foreground and that of the background.

    Two-means on the unit sphere, started from the cut. It mends what a binary graph cannot weigh: on the training split
    of the benchmark photos one round adds two points of mean best IoU, later rounds little.

    Args:
        vectors: (N, D) float32 unit vectors.
        foreground: (N,) bool, patches of the object.
        background: (N,) bool, patches of nothing.
        steps: Rounds, at least 1.

    Returns:
        (N,) float32, cosine to the foreground's mean minus cosine to the background's; positive is foreground. Stops
        early, with the last map, when foreground or background would be empty.
    """
    margin = np.where(foreground, np.float32(1), np.float32(-1))
    for _ in range(steps):
        if not foreground.any() or not background.any():
            break
        margin = vectors @ (_direction(vectors[foreground]) - _direction(vectors[background]))
        foreground, background = margin > 0, margin <= 0
    return margin


def normalise_map(values: np.ndarray) -> np.ndarray:
    """Scale a signed map to mean absolute value 1, so that maps of two views can be averaged."""
    scale = np.abs(values).mean()
    return (values / scale if scale > 0 else values).astype(np.float32)


def resize_map(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bicubic interpolation of a (rows, cols) float map to (height, width)."""
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def resize_maps(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """``resize_map`` of many (K, rows, cols) float maps at once: what it does to rows and to columns, as matrices."""
    rows, cols = values.shape[1:]
    down, across = resize_map(np.eye(rows), height, rows), resize_map(np.eye(cols), cols, width)
    return down @ (values @ across)


def finer_map(values: np.ndarray, *, smooth: bool = True) -> np.ndarray:
    """A signed patch map on the working grid: (rows, cols) -> (4 rows, 4 cols), scaled by ``normalise_map``.

    Interpolated if ``smooth``; otherwise each patch stays one value.
    """
    rows, cols = values.shape
    if not smooth:
        return normalise_map(values).repeat(WORK_SCALE, axis=0).repeat(WORK_SCALE, axis=1)
    return resize_map(normalise_map(values), rows * WORK_SCALE, cols * WORK_SCALE)


def coarser_map(values: np.ndarray) -> np.ndarray:
    """Back from the working grid: the value at the centre of each patch, (4 rows, 4 cols) -> (rows, cols)."""
    return values[WORK_SCALE // 2 :: WORK_SCALE, WORK_SCALE // 2 :: WORK_SCALE]


def keep_components(values: np.ndarray, seed: tuple[int, int] | None, min_piece: float) -> np.ndarray:
    """Turn the components that are not kept into background.

    Args:
        values: (4 rows, 4 cols) signed map.
        seed: Patch (row, col) whose component alone is kept; None keeps every component that is not small. If the seed
            itself has become background, the components that are not small stay.
        min_piece: Fraction of the largest component.

    Returns:
        The map with the sign of dropped components changed, so that it can still be interpolated.
    """
    mask = values > 0
    kept = keep_large_components(mask, min_piece)
    if seed is not None:
        row, col = (WORK_SCALE * side + WORK_SCALE // 2 for side in seed)
        centre = (row, col)
        kept = component_at(mask, centre) if mask[centre] else kept
    return np.where(mask & ~kept, -values, values)


def _direction(vectors: np.ndarray) -> np.ndarray:
    mean = vectors.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-6)
