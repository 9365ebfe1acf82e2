"""Parts of a photo at every size: its patches cut in two again and again, and neighbours joined again and again."""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage
from sklearn.cluster import ward_tree
from sklearn.feature_extraction.image import grid_to_graph

from maskdistill.proposals.normalized_cut import FAINT_LINK, MIN_PATCHES, second_eigenvector

LEAST_PATCHES = 3  # of a part; fewer are noise
DOUBLE = 0.9  # IoU above which two parts are the same one
_IN_A_MASK = ndimage.generate_binary_structure(2, 1)[None] & np.array([False, True, False])[:, None, None]
_TOLERANCE = 1e-3  # of an eigenvector: its signs are all that is read


def grow_parts(vectors: np.ndarray, grid: tuple[int, int], depth: int) -> np.ndarray:
    """The connected parts that repeated two-way cuts of the patches leave, duplicates dropped.

    Unlike the cut that looks for one object, the links keep their strength, so that a part that is all alike falls in
    two as well as a whole photo does.

    Args:
        vectors: (N, D) float32 unit vectors of the patches.
        grid: rows, cols; N = rows * cols.
        depth: How often a side is cut again.

    Returns:
        (K, rows, cols) bool, parts of the first cuts first; K may be 0.
    """
    links = vectors @ vectors.T
    np.maximum(links, np.float32(FAINT_LINK), out=links)
    sides = list(_sides(links, depth))
    masks = np.zeros((len(sides), len(vectors)), dtype=bool)
    for mask, side in zip(masks, sides, strict=True):
        mask[side] = True
    return drop_doubles(_connected(masks.reshape(-1, *grid)))


def join_parts(vectors: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """The connected parts that grow as the two most alike neighbours become one, again and again, by Ward's rule.

    Cuts find first what divides a whole photo; joins find first what is alike from near, so small objects too.

    Args:
        vectors: (N, D) float32 unit vectors of the patches.
        grid: rows, cols; N = rows * cols.

    Returns:
        (K, rows, cols) bool, the latest joins first, duplicates dropped; K may be 0.
    """
    count = len(vectors)
    if count < LEAST_PATCHES:
        return np.zeros((0, *grid), dtype=bool)
    children = ward_tree(vectors, connectivity=grid_to_graph(*grid))[0]
    inside = np.zeros((count + len(children), count), dtype=bool)
    inside[:count] = np.eye(count, dtype=bool)
    for node, (left, right) in enumerate(children, start=count):
        inside[node] = inside[left] | inside[right]
    joined = inside[count:-1][::-1]
    return drop_doubles(joined[joined.sum(axis=1) >= LEAST_PATCHES].reshape(-1, *grid))


def _sides(links: np.ndarray, depth: int) -> Iterator[np.ndarray]:
    """Both sides of each cut as patch numbers, the coarse ones first."""
    whole = [(np.arange(len(links)), links)]  # with the links among them
    for _ in range(depth):
        cut = [half for patches, among in whole if len(patches) >= 2 * MIN_PATCHES for half in _halve(patches, among)]
        whole = [half for half in cut if len(half[0]) >= LEAST_PATCHES]
        yield from (patches for patches, _ in whole)


def _halve(patches: np.ndarray, among: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    vector = second_eigenvector(among, count=1, tolerance=_TOLERANCE)[0]
    above = vector > vector.mean()
    for side in (np.flatnonzero(above), np.flatnonzero(~above)):
        yield patches[side], among.take(side, axis=0).take(side, axis=1)


def _connected(masks: np.ndarray) -> np.ndarray:
    """The 4-connected parts of (K, rows, cols) masks that are large enough, mask by mask."""
    labels, count = ndimage.label(masks, structure=_IN_A_MASK)
    kept = np.flatnonzero(np.bincount(labels.ravel(), minlength=count + 1) >= LEAST_PATCHES)
    kept = kept[kept > 0]
    mask_of = np.zeros(count + 1, dtype=int)
    mask_of[labels] = np.arange(len(masks))[:, None, None]
    return labels[mask_of[kept]] == kept[:, None, None]


def drop_doubles(masks: np.ndarray, most_overlap: float = DOUBLE) -> np.ndarray:
    """Of (K, rows, cols) masks those that no earlier one equals but for little."""
    alike = pairwise_iou(masks, masks) > most_overlap
    doubles = np.zeros(len(masks), dtype=bool)
    kept: list[int] = []
    for number in range(len(masks)):
        if not doubles[number]:
            kept.append(number)
            doubles |= alike[number]
    return masks[kept]


def flatten(masks: np.ndarray) -> np.ndarray:
    """(K, rows, cols) bool -> (K, rows * cols) float32; K may be 0."""
    return masks.reshape(len(masks), masks.shape[1] * masks.shape[2]).astype(np.float32)


def pairwise_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of each of (K, rows, cols) and each of (L, rows, cols) bool masks, (K, L) float32; 0 if both are empty."""
    left, right = flatten(first), flatten(second)
    shared = left @ right.T
    return shared / np.maximum(left.sum(axis=1)[:, None] + right.sum(axis=1)[None, :] - shared, 1)
