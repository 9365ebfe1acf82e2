"""What can happen to a run's database: another version, other tables and values, noise in it and beside it."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from file_damage import LATER, let_go

DATABASE = "run.sqlite"


def database_kinds(seed: int) -> Iterator[tuple[str, Callable[[Path], object]]]:
    statements = {
        "of a later version": f"PRAGMA user_version = {LATER}",
        "of a version that never was": "PRAGMA user_version = -3",
        "said to be of no version": "PRAGMA user_version = 0",
        "of the version before": "PRAGMA user_version = 1",
        **{f"without {name}": f"DROP TABLE {name}" for name in ("jobs", "events", "steps", "marks", "views", "claims")},
        "without a column": "ALTER TABLE views RENAME COLUMN value TO worth",
        "decisions that are no JSON": "UPDATE steps SET value = 'text'",
        "decisions of another type": "UPDATE steps SET value = '[1]'",
        "decisions of a later kind": "UPDATE steps SET kind = 'later'",
        "marks of a later kind": "UPDATE marks SET action = 'later'",
        "views that are no JSON": "UPDATE views SET value = '{'",
        "times that are texts": "UPDATE steps SET time = 'today'",
    }
    for kind, statement in statements.items():
        yield kind, partial(_execute, statement=statement)
    for name in ("wal", "shm", "journal"):
        yield f"noise beside it ({name})", partial(_beside, name=name, seed=seed)
    yield "a page of noise", partial(_page_of_noise, seed=seed)


def _execute(run: Path, *, statement: str) -> None:
    let_go(run / DATABASE)
    with closing(sqlite3.connect(run / DATABASE, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute(statement)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _beside(run: Path, *, name: str, seed: int) -> None:
    (run / f"{DATABASE}-{name}").write_bytes(np.random.default_rng(seed).bytes(4096))


def _page_of_noise(run: Path, *, seed: int) -> None:
    let_go(run / DATABASE)
    with (run / DATABASE).open("r+b") as file:
        file.seek(4096)
        file.write(np.random.default_rng(seed).bytes(4096 * 6))
