"""Masks as YOLO's text: a file a photo, a line a mask, its class and its outline in fractions of the photo."""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from maskdistill.datasets import Photo
from maskdistill.datasets.coco_masks import AnnotationError
from maskdistill.datasets.text_lines import read_lines
from maskdistill.imports.records import GivenMask, GivenPhoto, Losses, as_category

_LINE = re.compile(r"[-+0-9.eE \t]+")
_NAMED = re.compile(r"""(\d+)\s*:\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^#]*))""")
_LISTED = re.compile(r"""-\s+(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^#]*))""")
_NOT_LABELS = ("classes.txt", "labels.txt", "train.txt", "val.txt", "test.txt", "requirements.txt", "readme.txt")
NO_OUTLINE = "without a shape: a box of YOLO, not an outline"


def read_yolo(root: Path, files: Sequence[Path], losses: Losses) -> list[GivenPhoto]:
    """The text files of a folder, each with the masks of one photo.

    Args:
        root: The folder; ``data.yaml`` or ``classes.txt`` in it, or above it, names the classes.
        files: The text files in it.
        losses: Gets the masks that are left out, once their files are read.
    """
    names = class_names(root)
    return [
        GivenPhoto((path.relative_to(root).as_posix(),), path, partial(_read_file, path, names, losses))
        for path in files
        if path.name.lower() not in _NOT_LABELS
    ]


def is_label_file(path: Path) -> bool:
    """Whether the first line of a text file may be one of YOLO's."""
    if path.name.lower() in _NOT_LABELS:
        return False
    lines = read_lines(path).lines
    return not lines or (len(lines[0].split()) >= 5 and _LINE.fullmatch(lines[0]) is not None)


def class_names(root: Path) -> dict[int, str]:
    """Names by number, from ``data.yaml`` (``names:`` as a map or a list) or ``classes.txt``; empty if none says."""
    for folder in (root, root.parent, root.parent.parent):
        for path in (*sorted(folder.glob("*.yaml")), *sorted(folder.glob("*.yml"))):
            if names := _names_of_yaml(read_lines(path).lines):
                return names
        path = folder / "classes.txt"
        if path.is_file():
            return dict(enumerate(as_category(line) for line in read_lines(path).lines))
    return {}


def _names_of_yaml(lines: Sequence[str]) -> dict[int, str]:
    """What follows ``names:``. Lines come without indents, so the block ends at the first that is no entry of it."""
    starts = [place for place, line in enumerate(lines) if re.match(r"names\s*:", line)]
    if not starts:
        return {}
    rest = lines[starts[0]].partition(":")[2].strip()
    if rest.startswith("["):
        inline = " ".join([rest, *lines[starts[0] + 1 :]]).partition("]")[0]
        entries = re.findall(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^,\[]+))\s*(?:,|$)""", inline[1:])
        return {place: as_category(_one_of(item)) for place, item in enumerate(entries)}
    names: dict[int, str] = {}
    flow = rest.startswith("{")
    for line in rest.strip("{}").split(",") if flow else lines[starts[0] + 1 :]:
        if found := _NAMED.fullmatch(line.strip()):
            names[int(found[1])] = as_category(_one_of(found.groups()[1:]))
        elif found := _LISTED.fullmatch(line):
            names[len(names)] = as_category(_one_of(found.groups()))
        else:
            break
    return names


def _one_of(groups: Sequence[str | None]) -> str:
    double, single, plain = groups
    if double:
        return re.sub(r"\\(.)", r"\1", double)
    return (single or plain or "").strip()


def _read_file(path: Path, names: dict[int, str], losses: Losses, photo: Photo) -> Iterator[GivenMask]:
    """A line with an even number of values behind the class is an outline, with one more its confidence."""
    for number, line in enumerate(read_lines(path).lines, start=1):
        try:
            label, *values = map(float, line.split())
        except ValueError:
            raise AnnotationError("a line is no numbers", f"{path.name}, line {number}: {line[:40]!r}") from None
        if len(values) < 6:
            losses.add(NO_OUTLINE, f"{path.name}, line {number}")
            continue
        score = values.pop() if len(values) % 2 else None
        if not all(-0.5 <= value <= 1.5 for value in values):
            detail = f"{path.name}, line {number}: wanted fractions of the photo's width and height"
            raise AnnotationError("an outline of YOLO reaches out of the photo", detail)
        outline = [value * side for value, side in zip(values, (photo.width, photo.height) * len(values), strict=False)]
        category = names.get(int(label), as_category(int(label)))
        yield GivenMask([outline], f"line {number}", category, score)
