"""Names that every system and reader takes: of classes, of files, of splits."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from maskdistill.datasets.names import portable_name
from maskdistill.exports.records import ExportImage

NO_SPLIT = "other"  # folder or list of photos in no split, where others are in one


def clean_class_names(class_names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Class names on one line each, none empty, all different; and a note if that changed any.

    Readers identify classes by name and lists by line: an empty or repeated name would shift or join classes.
    """
    cleaned: list[str] = []
    for number, name in enumerate(class_names, start=1):
        printable = "".join(mark if mark.isprintable() else " " for mark in name)
        base = " ".join(printable.split()) or f"class {number}"
        cleaned.append(_not_taken(base, {other.casefold() for other in cleaned}, " ({})"))
    changed = [f"'{old}' is '{new}'" for old, new in zip(class_names, cleaned, strict=True) if old != new]
    note = f"{len(changed)} class names were changed to be one line and different: {', '.join(changed)}."
    return tuple(cleaned), (" ".join(note.split()),) if changed else ()


def portable_stems(images: Sequence[ExportImage]) -> dict[int, str]:
    """A file name without suffix for every photo, by its number: unique also where upper and lower case are one.

    It is the last part of the photo's id; where that is not unique, the whole id with ``__`` for each ``/``; where
    even this is taken, with a number. Letters of any alphabet, digits, ``-`` and ``_`` stay, all else becomes ``_``:
    lists of names are split at blanks, and suffixes are cut at dots.
    """
    short = {image.number: portable_name(PurePosixPath(image.id).name) for image in images}
    counts = Counter(stem.casefold() for stem in short.values())
    stems: dict[int, str] = {}
    taken = {stem for stem, count in counts.items() if count == 1}
    for image in images:
        stem = short[image.number]
        if counts[stem.casefold()] > 1:
            stem = _not_taken(portable_name(image.id.replace("/", "__")), taken, "_{}")
            taken.add(stem.casefold())
        stems[image.number] = stem
    return stems


def split_names(images: Sequence[ExportImage], default: str) -> dict[int, str]:
    """The split of every photo as a file name, by its number.

    Photos in no split get ``default`` if none is in one, else ``NO_SPLIT``: they are not to be trained or measured on.
    """
    missing = NO_SPLIT if any(image.split for image in images) else default
    return {image.number: portable_name(image.split) if image.split else missing for image in images}


def _not_taken(base: str, taken: set[str], ending: str) -> str:
    candidate, number = base, 2
    while candidate.casefold() in taken:
        candidate, number = base + ending.format(number), number + 1
    return candidate
