"""What every benchmark prints: a table, the machine it ran on, and a JSON file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskdistill.reproduce.report import describe_machine


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A plain aligned table."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    print(f"\n{title}")
    for row in cells:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def write_report(path: Path | None, result: dict[str, Any]) -> None:
    """Print the machine and, if a path is given, write everything as JSON."""
    result = {"machine": describe_machine(), **result}
    print(f"\n  machine: {result['machine']}")
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"  written: {path}")
