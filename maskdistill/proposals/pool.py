"""The pool of a photo: candidate masks at every size, what is known of each without labels, and which are taken.

A single cut takes all that stands out for one object. A tree of cuts holds the single objects too, among much that is
none; so each candidate is scored by how it differs from what is around it, by the foreground that is learnt across
photos, and by whether a second look at the photo finds it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np

from maskdistill.machine import one_thread
from maskdistill.masks import border_shares
from maskdistill.proposals.refinement import resize_map, resize_maps
from maskdistill.proposals.tree import drop_doubles, flatten, grow_parts, join_parts, pairwise_iou

RING = 2  # patches around a candidate that it is compared with
STEPS = 32  # of a signed map for 1: the maps are stored as whole numbers of 8 bits
COMMON_SIDE = 48  # cells on the shorter side of the grid on which candidates of several views are compared
MOST_SHARED = 0.5  # of a further candidate or of one taken, that they may share


@dataclass(frozen=True, eq=False)
class Pool:
    """K candidates of one view of a photo, on its (rows, cols) patches; turned back where the view is mirrored."""

    masks: np.ndarray  # (K, rows, cols) bool, as the tree of cuts left them
    values: np.ndarray  # (K, rows, cols) float32, signed map after local refinement; positive is the object
    area: np.ndarray  # (K,) float32, fraction of the patches
    contrast: np.ndarray  # (K,) float32, mean cosine to the inside's mean direction: inside minus ring
    border: np.ndarray  # (K,) float32, share of the photo's border
    agreement: np.ndarray  # (K,) float32, best IoU with a candidate of the other view; NaN where there is no other
    content: tuple[float, float] = (1.0, 1.0)  # share of the rows and of the cols that is no padding

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows, cols."""
        return self.masks.shape[1], self.masks.shape[2]

    def select(self, chosen: np.ndarray) -> Self:
        """Some of the candidates, in the order named."""
        arrays = {item.name: getattr(self, item.name)[chosen] for item in fields(self) if item.name != "content"}
        return replace(self, **arrays)

    def mirrored(self) -> Self:
        """The same candidates seen from the other side."""
        return replace(self, masks=self.masks[..., ::-1], values=self.values[..., ::-1])

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Small arrays for a file."""
        return {
            "grid": np.array(self.grid, np.int32),
            "masks": np.packbits(flatten(self.masks).astype(bool), axis=1),
            "values": np.round(self.values * STEPS).astype(np.int8),
            "content": np.array(self.content, np.float32),
            **{name: getattr(self, name) for name in ("area", "contrast", "border", "agreement")},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Inverse of ``to_arrays``.

        Raises:
            KeyError: If an array is missing.
            ValueError: If the arrays do not go together.
        """
        rows, cols = (int(side) for side in arrays["grid"])
        count = len(arrays["area"])
        bits = np.unpackbits(arrays["masks"], axis=1, count=rows * cols)
        numbers = {name: np.asarray(arrays[name], np.float32) for name in ("area", "contrast", "border", "agreement")}
        if any(item.shape != (count,) for item in numbers.values()):
            raise ValueError("the numbers of its candidates do not go together")
        values = (arrays["values"].astype(np.float32) / STEPS).reshape(count, rows, cols)
        height, width = arrays["content"].tolist()
        return cls(bits.reshape(count, rows, cols).astype(bool), values, content=(height, width), **numbers)


def make_pool(
    vectors: np.ndarray,
    tokens: np.ndarray,
    grid: tuple[int, int],
    depth: int,
    size: int,
    content: tuple[float, float],
    *,
    joins: bool = False,
) -> Pool:
    """The candidates of one view.

    Args:
        vectors: (N, D) unit vectors that a candidate is compared with its ring by.
        tokens: (N, E) unit vectors that parts are grown on.
        grid: rows, cols; N = rows * cols.
        depth: Of the tree.
        size: Candidates kept at most, those of the highest score without a foreground.
        content: Share of rows and cols that is no padding.
        joins: Whether parts that grow by joins are candidates too.
    """
    with one_thread():
        masks = grow_parts(tokens, grid, depth)
        if joins:
            masks = drop_doubles(np.concatenate([masks, join_parts(tokens, grid)]))
        rings = rings_of(masks)
        inside, around = (_means(flatten(item), vectors) for item in (masks, rings))
        pool = _measure(masks, inside, around, content)
        best = np.argsort(-score_pool(pool), kind="stable")[:size]
        return replace(pool.select(best), values=_refine(masks[best], rings[best], inside[best], around[best], vectors))


def _measure(masks: np.ndarray, inside: np.ndarray, around: np.ndarray, content: tuple[float, float]) -> Pool:
    """What is known of candidates by their mean vectors and those of their rings, both (K, D)."""
    lengths = np.linalg.norm(inside, axis=1)
    contrast = lengths - (inside * around).sum(axis=1) / np.maximum(lengths, 1e-6)
    unknown = np.full(len(masks), np.nan, np.float32)
    border = border_shares(masks).astype(np.float32)
    values, area = np.zeros(masks.shape, np.float32), flatten(masks).mean(axis=1)
    return Pool(masks, values, area, contrast.astype(np.float32), border, unknown, content)


def _means(chosen: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(K, N) 0 or 1 and (N, D) -> (K, D) mean of the chosen rows; zeros where none is chosen."""
    return chosen @ vectors / np.maximum(chosen.sum(axis=1, keepdims=True), 1)


def rings_of(masks: np.ndarray) -> np.ndarray:
    """What lies within ``RING`` patches around each of (K, rows, cols) masks."""
    grown = masks
    for _ in range(RING):
        before, grown = grown, grown.copy()
        grown[:, 1:] |= before[:, :-1]
        grown[:, :-1] |= before[:, 1:]
        grown[:, :, 1:] |= before[:, :, :-1]
        grown[:, :, :-1] |= before[:, :, 1:]
    return grown & ~masks


def _refine(
    masks: np.ndarray, rings: np.ndarray, inside: np.ndarray, around: np.ndarray, vectors: np.ndarray
) -> np.ndarray:
    """Signed maps of candidates: each patch in or around one goes to the nearer of the mean directions of both.

    Mean absolute value 1 in and around it, -1 beyond; in steps of 1 / ``STEPS``, as it is stored. A candidate without
    a ring, which takes the whole photo, stays what it is.

    Args:
        masks: (K, rows, cols) bool.
        rings: Of them.
        inside: (K, D) mean vectors of the masks.
        around: (K, D) mean vectors of the rings.
        vectors: (N, D) unit vectors of the patches.

    Returns:
        (K, rows, cols) float32.
    """
    first, second = (item / np.maximum(np.linalg.norm(item, axis=1, keepdims=True), 1e-6) for item in (inside, around))
    near = flatten(masks | rings)
    margins = (first - second) @ vectors.T
    scale = (np.abs(margins) * near).sum(axis=1, keepdims=True) / np.maximum(near.sum(axis=1, keepdims=True), 1)
    margins = np.where(near, margins / np.maximum(scale, 1e-6), np.float32(-1)).reshape(masks.shape)
    alone = ~rings.any(axis=(1, 2))
    margins[alone] = np.where(masks[alone], np.float32(1), np.float32(-1))
    limit = 127 / STEPS
    return np.round(margins.clip(-limit, limit) * STEPS) / np.float32(STEPS)


def join_views(first: Pool, second: Pool | None) -> tuple[Pool, ...]:
    """The pool of a photo, from one view or two: with two, how well each candidate is found again in the other."""
    if second is None:
        return (first,)
    grid = common_grid(first)
    shapes = [shapes_on(pool, grid) for pool in (first, second)]
    overlaps = pairwise_iou(*shapes)
    if not overlaps.size:
        return tuple(replace(pool, agreement=np.zeros(len(pool), np.float32)) for pool in (first, second))
    return replace(first, agreement=overlaps.max(axis=1)), replace(second, agreement=overlaps.max(axis=0))


def common_grid(pool: Pool) -> tuple[int, int]:
    """Rows, cols of a fine grid of the whole photo."""
    sides = [side * share for side, share in zip(pool.grid, pool.content, strict=True)]
    rows, cols = (max(1, round(COMMON_SIDE * side / min(sides))) for side in sides)
    return rows, cols


def shapes_on(pool: Pool, grid: tuple[int, int]) -> np.ndarray:
    """The refined candidates on another grid of the photo, (K, rows, cols) bool."""
    return resize_maps(_photo_of(pool.values, pool.content), *grid) > 0


def onto(values: np.ndarray, content: tuple[float, float], grid: tuple[int, int]) -> np.ndarray:
    """A float map of patches on another grid, which covers the photo without padding."""
    return resize_map(_photo_of(values, content), *grid)


def _photo_of(values: np.ndarray, content: tuple[float, float]) -> np.ndarray:
    """The part of (..., rows, cols) maps that is no padding."""
    rows, cols = (max(1, round(side * share)) for side, share in zip(values.shape[-2:], content, strict=True))
    return values[..., :rows, :cols]


def describe_pool(pool: Pool, probability: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The parts of each candidate's score, all in [0, 1], by name.

    Args:
        pool: K candidates of one view.
        probability: (rows, cols) of the pool's patches, to be foreground; None where nothing was learnt.

    Returns:
        Names of ``scoring.PART_NAMES`` -> (K,).
    """
    parts: dict[str, np.ndarray] = {}
    if probability is not None:
        inside, around = (
            _means(flatten(item), probability.reshape(-1, 1))[:, 0] for item in (pool.masks, rings_of(pool.masks))
        )
        parts |= {"pool_inside": inside, "pool_edge": inside - around}
    if not np.isnan(pool.agreement).any():
        parts["pool_agreement"] = pool.agreement
    parts |= {"pool_contrast": pool.contrast, "pool_size": np.sqrt(pool.area), "pool_border": 1 - pool.border}
    return {name: np.clip(values, 0, 1).astype(np.float32) for name, values in parts.items()}


def score_pool(pool: Pool, probability: np.ndarray | None = None) -> np.ndarray:
    """The score of each candidate, (K,) float32 in [0, 1]: the product of its parts.

    Args:
        pool: As ``describe_pool``.
        probability: Likewise.
    """
    return np.prod(list(describe_pool(pool, probability).values()), axis=0)


def suppress(overlaps: np.ndarray, scores: np.ndarray, most_overlap: float, limit: int = 0) -> list[int]:
    """Non-maximum suppression: candidates best first, without those that overlap a better one too much.

    Args:
        overlaps: (K, K) IoU.
        scores: (K,); those of 0 are left out.
        most_overlap: IoU that is allowed.
        limit: How many are kept at most; 0 for all.
    """
    kept: list[int] = []
    for number in np.argsort(-scores, kind="stable").tolist():
        if scores[number] <= 0 or (limit and len(kept) >= limit):
            break
        if not (overlaps[number, kept] > most_overlap).any():
            kept.append(number)
    return kept


@dataclass(frozen=True)
class Choice:
    """Which masks of a photo are taken, best first."""

    keeps_first: bool  # whether the mask that there was before stays, as the first one
    candidates: tuple[int, ...]  # by their number in the pool, all views counted through


@dataclass(frozen=True)
class ChoiceRule:
    """What a candidate needs to be taken."""

    share: float  # of the best candidate's score, where the best comes first
    share_beside: float  # of it, where the photo's mask stays
    least_iou: float  # of that mask and the best candidate, for it to stay; 0 lets it stay in any case


def choose(shapes: np.ndarray, scores: np.ndarray, first: np.ndarray | None, rule: ChoiceRule, limit: int) -> Choice:
    """As many masks as their scores carry: one on a photo of one object, several in a scene.

    Where the photo's mask and the best candidate are one object, that mask stays; else it holds several, or is none,
    and the best candidate comes first. Further ones must not be far behind the best, nor lie half in those taken, nor
    hold half of one.

    Args:
        shapes: (K, R, C) bool, the candidates of all views on one grid.
        scores: (K,) of ``score_pool``.
        first: (R, C) bool, the photo's mask by the cut or the foreground; None where there is none.
        rule: What a candidate needs.
        limit: Masks at most.
    """
    order = [number for number in np.argsort(-scores, kind="stable").tolist() if scores[number] > 0]
    if first is not None and not first.any():
        first = None
    best = order[0] if order else None
    keeps = first is not None and (
        best is None or float(pairwise_iou(first[None], shapes[[best]])[0, 0]) >= rule.least_iou
    )
    taken = [first] if keeps and first is not None else []
    chosen: list[int] = []
    least = (rule.share_beside if keeps else rule.share) * scores[best] if best is not None else 0
    for number in order:
        if len(taken) >= limit or scores[number] < least:
            break
        if shapes[number].any() and not _shares_much(shapes[number], taken):
            taken.append(shapes[number])
            chosen.append(number)
    return Choice(keeps, tuple(chosen))


def _shares_much(shape: np.ndarray, taken: Sequence[np.ndarray]) -> bool:
    return any(np.count_nonzero(shape & other) > MOST_SHARED * min(shape.sum(), other.sum()) for other in taken)
