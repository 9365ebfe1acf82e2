"""Views that people keep under a name in ``run.sqlite``: presets of the filter, selections of masks.

Nothing is overwritten: of the rows of a kind and name the newest counts.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

from maskdistill.errors import ConfigError
from maskdistill.storage.database import reading, writing
from maskdistill.storage.run_folder import Run


@dataclass(frozen=True)
class SavedView:
    """Something kept under a name."""

    kind: str
    name: str
    value: Any  # whatever JSON holds
    time: float  # seconds since 1970, of the last change


def save_view(run: Run, kind: str, name: str, value: Any) -> None:
    """Keep a view under a name, in place of what that name stood for.

    Raises:
        ConfigError: If the name is empty.
        RunError: If there is no run, or its database cannot be written.
    """
    name = " ".join(name.split())
    if not name:
        raise ConfigError("A view needs a name to be kept under, got an empty one. Enter one.")
    _write(run, kind, name, json.dumps(value), deleted=False)


def views(run: Run, kind: str) -> list[SavedView]:
    """The views of a kind, by name.

    Raises:
        RunError: If the run's database cannot be read.
    """
    select = """SELECT * FROM views WHERE id IN (SELECT max(id) FROM views WHERE kind = ? GROUP BY name)
        AND NOT deleted ORDER BY name COLLATE NOCASE, name"""
    with reading(run.path) as db:
        rows = db.execute(select, (kind,)) if db else ()
        return [SavedView(row["kind"], row["name"], json.loads(row["value"]), row["time"]) for row in rows]


def delete_view(run: Run, kind: str, name: str) -> None:
    """Let a name go; nothing happens if it stands for nothing.

    Raises:
        RunError: If there is no run, or its database cannot be written.
    """
    if any(view.name == name for view in views(run, kind)):
        _write(run, kind, name, "null", deleted=True)


def _write(run: Run, kind: str, name: str, value: str, *, deleted: bool) -> None:
    run.info()
    with writing(run.path) as db:
        insert = "INSERT INTO views (time, kind, name, value, deleted) VALUES (?, ?, ?, ?, ?)"
        db.execute(insert, (time.time(), kind, name, value, deleted))
