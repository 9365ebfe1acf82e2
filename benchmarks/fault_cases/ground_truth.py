"""Whether a source's ground truth is right, or something is said about what is left out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.fault_cases.attempt import WrongError
from maskdistill.datasets import Photo, PhotoSource, open_source, read_label
from maskdistill.errors import DatasetError


def labels_are_right(
    data: Path,
    expected: Mapping[str, np.ndarray],
    *,
    may_differ: bool = False,
    splits: Mapping[str, str | None] | None = None,
) -> Literal["read", "noted"]:
    """Open data and read every label.

    Args:
        data: What the user gives.
        expected: (H, W) uint8 labels by the photo's file name.
        may_differ: Whether other labels than these are right too, since the annotations say so.
        splits: Split by the photo's file name, where that must be right as well.

    Raises:
        DatasetError: If the data cannot be opened.
        WrongError: If a photo or its label is missing or other than expected, and nothing is said.
    """
    source = open_source(data)
    said = bool(source.skipped)
    found = {photo.path.name: photo for photo in source.photos}
    problems = [
        problem
        for name, label in expected.items()
        if (problem := _problem(source, found.get(name), name, label, may_differ))
    ]
    if splits is not None and not said:
        problems += [
            f"{name} is in {found[name].split}, not {split}"
            for name, split in splits.items()
            if found[name].split != split
        ]
    wrong = [problem for problem in problems if problem != "refused"]
    if wrong and not said:
        raise WrongError(f"{wrong[0]}, and nothing is said")
    if (
        wrong
        and any("pixels" in problem for problem in wrong)
        and not any(item.what == "label" for item in source.skipped)
    ):
        raise WrongError(f"{wrong[0]}, and only photos are said to be left out: {source.skipped[0].reason}")
    return "noted" if problems or said else "read"


def _problem(source: PhotoSource, photo: Photo | None, name: str, expected: np.ndarray, may_differ: bool) -> str:
    if photo is None:
        return f"{name} is no photo"
    try:
        label = read_label(source, photo)
    except DatasetError as error:
        if photo.id not in str(error) and name not in str(error):
            raise WrongError(f"the error does not name the photo: {error}") from error
        return "refused"
    if label is None:
        return f"{name} has no label"
    if label.shape != (photo.height, photo.width) or label.dtype != np.uint8:
        raise WrongError(f"{name}: a label of {label.dtype} {label.shape}")
    if (highest := int(label[label != 255].max(initial=0))) > len(source.classes):
        raise WrongError(f"{name}: class {highest} of {len(source.classes)}")
    if source.kind == "coco" and source.classes == ("disc", "box"):  # numbered in the json's order
        label = np.array([0, 2, 1, *range(3, 256)], np.uint8)[label]
    if may_differ or np.array_equal(label, expected):
        return ""
    return f"{name}: {int((label != expected).sum())} pixels are other than drawn"
