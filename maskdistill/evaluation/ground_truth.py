"""Ground truth for reports. The one place that reads it: what cannot be used is left out, and the reason is kept.

For reporting only: nothing that makes masks, trains or selects may import this.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from maskdistill.datasets import LeftOut, Photo, PhotoSource, read_label, read_objects
from maskdistill.errors import DatasetError, printable

_Truth = TypeVar("_Truth")
_MAX_NAMED = 50  # photos that are named in a report; the number is of all


class GroundTruth:
    """Class ids of photos, where they have any that can be used.

    Args:
        source: The photos; None where there is no ground truth any more.
    """

    def __init__(self, source: PhotoSource | None) -> None:
        self._source = source
        self._reasons: dict[str, str] = {}  # photo id -> why its ground truth is left out

    @property
    def exists(self) -> bool:
        """Whether any photo may have ground truth."""
        return self._source is not None and self._source.has_labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Names without background: class id n is classes[n - 1]."""
        return () if self._source is None else self._source.classes

    def read(self, photo: Photo) -> np.ndarray | None:
        """(height, width) uint8 class ids, 0 background, 255 ignored; None if there is none, or none to be used."""
        return self._read(read_label, photo)

    def read_objects(self, photo: Photo) -> list[tuple[np.ndarray, int]] | None:
        """(height, width) bool mask and class id of each object; None where objects are not told apart."""
        return self._read(read_objects, photo)

    def _read(self, read: Callable[[PhotoSource, Photo], _Truth], photo: Photo) -> _Truth | None:
        if self._source is None or not self.exists or photo.id in self._reasons:
            return None
        try:
            return read(self._source, photo)
        except (DatasetError, OSError) as error:
            self._reasons[photo.id] = str(error)
            return None

    @property
    def left_out(self) -> tuple[tuple[str, str], ...]:
        """Photo id and reason, of those that were read and could not be used."""
        return tuple(self._reasons.items())

    @property
    def notes(self) -> tuple[LeftOut, ...]:
        """What was said about ground truth when the photos were opened."""
        return () if self._source is None else label_notes(self._source)

    @property
    def sentence(self) -> str:
        """How many photos' ground truth is left out, and the first; empty if none is."""
        if not self._reasons:
            return ""
        photo, reason = next(iter(self._reasons.items()))
        many = len(self._reasons) > 1
        count = f"{len(self._reasons):,} photos is left out, the first" if many else "1 photo is left out"
        return f"Ground truth of {count}: {photo}. {reason}"

    def describe(self) -> dict[str, Any]:
        """The same for metrics.json: ``count``, ``first`` (photo and why), ``notes`` (file and why)."""
        return {
            "count": len(self._reasons),
            "first": [{"photo": id, "why": why} for id, why in self.left_out[:_MAX_NAMED]],
            "notes": [{"file": printable(note.path), "why": note.reason} for note in self.notes[:_MAX_NAMED]],
        }


def label_notes(source: PhotoSource) -> tuple[LeftOut, ...]:
    """What was said about a source's ground truth when it was opened."""
    return tuple(item for item in source.skipped if item.what == "label")


def state_of_labels(source: PhotoSource) -> list[Any]:
    """Names, sizes and times of the files of ground truth, and its classes: when they change, so does the report."""
    files = sorted(_stamps(source.label_paths))
    return [source.has_labels, *files, {"classes": list(source.classes), "values": source.label_values}]


def _stamps(paths: Sequence[Path]) -> Iterator[list[Any]]:
    for path in paths:
        found = [path] if os.path.isfile(path) else [Path(at, name) for at, _, names in os.walk(path) for name in names]
        for file in found:
            try:
                status = file.stat()
            except OSError:  # a link that leads nowhere, or gone just now
                yield [file.name, -1, -1]
                continue
            yield [file.name, status.st_size, status.st_mtime_ns]
