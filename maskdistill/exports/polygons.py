"""Masks as polygons that readers paint to the very mask again."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage, spatial
from skimage import measure

from maskdistill.masks import bounding_box

# Pixels by which outlines lie inside the mask's edge. Readers that take coordinates as they are (pycocotools rounds to
# fifths of a pixel) and readers that cut them to whole pixels and paint these too (OpenCV, Pillow) then both paint the
# mask; on the edge itself the latter would paint a row and a column too many.
INSET = 0.05
MAX_RINGS = 256  # of one polygon; of speckle the smallest are left out, for the time grows with the square


def mask_polygons(mask: np.ndarray) -> list[np.ndarray]:
    """Outlines of a (H, W) mask: one closed polygon for each 4-connected component, the largest first.

    Returns:
        (n, 2) float64 (x, y) in pixels, 0 at the photo's left and upper edge, ``INSET`` inside the mask's edge. Holes
        are part of the polygon, joined to it by a line that goes there and back. Filled by the even-odd rule, the
        polygons give the mask; the last point is not the first again.
    """
    x, y, width, height = bounding_box(mask)
    crop = np.pad(mask[y : y + height, x : x + width], 1)
    components, count = ndimage.label(crop)
    rings: list[list[np.ndarray]] = [[] for _ in range(count)]
    for contour in measure.find_contours(crop.astype(np.uint8), 0.5):
        ring = _corners(contour[:-1, ::-1] + 0.5, crop)
        col, row = ring[0].astype(int)  # every corner lies in a pixel of its component
        rings[components[row, col] - 1].append(ring + np.array([x - 1, y - 1]))
    return sorted((join_rings(group) for group in rings), key=lambda ring: -abs(_area(ring)))


def join_rings(rings: Sequence[np.ndarray]) -> np.ndarray:
    """One closed polygon out of several, joined by lines between nearest corners: as short as they can be in all.

    The lines go there and back, so they have no area; readers that draw outlines paint them one pixel wide, and so
    their length matters. Beyond ``MAX_RINGS`` the smallest rings are left out.

    Args:
        rings: (n, 2) (x, y) each, at least one.

    Source: the minimum spanning tree of the rings, Prim, Bell System Technical Journal 1957.
    """
    newest, *others = sorted(rings, key=lambda ring: -abs(_area(ring)))[:MAX_RINGS]
    path = newest
    ring_of = np.repeat(np.arange(len(others)), [len(ring) for ring in others])
    waiting = np.concatenate([newest[:0], *others])  # corners not yet joined
    anchors, distances = np.zeros_like(waiting), np.full(len(waiting), np.inf)  # the nearest that is, for each of them
    while len(waiting):
        found, index = spatial.KDTree(newest).query(waiting)
        closer = found < distances
        distances[closer], anchors[closer] = found[closer], newest[index[closer]]
        nearest = int(np.argmin(distances))
        joined = ring_of == ring_of[nearest]
        newest, start = waiting[joined], np.count_nonzero(joined[:nearest])
        at = int(np.flatnonzero((path == anchors[nearest]).all(axis=1))[0])
        path = np.concatenate([path[: at + 1], newest[start:], newest[: start + 1], path[at:]])
        waiting, ring_of, anchors, distances = (array[~joined] for array in (waiting, ring_of, anchors, distances))
    return path


def _corners(middles: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Corners of a ring of pixel edges, moved ``INSET`` into the mask.

    Args:
        middles: (n, 2) (x, y) of the middles of the edges between a pixel of the mask and one outside, in order.
        mask: (H, W) with a frame of False.
    """
    following = np.roll(middles, -1, axis=0)
    upright = middles[:, 0] == np.floor(middles[:, 0])  # of edges between left and right: x is whole, y is not
    turns = upright != np.roll(upright, -1)
    from_upright = upright[turns][:, None]
    on_upright = np.where(from_upright, middles[turns], following[turns])
    on_level = np.where(from_upright, following[turns], middles[turns])
    right = mask[on_upright[:, 1].astype(int), on_upright[:, 0].astype(int)]  # whether the mask lies right of the edge
    below = mask[on_level[:, 1].astype(int), on_level[:, 0].astype(int)]
    x = on_upright[:, 0] + np.where(right, INSET, -INSET)
    y = on_level[:, 1] + np.where(below, INSET, -INSET)
    return np.stack([x, y], axis=1)


def _area(ring: np.ndarray) -> float:
    """Signed area of a polygon (Gauss's shoelace formula)."""
    x, y = ring.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
