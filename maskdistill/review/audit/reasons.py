"""Why a mask stands where it does in the queue, in one line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from maskdistill.pseudo_labels.filter import CLUSTER_BEST, PHOTO_BEST, THRESHOLDS
from maskdistill.review.audit.agreement import ACCEPTED, REJECTED
from maskdistill.review.audit.doubt import WEIGHTS, Doubts
from maskdistill.review.audit.queue import Order

NEAR = 0.97  # nearness from which a signal is just beside its threshold: 3 % of the masks lie between
_TELLING = 0.9  # from which a part of the doubt is worth a word
_HINTING = 0.6  # the same where nothing is that telling
_MOST = 3  # things said of a mask
_SCORE = "score"
_SIGNALS = {  # of THRESHOLDS: what it is called, and whether it is told in percent
    "score": (_SCORE, False),
    "iou": ("IoU with stage 1", False),
    "agreement": ("agreement with stage 1", False),
    "distance_quantile": ("distance to the centre, as a quantile of its cluster,", False),
    "area": ("area", True),
    "border": ("share of the border", True),
    "standing": ("place by score in its cluster", True),
}


@dataclass(frozen=True, eq=False)
class Reasons:
    """Tells of single masks what makes them doubtful."""

    frame: pd.DataFrame  # N rows of a ``MaskTable``
    doubts: Doubts  # of these rows
    name_of: Callable[[int], str]  # of a cluster

    def why(self, row: int, order: Order = Order.DOUBTFUL) -> str:
        """What is said of a mask under an order, its first letter a capital."""
        said = self._said(row, _TELLING) or self._said(row, _HINTING)[:1]
        if order == Order.DROPPED and not self._value("kept", row):
            said = [self._near_miss(row), *(text for text in said if not text.startswith(_SCORE))]
        text = "; ".join(said[:_MOST]) or "nothing speaks against it"
        return text[0].upper() + text[1:]

    def _said(self, row: int, least: float) -> list[str]:
        """What speaks against a mask by at least so much, the weightiest first."""
        parts = {name: float(values[row]) for name, values in self.doubts.parts.items()}
        tellers = {
            "threshold": self._threshold,
            "label": self._label,
            "margin": self._margin,
            "quality": self._quality,
            "border": self._border,
        }
        names = sorted(parts, key=lambda name: -WEIGHTS[name] * parts[name])
        return [text for name in names if parts[name] >= least and (text := tellers[name](row, parts[name]))]

    def _threshold(self, row: int, near: float) -> str:
        number = int(self.doubts.threshold[row])
        if number < 0 or self.doubts.settings is None:
            return ""
        threshold = THRESHOLDS[number]
        limit, value = float(getattr(self.doubts.settings, threshold.field)), float(self.doubts.value[row])
        name, percent = _SIGNALS[threshold.signal]
        value_text, limit_text = _told_apart(value, limit, percent)
        side = "above" if value > limit else "below" if value < limit else "at"
        rule = self._value("rule", row)
        if rule in (CLUSTER_BEST, PHOTO_BEST) and threshold.drops_below == (value < limit):
            return f"kept only as the {rule}: {name} {value_text} is {side} the threshold {limit_text}"
        just = "just " if near >= NEAR and side != "at" else ""
        return f"{name} {value_text}, {just}{side} the threshold {limit_text}"

    def _label(self, row: int, differs: float) -> str:
        if differs < 1:  # as it is where there is no label
            return ""
        label, cluster = int(self._value("label", row)), int(self._value("cluster", row))
        return f"stage 1 says {self.name_of(label)}, not {self.name_of(cluster)}"

    def _margin(self, row: int, share: float) -> str:
        if np.isnan(self._value("margin", row)):
            return ""
        return "almost as near to another cluster" if share >= _TELLING else "rather near to another cluster too"

    def _quality(self, row: int, share: float) -> str:
        quality = self._value("quality", row)
        return "" if np.isnan(quality) else f"proposal score {quality:.2f}, among the lowest {max(1 - share, 0.01):.0%}"

    def _border(self, row: int, _share: float) -> str:
        border = self._value("border", row)
        return f"touches {border:.0%} of the photo's border" if border >= 0.005 else ""

    def _near_miss(self, row: int) -> str:
        dropped, score = f"dropped ({self._value('rule', row) or 'not judged'})", self._value("score", row)
        return dropped if np.isnan(score) else f"{dropped} with a {_SCORE} of {score:.2f}"

    def _value(self, name: str, row: int) -> Any:
        return self.frame[name].iat[row]


def disagreement(names: Sequence[str], said: Sequence[int], name_of: Callable[[int], str]) -> str:
    """Who said what of one mask, by people's names and their ``words``: ``Ann accepted, Bob moved it to cat``."""
    verbs = {ACCEPTED: "accepted", REJECTED: "rejected"}
    told = [
        f"{name} {verbs.get(word) or f'moved it to {name_of(word)}'}" for name, word in zip(names, said, strict=True)
    ]
    return ", ".join(told)


def _told_apart(value: float, limit: float, percent: bool) -> tuple[str, str]:
    """Both numbers with as many digits as it takes to see that they differ."""
    scale, unit = (100, " %") if percent else (1, "")
    for digits in range(0 if percent else 2, 5):
        texts = f"{scale * value:.{digits}f}{unit}", f"{scale * limit:.{digits}f}{unit}"
        if texts[0] != texts[1] or value == limit:
            break
    return texts
