"""What each stage made of each photo: its classes, how far it agrees with ground truth, how far two stages differ.

Counted once, by the stage ``evaluation`` or when it is asked for, and kept in two tables, so that any number can be
had for all photos in milliseconds. Ground truth is read for reporting only.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from maskdistill.datasets import IGNORE_INDEX, ProgressCallback
from maskdistill.evaluation.confusion import Matching
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.evaluation.run_label_maps import KINDS, LabelMaps
from maskdistill.storage.read_files import read_table_if_whole
from maskdistill.storage.run_folder import Run, write_table
from maskdistill.storage.run_photos import photos_of

_MADE_FROM = ("proposals", "clusters", "classes", "pseudo_labels", "predictions")
_NO_CLASS = -1


@dataclass(frozen=True, eq=False)
class PhotoResults:
    """Pixel counts of a run's label maps; photos go by their number.

    Columns of ``counts``: number, kind, truth (class, 255 where it is ignored or the photo has none), label, pixels:
    one row for each pair of values that occurs in a photo. Of ``changes``: number, first, second (kinds, in the order
    of the method), changed: the share of pixels, among those where both have a label, that differ.
    """

    num_photos: int
    counts: pd.DataFrame
    changes: pd.DataFrame
    ground_truth: Mapping[str, Any] = field(default_factory=dict)  # what of it is left out, as ``GroundTruth.describe``

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of label maps that were counted, in the order of the method."""
        there = set(self.counts["kind"].unique())
        return tuple(kind for kind in KINDS if kind in there)

    @property
    def has_truth(self) -> bool:
        """Whether any pixel has ground truth."""
        return bool((self.counts["truth"] != IGNORE_INDEX).any())

    def ious(self, kind: str, matching: Matching) -> np.ndarray:
        """(num_photos,) float64 mean IoU of each photo, as ``photo_ious`` has it; NaN for one without ground truth."""
        rows = self.counts[self.counts["kind"] == kind]
        numbers, truths, labels, pixels = (rows[name].to_numpy() for name in _COLUMNS)
        return photo_ious(numbers, truths, labels, pixels, matching, self.num_photos)

    def changed(self, first: str, second: str) -> np.ndarray:
        """(num_photos,) float64 share of pixels that differ between two kinds; NaN where one is missing."""
        found = np.full(self.num_photos, np.nan)
        if first == second:
            found[self.counts.loc[self.counts["kind"] == first, "number"]] = 0.0
            return found
        pair = sorted((first, second), key=KINDS.index)
        rows = self.changes[(self.changes["first"] == pair[0]) & (self.changes["second"] == pair[1])]
        found[rows["number"]] = rows["changed"]
        return found

    def agreement(self) -> pd.DataFrame:
        """Kinds against kinds: the mean over photos of the share of pixels on which they agree; NaN without photos."""
        kinds = self.kinds
        table = [[_mean(1 - self.changed(first, second)) for second in kinds] for first in kinds]
        return pd.DataFrame(table, index=list(kinds), columns=list(kinds))

    def class_sizes(self, kind: str) -> pd.DataFrame:
        """label, pixels, share (of all pixels), photos (that hold it): one row a value, without 255, by rising label.

        Args:
            kind: One of ``kinds``, or "truth" for the ground truth itself.
        """
        rows = self.counts[self.counts["kind"] == (self.kinds[0] if kind == "truth" else kind)]
        rows = rows.rename(columns={"truth": "label", "label": "other"}) if kind == "truth" else rows
        rows = rows[rows["label"] != IGNORE_INDEX]
        found = rows.groupby("label").agg(pixels=("pixels", "sum"), photos=("number", "nunique")).reset_index()
        return found.assign(share=found["pixels"] / max(1, int(found["pixels"].sum())))


_COLUMNS = ("number", "truth", "label", "pixels")


def photo_ious(
    numbers: np.ndarray,
    truths: np.ndarray,
    labels: np.ndarray,
    pixels: np.ndarray,
    matching: Mapping[int, int],
    num_photos: int,
) -> np.ndarray:
    """Mean IoU of each photo over the classes that its ground truth holds, background among them.

    What is found of other classes counts against the classes whose pixels it takes. Ignored pixels count for nothing;
    a label of 255 is a wrong answer.

    Args:
        numbers: (R,) photo of each count.
        truths: (R,) class, 255 for ignored.
        labels: (R,) cluster, 255 for unknown.
        pixels: (R,) how many pixels.
        matching: Cluster -> class; a cluster that is missing stands for no class.
        num_photos: How many photos there are.

    Returns:
        (num_photos,) float64 in [0, 1]; NaN for a photo without ground truth.
    """
    judged = truths != IGNORE_INDEX
    numbers, truths, labels, pixels = numbers[judged], truths[judged], labels[judged], pixels[judged]
    classes = np.full(IGNORE_INDEX + 1, _NO_CLASS)
    for cluster, label in matching.items():
        classes[cluster] = label
    found = classes[labels]
    shape = (num_photos, max(int(truths.max(initial=0)), int(found.max(initial=0))) + 1)
    wanted, taken, hits = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    np.add.at(wanted, (numbers, truths), pixels)
    named = found != _NO_CLASS
    np.add.at(taken, (numbers[named], found[named]), pixels[named])
    right = found == truths
    np.add.at(hits, (numbers[right], truths[right]), pixels[right])
    iou = hits / np.maximum(wanted + taken - hits, 1)
    present = wanted > 0
    count = present.sum(axis=1)
    return np.where(count > 0, (iou * present).sum(axis=1) / np.maximum(count, 1), np.nan)


def count_pairs(truth: np.ndarray | None, labels: np.ndarray) -> list[tuple[int, int, int]]:
    """Class, label and pixels of every pair of values that occurs in a photo; without ground truth its class is 255.

    Args:
        truth: (H, W) uint8, 255 ignored, or None.
        labels: (H, W) uint8.
    """
    base = np.full(labels.shape, IGNORE_INDEX, np.uint8) if truth is None else truth
    table = np.bincount((base.astype(np.uint16) * np.uint16(256) + labels).ravel())
    pairs = np.flatnonzero(table)
    return [(int(pair >> 8), int(pair & 255), int(table[pair])) for pair in pairs]


def share_changed(first: np.ndarray, second: np.ndarray) -> float:
    """Share of the pixels where both (H, W) label maps have a label (not 255) that differ; 0 if there are none."""
    both = (first != IGNORE_INDEX) & (second != IGNORE_INDEX)
    known = np.count_nonzero(both)
    return np.count_nonzero((first != second) & both) / known if known else 0.0


def order_photos(values: np.ndarray, *, highest_first: bool) -> np.ndarray:
    """Numbers of the photos sorted by a value each; those without one (NaN) last, equal ones by rising number."""
    keys = -values if highest_first else values
    return np.argsort(np.where(np.isnan(keys), np.inf, keys), kind="stable")


def read_photo_results(run: Run) -> PhotoResults | None:
    """The counts, if they are of the label maps that there are now."""
    counts, changes = (read_table_if_whole(path) for path in _paths(run))
    if counts is None or changes is None:
        return None
    now, num_photos = _made_from(run), counts.attrs.get("num_photos")
    if counts.attrs.get("made_from") != now or changes.attrs.get("made_from") != now:
        return None
    if num_photos is None or not _are_whole(counts, changes, num_photos):
        return None
    return PhotoResults(num_photos, counts, changes, counts.attrs.get("ground_truth", {}))


def _are_whole(counts: pd.DataFrame, changes: pd.DataFrame, num_photos: int) -> bool:
    """Whether the tables have their columns, and only photos and kinds that there are."""
    if not (
        {"number", "kind", *_COLUMNS[1:]} <= set(counts) and {"number", "first", "second", "changed"} <= set(changes)
    ):
        return False
    kinds = set(counts["kind"]) | set(changes["first"]) | set(changes["second"])
    numbers = pd.concat([counts["number"], changes["number"]])
    labels = counts[["truth", "label"]]
    return kinds <= set(KINDS) and bool((numbers < num_photos).all() and (labels <= IGNORE_INDEX).all(axis=None))


def make_photo_results(run: Run, truth: GroundTruth, on_progress: ProgressCallback | None = None) -> PhotoResults:
    """Count the label maps of all photos, and write photo_counts.parquet and photo_changes.parquet.

    Args:
        run: Run with masks, as far as it came.
        truth: Of its photos, where there is any.
        on_progress: Called with how many photos are done.

    Raises:
        RunError: If there are no masks yet, or a label map is damaged.
    """
    made_from = _made_from(run)
    counts, changes = count_photos(run, truth, on_progress=on_progress)
    return write_photo_results(run, counts, changes, truth, made_from)


def count_photos(
    run: Run, truth: GroundTruth, first: int | None = None, on_progress: ProgressCallback | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``counts`` and ``changes`` of ``PhotoResults``, of the first photos or of all.

    Raises:
        RunError: As ``make_photo_results``.
    """
    maps = LabelMaps(run)
    counts, changes = [], []
    photos = photos_of(run)[:first]
    for number, photo in enumerate(photos):
        classes = truth.read(photo)
        read = ((kind, maps.read(kind, number)) for kind in maps.kinds)
        found = {kind: labels for kind, labels in read if labels is not None}
        counts += [(number, kind, *pair) for kind, labels in found.items() for pair in count_pairs(classes, labels)]
        changes += [
            (number, one, other, share_changed(found[one], found[other]))
            for one, other in itertools.combinations(found, 2)
        ]
        if on_progress is not None:
            on_progress(number + 1, len(photos))
    return _table(counts, ("number", "kind", *_COLUMNS[1:])), _changes(changes)


def write_photo_results(
    run: Run,
    counts: pd.DataFrame,
    changes: pd.DataFrame,
    truth: GroundTruth,
    made_from: Mapping[str, str] | None = None,
) -> PhotoResults:
    """Write photo_counts.parquet and photo_changes.parquet.

    Args:
        run: Run with masks.
        counts: As ``PhotoResults`` has them.
        changes: Likewise.
        truth: What they were counted with.
        made_from: State of the label maps that were counted; that of now if not given.
    """
    num_photos, left_out, state = len(photos_of(run)), truth.describe(), dict(made_from or _made_from(run))
    for path, table in zip(_paths(run), (counts, changes), strict=True):
        table.attrs.update(made_from=state, num_photos=num_photos, ground_truth=left_out)
        write_table(path, table)
    return PhotoResults(num_photos, counts, changes, left_out)


def _table(rows: Iterable[Sequence[object]], columns: Sequence[str]) -> pd.DataFrame:
    types: dict[Any, Any] = {
        "number": np.int32,
        "kind": "category",
        "truth": np.uint8,
        "label": np.uint8,
        "pixels": np.int64,
    }
    return pd.DataFrame(rows, columns=list(columns)).astype(types)


def _changes(rows: Iterable[Sequence[object]]) -> pd.DataFrame:
    types: dict[Any, Any] = {"number": np.int32, "first": "category", "second": "category", "changed": np.float32}
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def _paths(run: Run) -> tuple[Path, Path]:
    return run.path / "photo_counts.parquet", run.path / "photo_changes.parquet"


def _made_from(run: Run) -> dict[str, str]:
    return {stage: run.fingerprint_of(stage) for stage in _MADE_FROM}


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
