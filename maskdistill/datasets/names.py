"""File names that another system wrote: composed or decomposed letters, upper or lower case."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

_MAX_STEM_BYTES = 200  # file systems stop at 255, suffix and the name while writing included
_WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)


class NameIndex:
    """Finds which of many names one stands for that was written elsewhere."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = dict.fromkeys(names)

    def find(self, name: str) -> str | None:
        """The name itself if it is there, else the one that is equal when composed (NFC), else the one equal but for
        case; None if there is none, or several.
        """
        if name in self._names:
            return name
        composed = self._composed.get(unicodedata.normalize("NFC", name), [])
        found = composed or self._folded.get(fold_name(name), [])
        return found[0] if len(found) == 1 else None

    @cached_property
    def _composed(self) -> dict[str, list[str]]:
        # Macs decompose letters ("u" and two dots), most others write them as one; both look the same.
        found = defaultdict(list)
        for name in self._names:
            found[unicodedata.normalize("NFC", name)].append(name)
        return found

    @cached_property
    def _folded(self) -> dict[str, list[str]]:
        found = defaultdict(list)
        for name in self._names:
            found[fold_name(name)].append(name)
        return found


class FileFinder:
    """Finds files by names as in ``NameIndex``; a folder is listed at most once."""

    def __init__(self) -> None:
        self._listings: dict[Path, NameIndex] = {}

    def find(self, folder: Path, name: str) -> Path | None:
        """The file of this name.

        Args:
            folder: Where to look.
            name: File name, or relative path with ``/``; nothing is found above the folder.
        """
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts:
            return None
        for part in parts:
            real = self._listing(folder).find(part)
            if real is None:
                return None
            folder = folder / real
        return folder if os.path.isfile(folder) else None

    def _listing(self, folder: Path) -> NameIndex:
        if folder not in self._listings:
            try:
                self._listings[folder] = NameIndex(os.listdir(folder))
            except OSError:  # no folder, or not for us: no name is found in it
                self._listings[folder] = NameIndex(())
        return self._listings[folder]


def names_in(folder: str | Path, files: Iterable[str]) -> list[str]:
    """Paths of files below a folder, from there, with posix separators."""
    start = len(os.path.join(folder, ""))
    return [file[start:].replace(os.sep, "/") for file in files]


def without_suffix(name: str) -> str:
    """As ``PurePosixPath.with_suffix("")``, which takes long for a million."""
    dot, start = name.rfind("."), name.rfind("/") + 1
    return name[:dot] if start < dot < len(name) - 1 else name


def fold_name(name: str) -> str:
    """A name as it is compared where neither case nor the form of its letters matters."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def portable_name(text: str) -> str:
    """Text as a file name without suffix that every system takes: letters of any alphabet, digits, ``-`` and ``_``."""
    stem = re.sub(r"[^\w-]", "_", unicodedata.normalize("NFC", text))
    stem = stem.encode("utf-8")[:_MAX_STEM_BYTES].decode("utf-8", "ignore")
    return f"{stem}_" if _WINDOWS_DEVICES.fullmatch(stem) else stem or "_"
