"""Scores of other tools, brought to [0, 1]."""

from collections.abc import Sequence
from typing import NamedTuple


class Scaled(NamedTuple):
    """Scores and how they came to their values."""

    values: list[float | None]  # [0, 1]; None where the file has none
    sentence: str


def scale_scores(given: Sequence[float | None]) -> Scaled:
    """Scores in [0, 1] stay, percentages are divided by 100, others are spread from the lowest to the highest."""
    known = [value for value in given if value is not None]
    if not known:
        return Scaled(list(given), "none given: area and border of each mask stand in for it")
    low, high = min(known), max(known)
    missing = len(given) - len(known)
    rest = f"; {missing} masks have none: area and border stand in for it" if missing else ""
    if low >= 0 and high <= 1:
        return Scaled(list(given), f"as given{rest}")
    if low >= 0 and high <= 100:
        return Scaled(_map(given, 0.0, 100.0), f"given as percentages, up to {high:g}{rest}")
    return Scaled(_map(given, low, high), f"given from {low:g} to {high:g}, spread over 0 to 1{rest}")


def _map(given: Sequence[float | None], low: float, high: float) -> list[float | None]:
    wide = (high - low) or 1.0
    return [None if value is None else (value - low) / wide for value in given]
