"""What a person did to a mask, step by step, and what comes of it. No Streamlit, no file.

The browser keeps the list of steps and sends all of it each time, so that a server that was started again, or an undo,
needs nothing else.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from maskdistill.errors import ConfigError
from maskdistill.review.decisions import Tool
from maskdistill.review.repair import (
    Click,
    Mender,
    erase_component,
    fill_holes,
    keep_component,
    merge,
    paint,
    smooth,
)

MOST_STEPS = 300
_MOST_POINTS = 4000  # of a stroke
_TOOLS = {
    "click": Tool.CLICK,
    "sharpen": Tool.CLICK,
    "keep": Tool.COMPONENT,
    "erase": Tool.COMPONENT,
    "fill": Tool.COMPONENT,
    "smooth": Tool.COMPONENT,
    "take": Tool.ALTERNATIVE,
    "split": Tool.SPLIT,
    "join": Tool.MERGE,
    "new": Tool.NEW,
    "paint": Tool.BRUSH,
}
Step = Mapping[str, Any]  # "do": one of _TOOLS, and what belongs to it; points in pixels of the photo


@dataclass(frozen=True, eq=False)
class Subject:
    """A photo on which masks are mended, at the size that they are drawn on."""

    mender: Mender
    scale: float  # from pixels of the photo to those of ``mender``
    others: Mapping[int, np.ndarray] = field(default_factory=dict)  # its other masks by id, (h, w) bool
    choices: Sequence[np.ndarray] = ()  # other shapes to take, (h, w) bool

    @property
    def size(self) -> tuple[int, int]:
        """height, width in pixels."""
        return self.mender.size


@dataclass(frozen=True, eq=False)
class Shapes:
    """A mask after some steps."""

    mask: np.ndarray  # (h, w) bool
    part: np.ndarray | None = None  # the other part, where it was cut in two
    joined: tuple[int, ...] = ()  # other masks that went into it
    tool: Tool = Tool.CLICK  # what most was done with


def apply_steps(subject: Subject, start: np.ndarray | None, steps: Sequence[Step]) -> Shapes:
    """The mask after these steps.

    Clicks that follow each other are one question to the transformer: a later one may change what an earlier one did.

    Args:
        subject: The photo.
        start: (h, w) bool, the mask as it was; None for a new one.
        steps: In order.

    Raises:
        ConfigError: If a step cannot be understood, or lies outside the photo.
    """
    if len(steps) > MOST_STEPS:
        raise ConfigError(
            f"At most {MOST_STEPS} steps can be kept at once, got {len(steps)}. Keep the mask, then go on."
        )
    shapes = _Steps(subject, np.zeros(subject.size, bool) if start is None else start.copy())
    for step in steps:
        shapes.do(step)
    shapes.settle()
    return Shapes(shapes.mask, shapes.part, tuple(shapes.joined), _main_tool(start, shapes, steps))


def enlarge(before: np.ndarray, small_before: np.ndarray, small_after: np.ndarray) -> np.ndarray:
    """A mask at the photo's size: only what changed on the smaller copy differs from the mask of before.

    Args:
        before: (H, W) bool.
        small_before: (h, w) bool, the same on the copy.
        small_after: (h, w) bool, what became of that.
    """
    if before.shape == small_before.shape:
        return small_after
    size = before.shape[0], before.shape[1]
    turned = ndimage.binary_dilation(small_before ^ small_after)  # a pixel more, or slivers of the old border stay
    return np.where(resized(turned, size), resized(small_after, size), before)


def resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask on another copy of its photo, (height, width)."""
    if mask.shape == size:
        return mask
    return np.asarray(Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST))


class _Steps:
    """A mask on its way through the steps."""

    def __init__(self, subject: Subject, mask: np.ndarray) -> None:
        self.subject, self.mask = subject, mask
        self.part: np.ndarray | None = None
        self.joined: list[int] = []
        self.clicks: list[Click] = []  # since the last other step

    def do(self, step: Step) -> None:
        kind = step.get("do")
        if kind not in _TOOLS:
            raise ConfigError(f"A step of the editor is one of {', '.join(_TOOLS)}, got {str(kind)[:40]!r}.")
        if kind == "click":
            self.clicks.append(self._click(step, adds=bool(step.get("adds")), everywhere=bool(step.get("everywhere"))))
            return
        self.settle(crf=kind == "sharpen")
        getattr(self, f"_{kind}")(step)

    def settle(self, *, crf: bool = False) -> None:
        if self.clicks:
            self.mask = self.subject.mender.mend(self.mask, self.clicks, crf=crf)
        self.clicks = []

    def _sharpen(self, _step: Step) -> None:
        """What the clicks before it changed was sharpened when they were settled."""

    def _keep(self, step: Step) -> None:
        self.mask = keep_component(self.mask, *self._point(step))

    def _erase(self, step: Step) -> None:
        self.mask = erase_component(self.mask, *self._point(step))

    def _fill(self, _step: Step) -> None:
        self.mask = fill_holes(self.mask)

    def _smooth(self, _step: Step) -> None:
        self.mask = smooth(self.mask)

    def _take(self, step: Step) -> None:
        number = step.get("number")
        if not isinstance(number, int) or not 0 <= number < len(self.subject.choices):
            raise ConfigError(f"There are {len(self.subject.choices)} other shapes to take, got number {number}.")
        self.mask = self.subject.choices[number].copy()

    def _split(self, step: Step) -> None:
        first, second = self._click(step.get("first", {})), self._click(step.get("second", {}))
        self.mask, self.part = self.subject.mender.split(self.mask, first, second)

    def _join(self, step: Step) -> None:
        x, y = self._point(step)
        height, width = self.subject.size
        row, col = min(int(y), height - 1), min(int(x), width - 1)
        found = next(
            (id for id, other in self.subject.others.items() if other[row, col] and id not in self.joined), None
        )
        if found is None:
            raise ConfigError("There is no other mask of the photo at that point. Click inside one.")
        self.joined.append(found)
        self.mask = merge([self.mask, self.subject.others[found]])

    def _new(self, step: Step) -> None:
        self.mask = self.subject.mender.new_mask(self._click(step))

    def _paint(self, step: Step) -> None:
        points = step.get("points")
        if not isinstance(points, Sequence) or not 0 < len(points) <= _MOST_POINTS:
            raise ConfigError("A stroke of the brush needs its points.")
        scale = self.subject.scale
        places = [(_number(x) * scale, _number(y) * scale) for x, y in points]
        self.mask = paint(self.mask, places, _number(step.get("radius")) * scale, erases=bool(step.get("erases")))

    def _point(self, step: Any) -> tuple[float, float]:
        if not isinstance(step, Mapping):
            raise ConfigError("A step of the editor needs a point of the photo.")
        scale, (height, width) = self.subject.scale, self.subject.size
        x, y = _number(step.get("x")) * scale, _number(step.get("y")) * scale
        return min(max(x, 0.0), float(width)), min(max(y, 0.0), float(height))

    def _click(self, step: Any, *, adds: bool = True, everywhere: bool = False) -> Click:
        return Click(*self._point(step), adds, everywhere)


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ConfigError(f"A place in the photo is a number of pixels, got {str(value)[:40]!r}.")
    return float(value)


def _main_tool(start: np.ndarray | None, shapes: _Steps, steps: Sequence[Step]) -> Tool:
    if start is None:
        return Tool.NEW
    if shapes.joined:
        return Tool.MERGE
    if shapes.part is not None:
        return Tool.SPLIT
    return Counter(_TOOLS[step["do"]] for step in steps).most_common(1)[0][0] if steps else Tool.CLICK
