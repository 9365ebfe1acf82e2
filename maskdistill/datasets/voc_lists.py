"""The lists of ImageSets/Segmentation: which photo is in which split."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from maskdistill.datasets.names import NameIndex
from maskdistill.datasets.picture_kinds import PHOTO_SUFFIXES
from maskdistill.datasets.records import LeftOut
from maskdistill.datasets.text_lines import TextLines, read_lines
from maskdistill.roots import confine

# Of the lists that name a photo the first one here counts. A val photo never becomes a training photo: SBD's own
# lists overlap with VOC's val. The value is the split's name.
_LISTS = {"val": "val", "train": "train", "trainaug": "train", "test": "test", "trainval": "train"}
_SEPARATOR = re.compile(r"[\s,;]+")
_OF_ONE_CLASS = re.compile(r"\s(-1|0|1)$")  # VOC's lists of a class: absent, difficult, present
_AROUND = "\"' "  # not told from what a name begins and ends with
_MAX_LINE = 1000  # characters; a longer line names no file
_MAX_WAYS = 40  # of reading a line, and of leaving out folders: a bound on what a file of nonsense costs
_MAX_NAMED = 3  # photos of a list that are missing: each is named; of more there is one entry with their number


@dataclass(frozen=True)
class Splits:
    """What the lists say."""

    of_photo: Mapping[str, str]  # photo id -> split
    problems: tuple[LeftOut, ...]  # photos that are listed and not there


def read_splits(folder: Path, names: Mapping[str, str]) -> Splits:
    """The splits that the .txt files of a folder give to photos.

    ``trainaug`` and ``trainval`` count as train; ``val`` wins over train, any known list over one of another name. A
    line names a photo as a whole (names may hold blanks), or by what stands before a blank, a tab or a comma:
    ``/JPEGImages/a.jpg /SegmentationClass/a.png``, ``a -1``.

    Args:
        folder: ImageSets/Segmentation, if it is there.
        names: What a photo may be called without its picture's suffix -> its id.

    Raises:
        DatasetError: If a list cannot be read.
    """
    confine(folder)
    names = {name.strip(_AROUND): id for name, id in names.items()} | dict(names)
    lists = (path for path in folder.glob("*") if path.suffix.lower() == ".txt" and not path.name.startswith("."))
    found = {path: read_lines(path) for path in lists}
    order = list(_LISTS)
    known = {path: _list_name(path, text) for path, text in found.items()}
    rank = {path: order.index(name) if name in order else len(order) for path, name in known.items()}
    index = NameIndex(names)
    splits: dict[str, str] = {}
    problems: list[LeftOut] = []
    for path in sorted(found, key=lambda path: (rank[path], path.name)):
        missing = []
        for line in found[path].lines:
            listed = _find(line, index) or _find(found[path].raw(line), index)
            for name in listed:
                splits.setdefault(names[name], _LISTS.get(known[path], path.stem))
            if not listed and not line.startswith(("#", "//")):
                missing.append(line)
        problems += _describe(path, found[path], missing)
    return Splits(splits, (*_lost_folder(folder), *problems))


def _lost_folder(folder: Path) -> Iterator[LeftOut]:
    for path in (folder.parent, folder):
        if os.path.lexists(path) and not os.path.isdir(path):
            what = "a link that leads nowhere" if os.path.islink(path) else "a file"
            yield LeftOut(path, f"This is {what}; wanted the folder of the lists. Put it there, or remove this.")
    others = folder.parent / "Main"
    if not os.path.lexists(folder) and os.path.isdir(others):
        yield LeftOut(others, "These lists are those of VOC's detection and are not read. Copy them to Segmentation.")


def _list_name(path: Path, text: TextLines) -> str:
    """``trainaug`` of train_aug.txt, and ``val`` of cat_val.txt where each line has VOC's column for a class."""
    name = path.stem.lower()
    of_one_class = bool(text.lines) and all(_OF_ONE_CLASS.search(line) for line in text.lines)
    return name.rpartition("_")[2] if of_one_class else name.replace("_", "").replace("-", "")


def _find(line: str, index: NameIndex) -> list[str]:
    """The names in ``index`` that a line is about: one, unless all photos stand in one line."""
    whole = _find_one(line, index)
    if whole is not None:
        return [whole]
    parts = [] if _OF_ONE_CLASS.search(line) else [_find_one(part, index) for part in _SEPARATOR.split(line)]
    known = [name for name in parts if name is not None]
    if len(known) == len(parts) > 0:
        return known
    found = (_find_one(beginning, index) for beginning in _beginnings(line))
    first = next((name for name in found if name is not None), None)
    return [] if first is None else [first]


def _find_one(text: str, index: NameIndex) -> str | None:
    if len(text) > _MAX_LINE:
        return None
    return next((name for way in _ways(text) if (name := index.find(way)) is not None), None)


def _beginnings(line: str) -> Iterator[str]:
    """What stands before a line's last separator, then before the one before, and so on."""
    for separator in reversed(list(_SEPARATOR.finditer(line))[:_MAX_WAYS]):
        yield line[: separator.start()]


def _ways(text: str) -> Iterator[str]:
    """How a text may name a photo: as it is, without a picture's suffix, without the folders before it."""
    text = text.strip(_AROUND)
    path = text.replace("\\", "/") if "/" not in text else text
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for start in range(len(parts))[-_MAX_WAYS:]:
        name = "/".join(parts[start:])
        stem, dot, suffix = name.rpartition(".")
        yield name
        if stem and f"{dot}{suffix.lower()}" in PHOTO_SUFFIXES:
            yield stem


def _describe(path: Path, text: TextLines, missing: list[str]) -> list[LeftOut]:
    if not text.lines:
        return [LeftOut(path, "This list is empty. Write one name a line, or remove it.")]
    photos = path.parents[2] / "JPEGImages"
    if len(missing) > _MAX_NAMED:
        return [
            LeftOut(
                path,
                f"{len(missing):,} of its {len(text.lines):,} lines name no picture of JPEGImages{text.doubt}, the "
                f"first: '{missing[0][:80]}'. Add the pictures or take them off the list.",
            )
        ]
    reason = f"{path.name} lists it, but JPEGImages has no such picture{text.doubt}; add it or take it off the list."
    return [LeftOut(photos / f"{_shown(line)}.jpg", reason) for line in dict.fromkeys(missing)]


def _shown(line: str) -> str:
    """The file that a line was probably meant for."""
    first = _SEPARATOR.split(line)[0] if "/" in line or _OF_ONE_CLASS.search(line) else line
    *_, name = ("", *_ways(first[:80]))
    return name
