"""File names in tables: as texts, and as bytes where they are no text, so that the file can be found again."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from maskdistill.errors import printable


def text_cells(name: str, values: Sequence[Path | str]) -> dict[str, list[Any]]:
    """A column of names, and one of bytes beside it if any of them is no text."""
    texts = [printable(value) for value in values]
    odd = [None if text == str(value) else os.fsencode(value) for text, value in zip(texts, values, strict=True)]
    return {name: texts, f"{name}_bytes": odd} if any(odd) else {name: texts}


def read_text_cells(table: pd.DataFrame, name: str) -> list[str]:
    """The names that ``text_cells`` was given."""
    texts = table[name].tolist()
    if f"{name}_bytes" not in table:
        return texts
    odd = table[f"{name}_bytes"].tolist()
    return [os.fsdecode(cell) if isinstance(cell, bytes) else text for text, cell in zip(texts, odd, strict=True)]
