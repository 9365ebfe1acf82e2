"""Why a mask is doubtful, in one line."""

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
_HIGH = 0.9  # from which a part of the doubt is named
_MEDIUM = 0.6  # the same where no part is that high
_MOST = 3  # reasons given for a mask
_SCORE = "score"
_SIGNALS = {  # of THRESHOLDS: its name, and whether it is in percent
    "score": (_SCORE, False),
    "iou": ("IoU with stage 1", False),
    "agreement": ("agreement with stage 1", False),
    "distance_quantile": ("distance to the centre, as a quantile of its cluster,", False),
    "area": ("area", True),
    "border": ("share of the border", True),
    "standing": ("rank by score in its cluster", True),
}


@dataclass(frozen=True, eq=False)
class Reasons:
    """Names what makes single masks doubtful."""

    frame: pd.DataFrame  # N rows of a ``MaskTable``
    doubts: Doubts  # of these rows
    name_of: Callable[[int], str]  # of a cluster

    def why(self, row: int, order: Order = Order.DOUBTFUL) -> str:
        """The reasons for a mask under an order, the first letter a capital."""
        reasons = self._reasons(row, _HIGH) or self._reasons(row, _MEDIUM)[:1]
        if order == Order.DROPPED and not self._value("kept", row):
            reasons = [self._near_miss(row), *(text for text in reasons if not text.startswith(_SCORE))]
        text = "; ".join(reasons[:_MOST]) or "no sign of an error"
        return text[0].upper() + text[1:]

    def _reasons(self, row: int, least: float) -> list[str]:
        """What makes a mask doubtful by at least so much, the weightiest first."""
        parts = {name: float(values[row]) for name, values in self.doubts.parts.items()}
        texts = {
            "threshold": self._threshold,
            "label": self._label,
            "margin": self._margin,
            "quality": self._quality,
            "border": self._border,
        }
        names = sorted(parts, key=lambda name: -WEIGHTS[name] * parts[name])
        return [text for name in names if parts[name] >= least and (text := texts[name](row, parts[name]))]

    def _threshold(self, row: int, near: float) -> str:
        number = int(self.doubts.threshold[row])
        if number < 0 or self.doubts.settings is None:
            return ""
        threshold = THRESHOLDS[number]
        limit, value = float(getattr(self.doubts.settings, threshold.field)), float(self.doubts.value[row])
        name, percent = _SIGNALS[threshold.signal]
        value_text, limit_text = _distinct(value, limit, percent)
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
        return f"stage 1 predicts {self.name_of(label)}, not {self.name_of(cluster)}"

    def _margin(self, row: int, share: float) -> str:
        if np.isnan(self._value("margin", row)):
            return ""
        return "almost as close to another cluster" if share >= _HIGH else "close to another cluster too"

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


def disagreement(names: Sequence[str], labels: Sequence[int], name_of: Callable[[int], str]) -> str:
    """Who gave one mask which label, by people's names and their labels: ``Ann accepted, Bob moved it to cat``."""
    verbs = {ACCEPTED: "accepted", REJECTED: "rejected"}
    return ", ".join(
        f"{name} {verbs.get(label) or f'moved it to {name_of(label)}'}"
        for name, label in zip(names, labels, strict=True)
    )


def _distinct(value: float, limit: float, percent: bool) -> tuple[str, str]:
    """Both numbers with as many digits as it takes to see that they differ."""
    scale, unit = (100, " %") if percent else (1, "")
    for digits in range(0 if percent else 2, 5):
        texts = f"{scale * value:.{digits}f}{unit}", f"{scale * limit:.{digits}f}{unit}"
        if texts[0] != texts[1] or value == limit:
            break
    return texts
