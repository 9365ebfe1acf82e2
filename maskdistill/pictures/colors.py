"""Every palette of the app: masks, clusters, scales, decisions. Color-blind eyes can tell them apart."""

import colorsys
from functools import lru_cache
from typing import Literal

import numpy as np

Scale = Literal["sequential", "diverging"]

NONE = "#66727D"  # no cluster, no decision, no value
GOOD, BAD, WARN, NOTE = "#009E73", "#D55E00", "#E69F00", "#3A8FD9"  # Okabe and Ito's; a sign stands beside them
KEPT, DROPPED, NOT_JUDGED = GOOD, BAD, NONE
ACCEPTED, REJECTED, RELABELLED, SKIPPED, UNDECIDED = GOOD, BAD, NOTE, WARN, NONE
DECISION_COLORS = {1: ACCEPTED, -1: REJECTED, 0: UNDECIDED}  # as Effective.decision counts them
SIGNS = {"good": "✓", "bad": "✕"}  # beside a color, so that nobody needs it

# Okabe and Ito's colors with a lighter blue that stands out on photos, then darker ones. Any two lie 10 CIELAB units
# apart or more, also to eyes without one kind of cone (Machado et al., 2009), and stand out on a light and a dark page.
MASK_COLORS = (
    *("#3FC8E4", "#E69F00", "#CC79A7", "#00B386", "#F0E442"),
    *("#FF7A33", "#5B8CFF", "#B3261E", "#6F3CC4", "#12705F"),
)
# Anchors of viridis (van der Walt and Smith, 2015), even to color-blind eyes, and a blue-orange scale for signed maps.
_SCALES = {
    "sequential": (
        *("#440154", "#482878", "#3E4A89", "#31688E", "#26828E"),
        *("#1F9E89", "#35B779", "#6DCD59", "#B4DE2C", "#FDE725"),
    ),
    "diverging": (
        *("#0B4F8A", "#3273A6", "#6699C2", "#A3C1DB", "#E8ECEF"),
        *("#EBC79F", "#DC9A57", "#C26F1C", "#8A4600"),
    ),
}
_GOLDEN = 0.61803398875  # of the circle of hues: neighbors come out far apart
_IGNORED = (150, 150, 150)


def rgb(color: str) -> tuple[int, int, int]:
    """``#RRGGBB`` as three numbers of 255."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def mask_color(rank: int) -> str:
    """Color of the mask of that rank in its photo, 0 for the best."""
    return MASK_COLORS[rank % len(MASK_COLORS)]


@lru_cache(maxsize=1)
def label_colors() -> tuple[tuple[int, int, int], ...]:
    """256 colors of label maps: index 0 background (never seen), n the n-th class, 255 uncertain.

    The first are those of masks; each of the rest is far from the one before.
    """
    first = [(0, 0, 0), *map(rgb, MASK_COLORS)]
    return (*first, *(_spread(number) for number in range(len(first), 255)), _IGNORED)


def _spread(number: int) -> tuple[int, int, int]:
    lightness, saturation = (0.62, 0.75) if number % 2 else (0.45, 0.85)
    red, green, blue = colorsys.hls_to_rgb(number * _GOLDEN % 1, lightness, saturation)
    return round(255 * red), round(255 * green), round(255 * blue)


def cluster_color(cluster: int) -> str:
    """``#RRGGBB`` of a cluster or a ground-truth class, the same as in label maps; 0 and less is none."""
    return NONE if cluster <= 0 else _hex(label_colors()[(cluster - 1) % 254 + 1])


def scale_pixels(values: np.ndarray, scale: Scale) -> np.ndarray:
    """(…,) values as (…, 3) uint8 RGB; values outside [0, 1] take the end's color."""
    anchors = np.array([rgb(color) for color in _SCALES[scale]], dtype=np.float32)
    position = np.clip(values, 0, 1) * (len(anchors) - 1)
    below = np.minimum(position.astype(int), len(anchors) - 2)
    weight = (position - below)[..., None]
    return (anchors[below] * (1 - weight) + anchors[below + 1] * weight).astype(np.uint8)


def score_colors(scores: np.ndarray) -> list[str]:
    """``#RRGGBB`` of (N,) scores in [0, 1]."""
    return [_hex(pixel) for pixel in scale_pixels(scores, "sequential").tolist()]


def css_gradient(scale: Scale) -> str:
    """The scale from low to high, for a legend."""
    return f"linear-gradient(90deg, {', '.join(_SCALES[scale])})"


def text_on(color: str) -> str:
    """Black or white, whichever reads better on a color."""
    red, green, blue = rgb(color)
    return "#111820" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#FFFFFF"


def _hex(parts: tuple[int, int, int] | list[int]) -> str:
    return "#{:02X}{:02X}{:02X}".format(*parts)
