"""Single objects of a photo out of two sources: candidates that were cut from it, and masks that the head draws.

Neither source is sure alone. A cut knows this photo only, and takes shadows and gaps for objects; the head has seen
many photos, but draws coarsely. So a mask counts as far as both see it: its own score times its best overlap with a
mask of the other source. No ground truth is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maskdistill.models.instance_head import Lesson
from maskdistill.proposals.pool import Pool, common_grid, describe_pool, onto, suppress
from maskdistill.proposals.pool_masks import score_views
from maskdistill.proposals.refinement import resize_map
from maskdistill.proposals.tree import pairwise_iou
from maskdistill.storage.photo_arrays import PoolStore
from maskdistill.storage.read_files import reading

ALIKE = 0.7  # overlap from which two masks are of one object, so that their scores can be compared
TARGET_OVERLAP = 0.3  # at most, of two masks that the head learns from
LEAST_WEIGHT, MOST_WEIGHT = 0.2, 1.5  # of a target, by its score


@dataclass(frozen=True, eq=False)
class Scored:
    """Masks of one photo on a grid of all of it, with their scores, higher is better."""

    values: np.ndarray  # (K, rows, cols) float32, positive inside
    scores: np.ndarray  # (K,) float32

    @property
    def masks(self) -> np.ndarray:
        """(K, rows, cols) bool."""
        return self.values > 0

    def pick(self, places: Sequence[int] | np.ndarray) -> "Scored":
        """Some of them, in that order."""
        chosen = np.asarray(places, np.intp)
        return Scored(self.values[chosen], self.scores[chosen])

    def best(self, most_overlap: float, most: int) -> "Scored":
        """The best of which no two overlap more than that, best first; masks of no score are left out."""
        return self.pick(suppress(pairwise_iou(self.masks, self.masks), self.scores, most_overlap, most))


def read_pools(store: PoolStore, number: int) -> tuple[Pool, ...]:
    """The candidates of a photo of a run, of each view.

    Raises:
        RunError: If there are none, or their file is damaged.
    """
    views = store.read(number)
    with reading(store.path(number)):
        return tuple(map(Pool.from_arrays, views))


def move(values: np.ndarray, content: tuple[float, float], grid: tuple[int, int]) -> np.ndarray:
    """(K, rows, cols) maps of patches on another grid, which covers the photo without padding."""
    return np.array([onto(item, content, grid) for item in values], np.float32).reshape(-1, *grid)


def read_candidates(pools: Sequence[Pool], probability: np.ndarray) -> Scored:
    """A photo's pool, all views on one grid; a score is the product of its parts.

    Args:
        pools: Of each view, the photo's own first.
        probability: (rows, cols) of the first view's patches, to be foreground.
    """
    grid = common_grid(pools[0])
    values = [move(pool.values, pool.content, grid) for pool in pools]
    scores = np.concatenate(score_views(pools, probability))
    return Scored(np.concatenate(values), scores.astype(np.float32))


def num_parts(pools: Sequence[Pool]) -> int:
    """How many parts the product of a candidate's score has."""
    return len(describe_pool(pools[0], np.zeros(pools[0].grid, np.float32)))


def choose_targets(pool: Scored, most: int, first: Pool) -> Scored:
    """What the head may learn of a photo: its best candidates, mostly apart from each other, best first.

    Args:
        pool: The photo's candidates.
        most: Targets.
        first: The pool of the photo's own view, whose patches the targets are brought to.
    """
    chosen = pool.best(TARGET_OVERLAP, most)
    rows, cols = (max(1, round(side * share)) for side, share in zip(first.grid, first.content, strict=True))
    values = np.full((len(chosen.scores), *first.grid), -1, np.float32)
    for number, item in enumerate(chosen.values):
        values[number, :rows, :cols] = resize_map(item, rows, cols)
    return Scored(values, chosen.scores)


def make_lesson(points: np.ndarray, targets: Scored, usual: float, least: float) -> Lesson:
    """What the head learns of a photo.

    Args:
        points: (rows, cols, d + 1) of the head's ``points_of``.
        targets: Of ``choose_targets``.
        usual: Score of a usual photo's best candidate.
        least: Share of that which a target's score must have.
    """
    chosen = targets.pick(np.flatnonzero(targets.scores >= least * usual))
    weights = (chosen.scores / max(usual, 1e-12)).clip(LEAST_WEIGHT, MOST_WEIGHT)
    return Lesson(points, chosen.masks.astype(np.float32), weights)


def find_scale(pairs: Sequence[np.ndarray]) -> float:
    """What the head's scores are multiplied with to compare with the pool's, from ``compare_scores`` of many photos."""
    known = np.concatenate([*pairs, np.zeros((0, 2), np.float32)])
    if not len(known):
        return 1.0
    pool, drawn = np.median(known, axis=0)
    return float(pool / max(drawn, 1e-6))


def compare_scores(pool: Scored, drawn: Scored) -> np.ndarray:
    """(M, 2) scores by pool and head of the objects that both see."""
    if not len(pool.scores) or not len(drawn.scores):
        return np.zeros((0, 2), np.float32)
    ious = pairwise_iou(pool.masks, drawn.masks)
    seen = np.flatnonzero(ious.max(axis=0) >= ALIKE)
    return np.stack([pool.scores[ious.argmax(axis=0)[seen]], drawn.scores[seen]], axis=1)


def merge(pool: Scored, drawn: Scored, scale: float, most_overlap: float, most: int) -> Scored:
    """The masks of both sources, each as far as the other sees it too.

    Args:
        pool: Candidates of the photo.
        drawn: Masks by the head, on the same grid.
        scale: What the head's scores are multiplied with to compare with the pool's.
        most_overlap: Overlap above which the lower-scored of two masks is dropped.
        most: Masks.

    Returns:
        Best first.
    """
    if not len(pool.scores) or not len(drawn.scores):
        return pool.best(most_overlap, most)
    ious = pairwise_iou(pool.masks, drawn.masks)
    scores = (pool.scores * ious.max(axis=1), drawn.scores * np.float32(scale) * ious.max(axis=0))
    both = Scored(np.concatenate([pool.values, drawn.values]), np.concatenate(scores))
    return both.best(most_overlap, most)
