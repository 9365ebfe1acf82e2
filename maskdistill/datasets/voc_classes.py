"""Names of the classes of a VOC folder: its own, or those of classes.txt or labelmap.txt."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from maskdistill.datasets.label_files import Color, palette
from maskdistill.datasets.records import IGNORE_INDEX, MAX_LABEL
from maskdistill.datasets.text_lines import read_lines
from maskdistill.errors import DatasetError

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
BACKGROUND_NAMES = frozenset({"background", "_background_", "__background__"})

_IGNORED_NAMES = frozenset({"void", "ignore", "ignored", "unlabeled", "unlabelled", "__ignore__"})
_MAX_LINE = 300  # characters; a longer line is no name
_NUMBERED = re.compile(r"(\d{1,3})\s*[\s:;,.=)-]\s*(\S.*)")
_COLORLESS = re.compile(r"[^:]{1,200}:{1,3}")
_COLORED = re.compile(r"(.*?)[:;,\s]\s*(\d{1,3})\s*[,;\s]\s*(\d{1,3})\s*[,;\s]\s*(\d{1,3})\s*(?:[:;,].*)?")


@dataclass(frozen=True)
class ClassNames:
    """What classes.txt says."""

    names: tuple[str, ...] = ()  # without background: class id n is names[n - 1]
    note: str = ""  # what a person should know about it
    refused: str = ""  # why ground truth cannot be used with it


@dataclass(frozen=True)
class LabelMap:
    """What labelmap.txt says: the color of each class, as CVAT writes it."""

    colors: dict[str, Color] = field(default_factory=dict)  # by name, in the file's order, background among them
    refused: str = ""  # why it cannot be used

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes, without background and what is ignored."""
        known = BACKGROUND_NAMES | _IGNORED_NAMES
        return tuple(name for name in self.colors if name.lower() not in known)

    def ids(self, classes: Sequence[str]) -> dict[Color, int]:
        """Color -> class id, of the names that are among the classes; background is 0, what is ignored 255."""
        numbers = {name.lower(): number for number, name in enumerate(classes, start=1)}
        numbers |= dict.fromkeys(BACKGROUND_NAMES - numbers.keys(), 0)
        numbers |= dict.fromkeys(_IGNORED_NAMES - numbers.keys(), IGNORE_INDEX)
        return {color: numbers[name.lower()] for name, color in self.colors.items() if name.lower() in numbers}


def read_class_names(path: Path) -> ClassNames:
    """Class names, one a line, background first or left out; with a number before each, its class id."""
    if not os.path.lexists(path):
        return ClassNames()
    try:
        lines, encoding = read_lines(path)
    except DatasetError as error:
        return ClassNames(refused=str(error))
    lines = [line for line in lines if not line.startswith("#")]
    if any(len(line) > _MAX_LINE for line in lines):
        return ClassNames(refused=f"{path.name} has a line that is too long for a name. Write one name a line.")
    lines = _unwrapped(lines)
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    places = [int(found[1]) for found in numbered if found]
    if len(places) == len(lines) > 1 and places == sorted(set(places)):
        found = _by_number({int(found[1]): found[2] for found in numbered if found})
    else:
        found = _in_order(lines)
    if not lines:
        return ClassNames(note=f"{path.name} is empty, so it names no class.")
    if not encoding.startswith("utf") and not found.refused:
        return ClassNames(found.names, f"{path.name} is no UTF-8 and was read as {encoding}. {found.note}".strip())
    return found


def _unwrapped(lines: list[str]) -> list[str]:
    """Names without what YAML, JSON and CSV put around them."""
    if lines and lines[0].lower() in ("names:", "classes:", "labels:"):
        lines = lines[1:]
    if len(lines) == 1 and "," in lines[0] and not _NUMBERED.fullmatch(lines[0]):
        lines = lines[0].strip("[]").split(",")
    if all(line.startswith("- ") for line in lines):
        lines = [line[2:] for line in lines]
    return [name for line in lines if (name := _unquoted(line.strip()))]


def _unquoted(name: str) -> str:
    quoted = len(name) > 1 and name[0] in "\"'" and name[-1] == name[0]
    return name[1:-1].strip() if quoted else name


def _in_order(lines: Sequence[str]) -> ClassNames:
    names = list(lines[1:] if lines and lines[0].lower() in BACKGROUND_NAMES else lines)
    return _checked(names)


def _by_number(by_number: dict[int, str]) -> ClassNames:
    first = by_number.get(0)
    if first is not None and first.lower() not in BACKGROUND_NAMES | _IGNORED_NAMES:
        return ClassNames(
            refused=f"classes.txt numbers '{first}' 0, but 0 in a label is background. Number the classes from 1, in "
            "the labels too."
        )
    ignored = by_number.get(IGNORE_INDEX, "").lower()
    last = max(number for number in by_number if not (number == IGNORE_INDEX and ignored))
    return _checked([by_number.get(number, str(number)) for number in range(1, last + 1)])


def _checked(names: list[str]) -> ClassNames:
    if len(names) > MAX_LABEL:
        return ClassNames(refused=f"classes.txt names {len(names):,} classes; a label can tell {MAX_LABEL} apart.")
    late = next((number for number, name in enumerate(names, start=1) if name.lower() in BACKGROUND_NAMES), None)
    if late is not None:
        return ClassNames(
            refused=f"classes.txt names background in place {late}, but background is 0. Put it into the first line."
        )
    unique = _unique(names)
    renamed = next(((name, given) for name, given in zip(names, unique, strict=True) if name != given), None)
    note = f"classes.txt names '{renamed[0]}' twice; the second is called '{renamed[1]}'." if renamed else ""
    return ClassNames(tuple(unique), note)


def _unique(names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for number, name in enumerate(names, start=1):
        given = name
        while given in found:
            given = f"{given} ({number})"
        found.append(given)
    return found


def read_label_map(path: Path) -> LabelMap:
    """The colors of the classes, a line each: ``name:red,green,blue`` and whatever follows a further colon.

    A file that leaves all colors away (``name:::``, as Datumaro writes for classes without them) means VOC's, in order.
    """
    try:
        return _read_label_map(path, path.stat().st_mtime_ns) if os.path.lexists(path) else LabelMap()
    except OSError as error:
        return LabelMap(refused=f"Cannot read {path}: {error.strerror}.")


@lru_cache(maxsize=8)
def _read_label_map(path: Path, _changed: int) -> LabelMap:
    try:
        lines, _ = read_lines(path)
    except DatasetError as error:
        return LabelMap(refused=str(error))
    lines = [line for line in lines if not line.startswith("#")]
    if lines and all(_COLORLESS.fullmatch(line) for line in lines):
        lines = _with_voc_colors(lines)
    colors: dict[str, Color] = {}
    for line in lines:
        found = _COLORED.fullmatch(line) if len(line) <= _MAX_LINE else None
        red, green, blue = (int(value) for value in found.groups()[1:]) if found else (256, 0, 0)
        color = (red, green, blue)
        if found is None or not found[1] or max(color) > 255:
            return LabelMap(
                refused=f"{path.name} has the line '{line[:80]}'; wanted name:red,green,blue, each 0 to 255."
            )
        if found[1] in colors or color in colors.values():
            return LabelMap(refused=f"{path.name} gives a name or a color twice, in the line '{line[:80]}'.")
        colors[found[1]] = color
    return LabelMap(colors)


def _with_voc_colors(lines: Sequence[str]) -> list[str]:
    names = [line.rstrip(":") for line in lines]
    first = 0 if names[0].lower() in BACKGROUND_NAMES else 1
    return [f"{name}:{red},{green},{blue}" for name, (red, green, blue) in zip(names, palette()[first:], strict=False)]
