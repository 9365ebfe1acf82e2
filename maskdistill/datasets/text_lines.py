"""Lines of a small text file that another tool wrote, in whatever encoding."""

import codecs
import os
import re
from pathlib import Path
from typing import NamedTuple

from maskdistill.errors import DatasetError
from maskdistill.roots import confine, open_inside

MAX_BYTES = 64_000_000  # a list of a million photos is smaller

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NEWLINE = re.compile(r"\r\n|\n|\r")  # str.splitlines would also cut names at U+0085 and U+2028
_NO_TEXT = re.compile(r"[\0-\x08\x0b\x0e-\x1f]")


class TextLines(NamedTuple):
    """What a file says."""

    lines: list[str]  # without blanks at their ends; empty ones are left out
    encoding: str  # as Python calls it

    def raw(self, line: str) -> str:
        """A line as the name of a file that has the same bytes; the line itself for Unicode."""
        return line if self.encoding.startswith("utf") else os.fsdecode(line.encode(self.encoding))

    @property
    def doubt(self) -> str:
        """A clause for sentences about lines that mean nothing; empty for Unicode."""
        return "" if self.encoding.startswith("utf") else f" (it is no UTF-8 and was read as {self.encoding})"


def read_lines(path: Path) -> TextLines:
    """Read a text file as UTF-8, as UTF-16 or UTF-32, or else as Latin-1.

    Raises:
        DatasetError: If it cannot be read, is no text, or is larger than ``MAX_BYTES``.
    """
    confine(path)
    try:
        if not os.path.isfile(path):  # reading a pipe would wait for ever
            raise DatasetError(f"{path} is no file. Put a plain text file there with one name a line, or remove it.")
        if os.path.getsize(path) > MAX_BYTES:
            raise DatasetError(f"{path} is too large for a list of names. Put a plain text file there, or remove it.")
        with open_inside(path) as file:
            raw = file.read()
    except OSError as error:
        raise DatasetError(f"Cannot read {path}: {error.strerror}. Check its access rights, or remove it.") from error
    text, encoding = _decode(raw)
    text = text.rstrip("\x1a")  # with which DOS ends a text
    if _NO_TEXT.search(text):
        raise DatasetError(f"{path} is no text. Put a plain text file there with one name a line, or remove it.")
    lines = (line.strip("\ufeff \t\f\xa0") for line in _NEWLINE.split(text))
    return TextLines([line for line in lines if line], encoding)


def _decode(raw: bytes) -> tuple[str, str]:
    for encoding in (*(name for mark, name in _MARKS if raw.startswith(mark)), *_without_mark(raw), "utf-8", "cp1252"):
        try:
            return raw.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1"), "latin-1"


def _without_mark(raw: bytes) -> tuple[str, ...]:
    """UTF-16, where every other byte of what begins as Latin letters do is 0."""
    even, odd = raw[0:200:2], raw[1:200:2]
    if even and len(raw) % 2 == 0:
        if not any(even) and all(odd):
            return ("utf-16-be",)
        if all(even) and not any(odd):
            return ("utf-16-le",)
    return ()
