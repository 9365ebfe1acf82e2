"""The ground truth of each mask, for reporting only: nothing that trains or selects reads it."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from maskdistill.datasets import IGNORE_INDEX, ProgressCallback
from maskdistill.errors import ShapeError
from maskdistill.evaluation.confusion import BACKGROUND
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.evaluation.region_metrics import MIN_REGION, class_regions
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.mask_tables import has_masks
from maskdistill.storage.read_files import read_table_if_whole, state_of_file
from maskdistill.storage.run_folder import Run, write_table
from maskdistill.storage.run_photos import photos_of

FILE = "mask_truth.parquet"
_COLUMNS = ["mask_id", "truth", "truth_share", "truth_iou", "seen"]


class Truth(NamedTuple):
    """Of the masks of the photos that have ground truth."""

    frame: pd.DataFrame  # mask_id, truth (class of most of its pixels, 0 background), truth_share, truth_iou
    names: tuple[str, ...]  # of the classes, "background" first


class PhotoTruth:
    """Ground truth of a photo, made ready to be asked about many masks.

    Args:
        labels: (H, W) class ids, 0 background, 255 ignored.
        min_area: Pixels; smaller regions of a class are no objects of their own.
    """

    def __init__(self, labels: np.ndarray, min_area: int = MIN_REGION) -> None:
        self._labels = labels
        self._regions = np.zeros(labels.shape, np.int32)  # 0: no object of its own; the regions do not overlap
        for number, (_, region) in enumerate(class_regions(labels, min_area), start=1):
            self._regions[region] = number
        self._areas = np.bincount(self._regions.ravel())[1:]
        self._objects = int(np.count_nonzero((labels != 0) & (labels != IGNORE_INDEX)))  # pixels

    def of_mask(self, mask: np.ndarray) -> tuple[int, float, float]:
        """What a mask is of, and how well it fits.

        Args:
            mask: (H, W) bool.

        Returns:
            The class of most of its pixels (0 background), the share of its pixels that are of that class, and its
            highest IoU with a connected region of one class or with all objects together, as ``best_iou`` has it.
            Ignored pixels count for nothing; a mask of such pixels alone gives -1, NaN, NaN.

        Raises:
            ShapeError: If mask and labels differ in size.
        """
        if mask.shape != self._labels.shape:
            raise ShapeError("mask", f"{self._labels.shape}", mask.shape)
        counts = np.bincount(self._labels[mask], minlength=IGNORE_INDEX + 1)[:IGNORE_INDEX]
        area = int(counts.sum())
        if not area:
            return -1, float("nan"), float("nan")
        truth = int(counts.argmax())
        return truth, float(counts[truth] / area), self._best_iou(mask, area, int(counts[1:].sum()))

    def _best_iou(self, mask: np.ndarray, area: int, on_objects: int) -> float:
        if not self._objects:
            return 0.0
        shared = np.bincount(self._regions[mask], minlength=len(self._areas) + 1)[1:]
        each = shared / (area + self._areas - shared)
        return float(max(each.max(initial=0.0), on_objects / (area + self._objects - on_objects)))


def read_truth(run: Run) -> Truth | None:
    """mask_truth.parquet, as far as it is of the masks that there are now; None if it is not, or there is none.

    ``make_truth`` makes it where ``lacks_truth`` finds it missing.
    """
    frame = _read(run.path / FILE)
    if frame is None:
        return None
    made_from, names = frame.attrs["made_from"], tuple(frame.attrs["names"])
    now = _made_from(run)
    if made_from.get("proposals") != now["proposals"]:
        return None
    if made_from.get("seen") != now["seen"]:
        frame = frame[~frame["seen"]].reset_index(drop=True)
    return Truth(frame.drop(columns="seen"), names)


def lacks_truth(run: Run) -> bool:
    """Whether the run's photos have ground truth that its masks, or some of them, were not compared with yet."""
    if not run.info().get("source", {}).get("has_labels") or not has_masks(run.proposals_path):
        return False
    path = run.path / FILE
    return _read_origin(path, state_of_file(path)) != _made_from(run)


@lru_cache(maxsize=32)
def _read_origin(path: Path, _state: tuple[int, int, int] | None) -> dict[str, Any] | None:
    """What the file was made from, read once for each state of it, since every page asks; None as of ``_read``."""
    frame = _read(path)
    return None if frame is None else frame.attrs["made_from"]


def _read(path: Path) -> pd.DataFrame | None:
    """mask_truth.parquet; None if there is none, or a damaged one, which ``make_truth`` replaces."""
    frame = read_table_if_whole(path)
    if frame is None or not {"mask_id", "truth", "truth_share", "truth_iou", "seen"} <= set(frame):
        return None
    known = isinstance(frame.attrs.get("made_from"), dict) and isinstance(frame.attrs.get("names"), list)
    return frame if known and frame["truth"].between(-1, len(frame.attrs["names"]) - 1).all() else None


def make_truth(run: Run, truth: GroundTruth, on_progress: ProgressCallback | None = None) -> Truth | None:
    """Compare every mask of a run with ground truth and write mask_truth.parquet.

    Args:
        run: Run with masks; what the first model found where no proposal was is compared too, if there is any.
        truth: Of its photos.
        on_progress: Called with how many photos are done.

    Returns:
        What ``read_truth`` gives; None, and nothing written, if the photos have no ground truth.

    Raises:
        RunError: If there are no masks yet.
    """
    if not truth.exists:
        return None
    made_from = _made_from(run)
    frame = pd.DataFrame(list(_compare(run, truth, on_progress)), columns=_COLUMNS)
    write_truth(run, frame, truth.classes, made_from)
    return read_truth(run)


def write_truth(
    run: Run, frame: pd.DataFrame, classes: Sequence[str], made_from: Mapping[str, str] | None = None
) -> None:
    """Write mask_truth.parquet.

    Args:
        run: Run with masks.
        frame: One row a mask: mask_id, then what ``PhotoTruth.of_mask`` gives as truth, truth_share and truth_iou, and
            seen, whether the first model saw it where no proposal was.
        classes: Names without background.
        made_from: State of the masks that were compared; that of now if not given.
    """
    frame = frame[_COLUMNS].astype({"mask_id": np.int64, "truth": np.int32, "seen": bool}).sort_values("mask_id")
    frame.attrs = {"names": [BACKGROUND, *classes], "made_from": dict(made_from or _made_from(run))}
    write_table(run.path / FILE, frame)


def _compare(
    run: Run, truth: GroundTruth, on_progress: ProgressCallback | None
) -> Iterator[tuple[int, int, float, float, bool]]:
    photos = photos_of(run)
    for number, masks in enumerate(_masks_by_photo(run, len(photos))):
        labels = truth.read(photos[number]) if masks else None
        if labels is not None:
            of_photo = PhotoTruth(labels)
            for mask_id, codes, seen in masks:
                yield (mask_id, *of_photo.of_mask(codes.decode(mask_id)), seen)
        if on_progress is not None:
            on_progress(number + 1, len(photos))


def _masks_by_photo(run: Run, num_photos: int) -> list[list[tuple[int, MaskCodes, bool]]]:
    """Of each photo: mask id, where its shape is, and whether the first model saw it where no proposal was."""
    proposals = MaskCodes.open(run)
    found: list[list[tuple[int, MaskCodes, bool]]] = [[] for _ in range(num_photos)]
    for mask_id, image in zip(proposals.ids.tolist(), proposals.images.tolist(), strict=True):
        found[image].append((mask_id, proposals, False))
    if has_masks(run.candidate_masks_path):
        drawn = MaskCodes.open(run, "candidates")
        new = ~np.isin(drawn.ids, proposals.ids)
        for mask_id, image in zip(drawn.ids[new].tolist(), drawn.images[new].tolist(), strict=True):
            found[image].append((mask_id, drawn, True))
    return found


def _made_from(run: Run) -> dict[str, str]:
    """Part of the file -> fingerprint of the masks that it is of."""
    return {"proposals": run.masks_fingerprint, "seen": run.fingerprint_of("candidates")}
