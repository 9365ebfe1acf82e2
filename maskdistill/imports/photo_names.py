"""Which photo of a source a name in somebody's file means: its path, its name, or its name without suffix."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from maskdistill.datasets import PhotoSource
from maskdistill.datasets.coco_content import name_parts
from maskdistill.datasets.names import fold_name, portable_name

MISSING, AMBIGUOUS = "of photos that are not in the data", "of photos whose name fits several of the data"


class Found(NamedTuple):
    """A photo, and how well its name fits."""

    number: int
    fit: tuple[int, bool]  # folders from the end that agree; whether the name agrees with its suffix and case


class PhotoNames:
    """The photos of a source by their names. Upper and lower case and composed letters make no difference."""

    def __init__(self, source: PhotoSource) -> None:
        self._ids = {photo.id: number for number, photo in enumerate(source.photos)}
        self._parts: list[list[tuple[str, ...]]] = []  # of each photo: its paths
        self._by_name: dict[str, list[int]] = defaultdict(list)
        self._by_stem: dict[str, list[int]] = defaultdict(list)
        self._by_portable: dict[str, list[int]] = defaultdict(list)
        for number, photo in enumerate(source.photos):
            paths = [photo.id] if photo.view is not None else [source.file_name(photo), photo.id]
            self._parts.append([tuple(name_parts(path)) for path in paths])
            for path in self._parts[-1]:
                _put(self._by_name, fold_name(path[-1]), number)
                _put(self._by_stem, fold_name(_stem(path[-1])), number)
                _put(self._by_portable, fold_name(portable_name(_stem(path[-1]))), number)
            _put(self._by_portable, fold_name(portable_name(photo.id.replace("/", "__"))), number)

    def find(self, names: Iterable[str], known_id: str = "") -> Found | str:
        """The photo that the first name that fits any means; ``MISSING`` or ``AMBIGUOUS`` if there is no one such."""
        if known_id in self._ids:
            return Found(self._ids[known_id], (99, True))
        for name in names:
            parts = [part for part in name_parts(name) if part != ".."]
            if parts and (numbers := self._candidates(parts[-1])):
                return self._best(numbers, parts)
        return MISSING

    def _candidates(self, last: str) -> list[int]:
        stem = _stem(last)
        whole, short = fold_name(last), fold_name(stem)
        return (
            self._by_name.get(whole)
            or self._by_stem.get(short)
            or self._by_stem.get(whole)  # a name that came without its suffix, with a dot in it
            or self._by_portable.get(fold_name(portable_name(stem)))
            or []
        )

    def _best(self, numbers: list[int], parts: list[str]) -> Found | str:
        ranked = [Found(number, max(_fit(parts, path) for path in self._parts[number])) for number in numbers]
        best = max(found.fit for found in ranked)
        first, *others = [found for found in ranked if found.fit == best]
        return AMBIGUOUS if others else first


def _put(index: dict[str, list[int]], key: str, number: int) -> None:
    if number not in index[key][-1:]:
        index[key].append(number)


def _stem(name: str) -> str:
    """A name without what stands behind its last dot, if that may be a suffix."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and stem and 0 < len(suffix) <= 5 else name


def _fit(parts: list[str], path: tuple[str, ...]) -> tuple[int, bool]:
    folders = 0
    for one, other in zip(reversed(parts[:-1]), reversed(path[:-1]), strict=False):
        if fold_name(one) != fold_name(other):
            break
        folders += 1
    same = parts[-1] == path[-1] or (_stem(parts[-1]) == _stem(path[-1]) and len(parts) == len(path))
    return folders, same
