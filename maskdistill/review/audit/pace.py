"""How fast a person works, and how long the rest will take."""

from dataclasses import dataclass

import numpy as np

PAUSE = 120.0  # seconds without an action that count as a pause
WINDOW = 600.0  # seconds of work that the pace is taken from
_ENOUGH = 5  # actions that an estimate needs


@dataclass(frozen=True)
class Pace:
    """Actions in the last minutes of work."""

    per_minute: float  # masks
    seconds: float  # of work that it was taken from

    def time_left(self, num_masks: int) -> float:
        """Seconds that this number of masks takes at this pace."""
        return 60 * num_masks / self.per_minute


def measure_pace(times: np.ndarray) -> Pace | None:
    """Pace of one person's actions.

    Args:
        times: (n,) seconds, rising; an action on many masks at once is one.

    Returns:
        None if there are too few actions without a pause between them.
    """
    gaps = np.diff(times)
    gaps = gaps[(gaps >= 0) & (gaps <= PAUSE)][::-1]  # the last first
    recent = gaps[: np.searchsorted(np.cumsum(gaps), WINDOW, side="right")]
    spent = float(recent.sum())
    if len(recent) < _ENOUGH or spent <= 0:
        return None
    return Pace(60 * len(recent) / spent, spent)
