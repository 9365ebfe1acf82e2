"""How the time of a piece of work grows with its input: a ratio, since a machine may be slow or busy."""

import time
from collections.abc import Callable


def growth(work: Callable[[], object], larger: Callable[[], object], repeats: int = 5) -> float:
    """How many times as much processor time ``larger`` takes as ``work``; of each, the quickest of some turns."""
    return _quickest(larger, repeats) / _quickest(work, repeats)


def _quickest(work: Callable[[], object], repeats: int) -> float:
    spent = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)
