"""Pixel counts of ground truth against prediction, and what is reported from them; for reporting only.

Labels enter here and nowhere else: nothing that trains, selects or thresholds may read a matching or a measure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from maskdistill.datasets import IGNORE_INDEX
from maskdistill.errors import ConfigError, DatasetError, ShapeError

BACKGROUND = "background"
Matching = dict[int, int]  # cluster -> class, 0 -> 0 among them; a cluster that is missing stands for no class


@dataclass(kw_only=True, eq=False)
class Confusion:
    """Counts of pixels by ground truth and prediction, filled photo by photo; exact, as the counts are int64.

    Pixels whose ground truth is 255 are left out. A prediction of 255 is no label for its pixel: it counts as a
    wrong answer there (so it lowers the IoU of the true class), unless ``skip_unknown`` leaves such pixels out, which
    judges pseudo-labels where they have a label. ``coverage`` is the share of such pixels: report both.
    """

    num_classes: int  # of the ground truth, without background, 1 to 254
    num_clusters: int  # of the prediction, without background, 1 to 254
    skip_unknown: bool = False
    num_images: int = field(default=0, init=False)
    counts: np.ndarray = field(init=False, repr=False)  # (num_classes + 1, num_clusters + 1), rows ground truth
    unknown: np.ndarray = field(init=False, repr=False)  # (num_classes + 1,) pixels predicted as 255

    def __post_init__(self) -> None:
        for name in ("num_classes", "num_clusters"):
            if not 1 <= getattr(self, name) < IGNORE_INDEX:
                raise ConfigError(f"{name} must be 1 to {IGNORE_INDEX - 1}, got {getattr(self, name)}.")
        self.counts = np.zeros((self.num_classes + 1, self.num_clusters + 1), np.int64)
        self.unknown = np.zeros(self.num_classes + 1, np.int64)

    def update(self, labels: np.ndarray, prediction: np.ndarray) -> None:
        """Add the pixels of one photo; after an error nothing of it is counted.

        Args:
            labels: (H, W) integers: 0 background, 1 to ``num_classes``, 255 ignored.
            prediction: (H, W) integers: 0 background, 1 to ``num_clusters``, 255 unknown.

        Raises:
            ShapeError: If the two are not maps of one size.
            DatasetError: If the labels hold another value.
            ConfigError: If the prediction holds another value, or either of them is not of integers.
        """
        if labels.ndim != 2 or labels.shape != prediction.shape:
            raise ShapeError("prediction", f"(H, W), as the labels with {labels.shape}", prediction.shape)
        invalid = _invalid_value(labels, self.num_classes)
        if invalid is not None:
            raise DatasetError(
                f"The labels hold the value {invalid}; wanted 0 to {self.num_classes}, or {IGNORE_INDEX} for ignored. "
                "Name every class of the ground truth (classes.txt in a VOC folder)."
            )
        invalid = _invalid_value(prediction, self.num_clusters)
        if invalid is not None:
            raise ConfigError(
                f"The prediction holds the value {invalid}; wanted 0 to {self.num_clusters}, or {IGNORE_INDEX} for "
                "unknown. Give the number of clusters that it was made with."
            )
        pairs = labels.astype(np.uint16) * np.uint16(256) + prediction.astype(np.uint16)
        table = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)[: self.num_classes + 1]
        self.counts += table[:, : self.num_clusters + 1]
        self.unknown += table[:, IGNORE_INDEX]
        self.num_images += 1

    def __add__(self, other: "Confusion") -> "Confusion":
        """The counts of two sets of photos together.

        Raises:
            ShapeError: If they differ in the number of classes or clusters.
            ConfigError: If one skips unknown pixels and the other does not.
        """
        if not isinstance(other, Confusion):
            return NotImplemented
        if self.counts.shape != other.counts.shape:
            raise ShapeError("The counts to add", f"{self.counts.shape}", other.counts.shape)
        if self.skip_unknown != other.skip_unknown:
            raise ConfigError("One of the counts skips unknown pixels, the other does not. Use the same for both.")
        total = replace(self)
        total.counts, total.unknown = self.counts + other.counts, self.unknown + other.unknown
        total.num_images = self.num_images + other.num_images
        return total

    @property
    def truth(self) -> np.ndarray:
        """(num_classes + 1,) int64 pixels of each class that are judged."""
        return self.counts.sum(axis=1) + (0 if self.skip_unknown else self.unknown)

    @property
    def coverage(self) -> float | None:
        """Share of the pixels with ground truth that have an answer, in [0, 1]; None without any pixel."""
        labelled, unknown = int(self.counts.sum()), int(self.unknown.sum())
        return labelled / (labelled + unknown) if labelled + unknown else None


@dataclass(frozen=True, kw_only=True)
class SegmentationReport:
    """Measures of a prediction after its clusters were matched to classes; None where there is nothing to measure."""

    miou: float | None  # [0, 1], mean over background and classes that occur in ground truth or matched prediction
    iou: dict[str, float | None]  # by class name, [0, 1]; None for a class absent from both
    pixel_accuracy: float | None  # [0, 1], share of judged pixels with the right class
    matching: dict[int, str]  # cluster -> class name; a cluster that is missing stands for no class
    num_images: int
    coverage: float | None  # share of pixels with an answer other than 255, [0, 1]
    confusion: list[list[int]]  # pixels, rows ground truth, columns predicted class, the last one "no class"

    def to_dict(self) -> dict[str, Any]:
        """Plain values without NaN, the same after a way through JSON."""
        return asdict(self) | {"matching": {str(cluster): name for cluster, name in self.matching.items()}}


def iou_of_pairs(confusion: Confusion) -> np.ndarray:
    """IoU of every class with every cluster, (num_classes + 1, num_clusters + 1) float64; 0 where both are empty."""
    union = confusion.truth[:, None] + confusion.counts.sum(axis=0) - confusion.counts
    return confusion.counts / np.maximum(union, 1)


def match_one_to_one(confusion: Confusion) -> Matching:
    """Match clusters to classes one-to-one such that the sum of IoU, and so the mean, is highest.

    Background is matched to background. With more clusters than classes some clusters stay without a class: their
    pixels are wrong for everybody. A pair without a common pixel is no match: it would only name a cluster at random.

    Source: Hungarian evaluation of Van Gansbeke et al., arXiv 2206.06363, with Kuhn's assignment by SciPy.
    """
    iou = iou_of_pairs(confusion)[1:, 1:].T  # (num_clusters, num_classes)
    pairs = zip(*linear_sum_assignment(iou, maximize=True), strict=True)
    return {0: 0} | {int(cluster) + 1: int(label) + 1 for cluster, label in pairs if iou[cluster, label] > 0}


def match_by_majority(confusion: Confusion) -> Matching:
    """Match each cluster to the class it covers most, for more clusters than classes; several may share a class.

    Cluster 0 is background; any other may turn out to be background too. Ties go to the lower class id, and a cluster
    without a pixel gets no class. The measure rises with the number of clusters by itself, up to 1 for a cluster a
    pixel: never compare it with the one-to-one measure, and compare it between equal numbers of clusters only.
    """
    majority, used = confusion.counts.argmax(axis=0), np.flatnonzero(confusion.counts.any(axis=0))
    return {0: 0} | {int(cluster): int(majority[cluster]) for cluster in used if cluster}


def identity_matching(num_classes: int) -> Matching:
    """Value n of the prediction is class n: for a head that was trained with labels."""
    return {label: label for label in range(num_classes + 1)}


def report(confusion: Confusion, class_names: Sequence[str], matching: Mapping[int, int]) -> SegmentationReport:
    """Measures of a prediction under a matching.

    A class with ground truth but no cluster has IoU 0. A class absent from ground truth and matched prediction has
    none and is left out of the mean.

    Args:
        confusion: Counts.
        class_names: Without background, in the order of the class ids.
        matching: Cluster -> class.

    Raises:
        ConfigError: If the names do not fit the classes, or the matching names a cluster or class there is not.

    Source: PASCAL VOC segmentation measure, Everingham et al., IJCV 2010.
    """
    names = _checked_names(class_names, confusion.num_classes)
    matched = _matched_counts(confusion, matching)
    hits = matched.diagonal()
    union = matched.sum(axis=1) + matched[:, :-1].sum(axis=0) - hits
    iou = [int(hit) / int(whole) if whole else None for hit, whole in zip(hits, union, strict=True)]
    present = [value for value in iou if value is not None]
    total = int(matched.sum())
    return SegmentationReport(
        miou=sum(present) / len(present) if present else None,
        iou=dict(zip(names, iou, strict=True)),
        pixel_accuracy=int(hits.sum()) / total if total else None,
        matching={int(cluster): names[label] for cluster, label in sorted(matching.items())},
        num_images=confusion.num_images,
        coverage=confusion.coverage,
        confusion=matched.tolist(),
    )


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1 below the line) over seeds; None for the spread of a single value.

    Raises:
        ConfigError: If there is no value.
    """
    if not len(values):
        raise ConfigError("There is no value to take the mean of. Evaluate at least one seed.")
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def _invalid_value(values: np.ndarray, largest: int) -> int | None:
    """A value of the map that is neither in 0..largest nor 255, or None."""
    if values.dtype.kind not in "uib":
        raise ConfigError(f"A map of classes must hold integers, got {values.dtype}. Take the argmax of probabilities.")
    invalid = values[((values < 0) | (values > largest)) & (values != IGNORE_INDEX)]
    return int(invalid[0]) if len(invalid) else None


def _checked_names(class_names: Sequence[str], num_classes: int) -> list[str]:
    names = [BACKGROUND, *class_names]
    if len(names) != num_classes + 1:
        raise ConfigError(f"Wanted the names of {num_classes} classes, without background, got {len(class_names)}.")
    if len(set(names)) != len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"Two classes are named '{double}'. Give each class, and the background, a name of its own.")
    return names


def _matched_counts(confusion: Confusion, matching: Mapping[int, int]) -> np.ndarray:
    """(num_classes + 1, num_classes + 2) int64 pixels by true and predicted class; no class in the last column."""
    no_class = confusion.num_classes + 1
    targets = np.full(confusion.num_clusters + 1, no_class)
    for cluster, label in matching.items():
        if not (0 <= cluster <= confusion.num_clusters and 0 <= label <= confusion.num_classes):
            raise ConfigError(
                f"The matching takes cluster {cluster} to class {label}, but there are clusters 0 to "
                f"{confusion.num_clusters} and classes 0 to {confusion.num_classes}. Match the same counts."
            )
        targets[cluster] = label
    matched = np.zeros((confusion.num_classes + 1, no_class + 1), np.int64)
    np.add.at(matched.T, targets, confusion.counts.T)
    if not confusion.skip_unknown:
        matched[:, no_class] += confusion.unknown
    return matched
