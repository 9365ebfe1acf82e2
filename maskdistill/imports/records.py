"""What a file of masks gives, whatever its format, before it is known which photos there are."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from maskdistill.datasets import Photo
from maskdistill.datasets.coco_masks import short_text


class GivenMask(NamedTuple):
    """One mask as a file has it."""

    shape: list[Any] | dict[str, Any] | np.ndarray  # polygons or run-length code as COCO writes them, or (H, W) bool
    name: int | str  # for messages: its id or its place
    category: str = ""  # "" for none
    score: object = None  # whatever stands there; None for nothing
    size: tuple[int, int] | None = None  # (height, width) in pixels that polygons were drawn on, if the file says so


# Masks of a photo; each call reads the files anew. Raises ``AnnotationError`` or ``DatasetError`` if it cannot.
Load = Callable[[Photo], Iterable[GivenMask]]


@dataclass(frozen=True)
class GivenPhoto:
    """The masks that a file has of one photo."""

    names: tuple[str, ...]  # by which to find the photo, the surest first
    where: Path  # the file, for messages
    load: Load
    known_id: str = ""  # id of the photo in a source of this program, as our own exports write it
    num_masks: int | None = None  # if that is known without ``load``


@dataclass
class Losses:
    """What is left out, counted by reason."""

    found: dict[str, tuple[int, str]] = field(default_factory=dict)  # reason -> number of masks, the first
    leave_crowds: bool = False  # whether masks that are marked as crowds are left out
    num_crowds: int = 0  # of them that are taken

    def add(self, reason: str, example: object = "", number: int = 1) -> None:
        """Count masks; the reason is a clause such as "cover no pixel"."""
        known, first = self.found.get(reason, (0, str(example)))
        self.found[reason] = (known + number, first)

    def take(self, other: "Losses") -> None:
        """Count what others have counted."""
        for reason, (number, first) in other.found.items():
            self.add(reason, first, number)

    @property
    def total(self) -> int:
        """Masks, over all reasons."""
        return sum(number for number, _ in self.found.values())

    def table(self) -> list[dict[str, object]]:
        """For JSON: reason, number of masks, the first; the most frequent first."""
        ranked = sorted(self.found.items(), key=lambda item: -item[1][0])
        return [{"reason": reason, "count": count, "first": first} for reason, (count, first) in ranked]


def as_score(value: object) -> float | None:
    """A finite number, or none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e30 or value != value:
        return None
    return float(value)


def as_category(value: object) -> str:
    """The name of a category as text; "" for none."""
    if value is None or value == "":
        return ""
    text = value if isinstance(value, str) else short_text(value)
    return " ".join(text.encode("utf-8", "backslashreplace").decode().split())[:200]
