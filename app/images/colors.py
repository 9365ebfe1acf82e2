"""What a colour means on the explorer's pages, in one place; every set can be told apart by colour-blind eyes."""

import numpy as np

from app.images.drawing import colour_map, css_gradient
from app.images.label_colors import label_colours

NONE = "#66727D"  # no cluster, no decision, no value
GOOD, BAD, WARN, NOTE = "#009E73", "#D55E00", "#E69F00", "#3A8FD9"  # Okabe and Ito's; a sign stands beside them
KEPT, DROPPED, NOT_JUDGED = GOOD, BAD, NONE
ACCEPTED, REJECTED, RELABELLED, SKIPPED, UNDECIDED = GOOD, BAD, NOTE, WARN, NONE
DECISION_COLOURS = {1: ACCEPTED, -1: REJECTED, 0: UNDECIDED}  # as Effective.decision counts them
SIGNS = {"good": "✓", "bad": "✕", "warn": "!"}  # of a tile's tone, so that nobody needs the colour


def cluster_colour(cluster: int) -> str:
    """``#RRGGBB`` of a cluster, the same as in its label maps; 0 is no cluster."""
    return NONE if cluster <= 0 else _hex(label_colours()[(cluster - 1) % 254 + 1])


def truth_colour(truth: int) -> str:
    """``#RRGGBB`` of a ground-truth class; 0 is background, -1 unknown."""
    return cluster_colour(truth)


def score_colours(values: np.ndarray, low: float = 0.0, high: float = 1.0) -> list[str]:
    """``#RRGGBB`` of (N,) scores on viridis; NaN is grey."""
    known = np.isfinite(values)
    pixels = np.asarray(colour_map(np.where(known, values, low)[None], low, high, "sequential"))[0]
    return [_hex(pixel) if sure else NONE for pixel, sure in zip(pixels.tolist(), known.tolist(), strict=True)]


def score_gradient() -> str:
    """The scale of scores from low to high, as CSS, for a legend."""
    return css_gradient("sequential")


def text_on(colour: str) -> str:
    """Black or white, whichever reads better on a colour."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#111820" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#FFFFFF"


def _hex(parts: tuple[int, int, int] | list[int]) -> str:
    return "#{:02X}{:02X}{:02X}".format(*parts)
