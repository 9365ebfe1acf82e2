"""Single objects of a photo as candidates for the labels: which there are, and the class that the first model sees.

The objects end where a head of its own, which knows no classes, says so; the first model says what they are. So a
score is the geometric mean of both: how far it is one object, and how probable its class is inside. No ground truth is
read.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from maskdistill.masks import border_share, decode_mask
from maskdistill.proposals.tree import flatten, pairwise_iou
from maskdistill.pseudo_labels.candidates import SAME_OBJECT, PredictedMask

SMALL_SIDE = 160  # pixels, shorter side on which masks are compared and the classes inside them counted
LEAST_SEEN = 0.5  # mean probability of any class inside an object that no proposal was


@dataclass(frozen=True, eq=False)
class _Masks:
    """Masks of a photo on a small grid, with what a model says of them."""

    small: np.ndarray  # (M, h, w) bool
    means: np.ndarray  # (M, K + 1) mean probabilities inside, background first

    @classmethod
    def look_at(cls, codes: Sequence[dict[str, Any]], probabilities: np.ndarray) -> Self:
        step = max(1, min(probabilities.shape[1:]) // SMALL_SIDE)
        coarse = probabilities[:, ::step, ::step]
        masks = [decode_mask(code)[::step, ::step] for code in codes]  # one at a time: many large ones are too many
        small = np.array(masks, bool).reshape(-1, *coarse.shape[1:])
        inside = flatten(small)
        sums = inside @ coarse.reshape(len(coarse), -1).T
        return cls(small, sums / np.maximum(inside.sum(axis=1, keepdims=True), 1))

    @property
    def labels(self) -> np.ndarray:
        """(M,) class of each, 1 to K: an object is of some class, however sure the model is of the background."""
        return self.means[:, 1:].argmax(axis=1) + 1

    @property
    def certainties(self) -> np.ndarray:
        """(M,) mean probability of that class."""
        return self.means[:, 1:].max(axis=1)


def compare_objects(
    probabilities: np.ndarray,
    objects: Sequence[dict[str, Any]],
    proposals: Sequence[dict[str, Any]],
    clusters: Sequence[int],
    *,
    others: Sequence[dict[str, Any]] = (),
    min_area: float,
    most_new: int,
) -> list[PredictedMask]:
    """The candidates of a photo, out of its single objects.

    An object and a proposal that overlap by an IoU of 0.5 are the same, each at most once; the shape is the object's.
    A proposal that no object is stays, with a score as low as its best overlap, so that what people decided about it
    holds. An object that no proposal was counts where the first model sees any class in it, rather than background.

    Args:
        probabilities: (K + 1, H, W), background first.
        objects: COCO annotations at the photo's size, with ``score``; best first.
        proposals: The same of the proposals, best first.
        clusters: Cluster of each proposal, 1 to K.
        others: Proposals that are in no class, as people rejected them: what is the same object is left out.
        min_area: Fraction of the photo below which an object that no proposal was is left out.
        most_new: Objects that no proposal was, at most.

    Returns:
        One item a proposal, in order; then the other objects, best first.
    """
    scores = np.array([item["score"] for item in objects], np.float64)
    codes = [[item["segmentation"] for item in items] for items in (objects, proposals, others)]
    seen, known, unwanted = (_Masks.look_at(part, probabilities) for part in codes)
    overlaps, predicted = pairwise_iou(known.small, seen.small), probabilities.argmax(axis=0)
    pairs, result = _pair(overlaps), []
    for number, cluster in enumerate(clusters):
        place = pairs.get(number)
        if place is None:
            ious = overlaps[number]
            best, iou = float((ious * scores).max(initial=0.0)), float(ious.max(initial=0.0))
            found = _describe(predicted, codes[1][number], known, number, best)
        else:
            iou = float(overlaps[number, place])
            found = _describe(predicted, codes[0][place], seen, place, float(scores[place]))
        agreement = float(np.mean(predicted[found.mask] == cluster)) if found.mask.any() else 0.0
        result.append(replace(found, proposal=number, iou=iou, agreement=agreement))
    taken = np.concatenate([known.small, unwanted.small, seen.small[sorted(pairs.values())]])
    new = _choose_new(seen, np.sqrt(scores * seen.certainties), taken, min_area, most_new)
    return result + [_describe(predicted, codes[0][place], seen, place, float(scores[place])) for place in new]


def _choose_new(seen: _Masks, scores: np.ndarray, taken: np.ndarray, min_area: float, most: int) -> list[int]:
    """Places of the objects that are none of the masks ``taken``, best first."""
    area = seen.small.mean(axis=(1, 2))
    free = (area > 0) & (area >= min_area) & (1 - seen.means[:, 0] >= LEAST_SEEN)
    chosen: list[int] = []
    for place in np.argsort(-scores, kind="stable"):
        if len(chosen) < most and free[place]:
            rivals = np.concatenate([taken, seen.small[chosen]])
            if not (pairwise_iou(rivals, seen.small[[place]]) >= SAME_OBJECT).any():
                chosen.append(int(place))
    return chosen


def _pair(overlaps: np.ndarray) -> dict[int, int]:
    """Proposal -> object that it is, the pairs of largest overlap first; (N, M) IoUs."""
    pairs: dict[int, int] = {}
    alike = np.argwhere(overlaps >= SAME_OBJECT)
    for number, place in alike[np.argsort(-overlaps[tuple(alike.T)], kind="stable")].tolist():
        if number not in pairs and place not in pairs.values():
            pairs[number] = place
    return pairs


def _describe(
    predicted: np.ndarray, code: dict[str, Any], masks: _Masks, row: int, object_score: float
) -> PredictedMask:
    """A candidate that no proposal was.

    Args:
        predicted: (H, W) most probable class.
        code: Its mask at the photo's size.
        masks: That and others on the small grid.
        row: Its place in them.
        object_score: How far it is one object.
    """
    mask, label = decode_mask(code), int(masks.labels[row])
    score = math.sqrt(object_score * float(masks.certainties[row]))
    about = (float(mask.mean()), border_share(mask), object_score)
    return PredictedMask(mask, None, label, score, math.nan, math.nan, *about)
