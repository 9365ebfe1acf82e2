"""Choices of the Results page that stand in the link, as far as the run on show has them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from app import selection, session
from app.components.layered_image import PHOTO
from maskdistill.evaluation.metric_tables import kind_name
from maskdistill.evaluation.photo_metrics import order_photos

ORDERS = {
    "worst": "Worst first",
    "best": "Best first",
    "changed": "Most changed first",
    "order": "As in the source",
}
TRUTH = "truth"


def keep(option: selection.Option, key: str) -> Callable[[], None]:
    """Callback of a widget whose value is a choice."""
    return lambda: selection.set_option(option, str(session.widget_value(key) or ""))


@dataclass(frozen=True)
class StagePair:
    """What stands on the left and on the right of the slider."""

    first: str
    second: str

    def changed(self, fallback: "StagePair") -> "StagePair":
        """The two kinds of label maps that "most changed" is about: ground truth and the photo are none."""
        differ = {self.first, self.second}.isdisjoint((TRUTH, PHOTO)) and self.first != self.second
        return self if differ else fallback

    @property
    def text(self) -> str:
        """For people."""
        return f"{kind_name(self.first)} to {kind_name(self.second)}"


def pair(sides: Sequence[str], default: StagePair) -> StagePair:
    """The chosen pair, as far as this run has it."""
    first, second = selection.option(selection.Option.FIRST), selection.option(selection.Option.SECOND)
    return StagePair(first if first in sides else default.first, second if second in sides else default.second)


def choose_pair(first: str, second: str) -> None:
    """Keep a pair."""
    selection.set_option(selection.Option.FIRST, first)
    selection.set_option(selection.Option.SECOND, second)


def sort_photos(order: str, ious: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """Numbers of all photos in an order of ``ORDERS``; those that cannot be ranked come last.

    Args:
        order: Which.
        ious: (photos,) mean IoU, NaN where unknown.
        changed: (photos,) share of pixels that differ, NaN where unknown.
    """
    if order == "changed":
        return order_photos(changed, highest_first=True)
    if order == "order":
        return np.arange(len(ious))
    return order_photos(ious, highest_first=order == "best")
