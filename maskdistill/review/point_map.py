"""Masks as points on a plane, and which of them lie inside a lasso."""

import heapq
from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

import numpy as np

from maskdistill.errors import ConfigError, ShapeError

SIDE = 65535  # places are whole numbers from 0 to this, along the longer side of the map


@dataclass(frozen=True, eq=False)
class PointMap:
    """Masks as points on the grid that is drawn: what is shown inside a lasso is what it selects."""

    name: str
    stamp: str  # of the places: on a map that was made again a lasso would select other masks
    places: np.ndarray  # (M, 2) uint16: x, y in [0, SIDE]
    rows: np.ndarray  # (M,) int64, of the table

    @classmethod
    def of(cls, name: str, coordinates: np.ndarray, rows: np.ndarray) -> Self:
        """Place coordinates on the grid, both axes in one scale, the shorter one in the middle.

        Args:
            name: Letters and digits.
            coordinates: (M, 2) of any scale.
            rows: (M,) row of the table for each.

        Raises:
            ShapeError: If there is not one pair a row.
            ConfigError: If a coordinate is not finite.
        """
        if coordinates.shape != (len(rows), 2):
            raise ShapeError("coordinates", f"({len(rows)}, 2)", coordinates.shape)
        if not np.isfinite(coordinates).all():
            raise ConfigError(f"The map '{name}' has coordinates that are not finite. Make it again.")
        places = np.zeros((len(rows), 2), np.uint16)
        if len(rows):
            low, high = coordinates.min(axis=0).astype(float), coordinates.max(axis=0).astype(float)
            shifted = coordinates - (low + high) / 2
            places = np.rint(shifted * (SIDE / max((high - low).max(), 1e-12)) + SIDE / 2).astype(np.uint16)
        stamp = blake2b(places.tobytes(), digest_size=4).hexdigest()
        return cls(name, stamp, places, np.asarray(rows, np.int64))

    @property
    def title(self) -> str:
        """Name and stamp, as terms hold them."""
        return f"{self.name}.{self.stamp}"


def inside(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Which points lie inside a polygon, by the even-odd rule: a loop that crosses itself has a hole there.

    Args:
        points: (N, 2).
        corners: (C, 2), the last is joined to the first.

    Returns:
        (N,) bool. Of points on an edge some count, some do not.
    """
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    x, y = points[:, 0], points[:, 1]
    near = np.flatnonzero((x >= left) & (x <= right) & (y >= top) & (y <= bottom))
    x, y, crossed = x[near].astype(np.float64), y[near].astype(np.float64), np.zeros(len(near), bool)
    corners = corners.astype(np.float64)
    for (x0, y0), (x1, y1) in zip(np.roll(corners, 1, axis=0), corners, strict=True):
        beside = np.flatnonzero((y0 > y) != (y1 > y))
        crossed[beside] ^= x[beside] < x0 + (y[beside] - y0) * (x1 - x0) / (y1 - y0)
    chosen = np.zeros(len(points), bool)
    chosen[near[crossed]] = True
    return chosen


def simplify(line: np.ndarray, most: int, close: float) -> np.ndarray:
    """The points of a line that matter most, in their order; the first and the last always.

    Ramer's rule (1972; Douglas and Peucker, 1973): the point farthest from the line so far is added, until none is
    farther than ``close`` or there are ``most``.

    Args:
        line: (C, 2).
        most: Points kept, at least 2.
        close: Distance, in units of the line.
    """
    if len(line) <= 2:
        return line
    kept, heap = {0, len(line) - 1}, [_farthest(line, 0, len(line) - 1)]
    while heap and len(kept) < most:
        distance, spot, first, last = heapq.heappop(heap)
        if -distance <= close:
            break
        kept.add(spot)
        for begin, end in ((first, spot), (spot, last)):
            if end - begin > 1:
                heapq.heappush(heap, _farthest(line, begin, end))
    return line[sorted(kept)]


def _farthest(line: np.ndarray, first: int, last: int) -> tuple[float, int, int, int]:
    """Minus the distance of the point farthest from a stretch of a line, which it is, and the stretch."""
    start, points = line[first].astype(np.float64), line[first + 1 : last].astype(np.float64)
    along = line[last] - start
    share = np.clip((points - start) @ along / max(along @ along, 1e-12), 0, 1)
    distances = np.linalg.norm(points - start - share[:, None] * along, axis=1)
    spot = int(distances.argmax())
    return -float(distances[spot]), first + 1 + spot, first, last
