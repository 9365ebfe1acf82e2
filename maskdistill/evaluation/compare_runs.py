"""Two runs on the same photos: which clusters of one stand for which of the other, and where they disagree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from maskdistill.datasets import Photo, ProgressCallback
from maskdistill.errors import RunError
from maskdistill.evaluation.confusion import Confusion, Matching, match_one_to_one
from maskdistill.evaluation.photo_metrics import count_pairs
from maskdistill.evaluation.run_label_maps import LabelMaps
from maskdistill.storage.read_files import read_json_if_there
from maskdistill.storage.run_folder import Run

_NO_CLASS = -1


class PhotoPair(NamedTuple):
    """A photo that is in both runs, by its number in each."""

    first: int
    second: int


@dataclass(frozen=True, eq=False)
class RunComparison:
    """Two kinds of label maps, one of each run, laid over each other."""

    pairs: tuple[PhotoPair, ...]  # those that have a label map in both
    matching: Matching  # cluster of the second run -> cluster of the first, 0 -> 0; others have no counterpart
    changed: np.ndarray  # (pairs,) float64 share of the photo's pixels that differ once the clusters are matched

    @property
    def agreement(self) -> float | None:
        """Mean over photos of the share of pixels on which the runs agree; None without photos."""
        return float(1 - self.changed.mean()) if len(self.changed) else None


def common_photos(first: Sequence[Photo], second: Sequence[Photo]) -> list[PhotoPair]:
    """Photos of the same content and view in both lists, in the order of the first.

    Photos go by their place in the list. Their ids may differ, as after a folder was renamed or moved.
    """
    numbers = {(photo.digest, photo.view): number for number, photo in enumerate(second)}
    keys = [(photo.digest, photo.view) for photo in first]
    return [PhotoPair(number, numbers[key]) for number, key in enumerate(keys) if key in numbers]


def compare_runs(
    first: LabelMaps,
    second: LabelMaps,
    pairs: Sequence[PhotoPair],
    on_progress: ProgressCallback | None = None,
) -> RunComparison:
    """Lay the final label maps of two runs over each other; no ground truth is read.

    Args:
        first: Label maps of one run.
        second: Of the other.
        pairs: Photos that are in both.
        on_progress: Called with how many photos are done.

    Raises:
        RunError: If a label map is damaged, or of another size than its counterpart.
    """
    there = [pair for pair in pairs if first.has(first.final, pair.first) and second.has(second.final, pair.second)]
    counts: list[list[tuple[int, int, int]]] = []
    for done, pair in enumerate(there, start=1):
        left, right = first.read(first.final, pair.first), second.read(second.final, pair.second)
        if left is None or right is None:
            continue
        if left.shape != right.shape:
            raise RunError(
                f"The label maps of photo {pair.first} have {left.shape} pixels in {first.run.path} and {right.shape} "
                f"in {second.run.path}. Make the predictions of both again."
            )
        counts.append(count_pairs(left, right))
        if on_progress is not None:
            on_progress(done, len(there))
    matching = match_counts(counts)
    return RunComparison(tuple(there), matching, np.array([share_unmatched(photo, matching) for photo in counts]))


def match_counts(counts: Sequence[Sequence[tuple[int, int, int]]]) -> Matching:
    """Clusters of the second run matched one-to-one to those of the first, such that the sum of IoU is highest.

    Args:
        counts: Of each photo: cluster of the first run, cluster of the second, pixels.
    """
    rows = np.array([row for photo in counts for row in photo], np.int64).reshape(-1, 3)
    most = [max(1, int(rows[:, side].max(initial=0))) for side in (0, 1)]
    joint = Confusion(num_classes=most[0], num_clusters=most[1])
    np.add.at(joint.counts, (rows[:, 0], rows[:, 1]), rows[:, 2])
    return match_one_to_one(joint)


def share_unmatched(counts: Sequence[tuple[int, int, int]], matching: Mapping[int, int]) -> float:
    """Share of a photo's pixels whose cluster in the second run does not stand for that in the first.

    Args:
        counts: Cluster of the first run, cluster of the second, pixels.
        matching: Cluster of the second run -> cluster of the first.
    """
    total = sum(pixels for _, _, pixels in counts)
    same = sum(pixels for one, other, pixels in counts if matching.get(other, _NO_CLASS) == one)
    return (total - same) / total if total else 0.0


def comparable_runs(run: Run, others: Sequence[Run]) -> list[Run]:
    """Runs among ``others`` that were made of the same data, have label maps, are whole, and are not this one."""
    data = run.info()["data"]
    return [other for other in others if other.path != run.path and _is_comparable(other, data)]


def _is_comparable(run: Run, data: str) -> bool:
    """Whether a run is of that data and has label maps; a damaged one is not."""
    try:
        found = read_json_if_there(run.path / "predictions.json")
        return run.info().get("data") == data and found is not None and bool(found["photos"])
    except RunError:
        return False
