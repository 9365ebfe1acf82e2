"""Runs with one file damaged, in every way of ``tests/faults/run_damage.py``, and every command on them.

A command does its work or refuses with a sentence; what people decided is there afterwards as before.
"""

import contextlib
import functools
import io
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmarks.fault_cases.attempt import Attempt, Make, WrongError
from maskdistill.cli.main import main
from maskdistill.errors import MaskDistillError
from maskdistill.storage.database import DATABASE

if TYPE_CHECKING:
    from run_damage import Damage  # of tests/faults, on the path of a worker alone

LOOKING = (
    "status",
    "decisions",
    "jobs list",
    "export --format coco",
    "export --format voc",
    "export --format yolo --kept-only",
    "evaluate --json",
)
# Paths that a command may write while it only looks.
_LEFT = (
    "run.sqlite-wal",
    "run.sqlite-shm",
    ".lock",
    ".arrow",
    "photo_counts.parquet",
    "photo_changes.parquet",
    "progress.json",
)


@functools.cache
def sound_run() -> Path:
    """A finished run, made once in this process; its data and weights lie beside it."""
    folder = Path(tempfile.mkdtemp(prefix="sound-"))
    with contextlib.redirect_stderr(io.StringIO()):
        return import_module("run_damage").make_run(folder, projection=False).path


@functools.cache
def damages() -> dict[str, list["Damage"]]:
    """All that can happen to it, by file."""
    found: dict[str, list[Damage]] = {}
    for damage in import_module("run_damage").damages(sound_run()):
        found.setdefault(damage.file, []).append(damage)
    return found


def copy_of_run(folder: Path) -> Path:
    """A copy of the sound run that may be written to."""
    return Path(shutil.copytree(sound_run(), folder / "run", symlinks=True))


def looked_at(rng: random.Random, folder: Path) -> Attempt:
    """A command that only reads."""
    run, damage = _damaged(rng, folder)
    command = rng.choice(LOOKING)
    words = [*command.split(), "--run", str(run), *(["--out", str(folder / "out")] if "export" in command else [])]
    return Attempt(
        lambda: call(words), _names(damage, run), f"{command}: {damage.name}", may_change=_may_change(("out", *_LEFT))
    )


def gone_on_with(rng: random.Random, folder: Path) -> Attempt:
    """``run``, which does what is missing or stale."""
    return _worked_on(rng, folder, ["run", "--until", "evaluation"])


def one_stage(rng: random.Random, folder: Path) -> Attempt:
    """The command of one stage."""
    return _worked_on(
        rng,
        folder,
        [rng.choice(("propose", "embed", "cluster", "train-stage1", "filter", "pseudo-label", "train-stage2"))],
    )


def _worked_on(rng: random.Random, folder: Path, words: list[str]) -> Attempt:
    run, damage = _damaged(rng, folder)
    before = _decided(run)

    def act() -> Literal["read", "noted"]:
        try:
            return call([*words, "--run", str(run), "--quiet", "--workers", "1"])
        finally:
            if not damage.is_of_decisions and _decided(run) != before:
                raise WrongError("what people decided is another now")

    return Attempt(
        act,
        _names(damage, run),
        f"{words[0]}: {damage.name}",
        may_change=lambda name: DATABASE not in name or damage.is_of_decisions,
    )


def _damaged(rng: random.Random, folder: Path) -> tuple[Path, "Damage"]:
    run, damage = copy_of_run(folder), rng.choice(damages()[rng.choice(list(damages()))])
    damage.do(run)
    return run, damage


def _names(damage: "Damage", run: Path) -> tuple[str, ...]:
    """The file, its folder, the run as a whole, or the setting that was changed in it."""
    path = Path(damage.file)
    keys = damage.name.partition(": ")[2].partition(" is ")[0].removeprefix("without ").split(".")
    return (damage.file, path.name, path.stem, path.parts[0], str(run), *(key for key in keys if len(key) > 2))


def _may_change(parts: tuple[str, ...]) -> Callable[[str], bool]:
    return lambda name: any(part in name for part in parts)


def _decided(run: Path) -> list[tuple]:
    """Everything that people decided, as SQLite holds it."""
    if not (run / DATABASE).is_file():
        return []
    with contextlib.closing(sqlite3.connect(f"file:{run / DATABASE}?mode=ro", uri=True)) as db:
        try:
            return [
                tuple(row)
                for table in ("steps", "marks", "views")
                for row in db.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
            ]
        except sqlite3.DatabaseError:
            return []


def call(words: list[str]) -> Literal["read"]:
    """The command in this process; its one sentence on standard error as an error.

    Raises:
        MaskDistillError: With what the command said, if it ended with 1 or 2.
        WrongError: If it ended otherwise, or printed a traceback.
    """
    said, printed = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
        try:
            code = main(words)
        except SystemExit as error:  # how argparse ends
            code = error.code
    text = said.getvalue()
    if "Traceback" in text:
        raise WrongError(f"a traceback on standard error: {text[-300:]}")
    if code == 0:
        return "read"
    if code not in (1, 2):
        raise WrongError(f"exit code {code}: {text[-300:]}")
    lines = [line for line in text.splitlines() if line.startswith("maskdistill")] or text.splitlines()[-1:]
    if not lines:
        raise WrongError(f"exit code {code} without a word")
    raise MaskDistillError(lines[-1])


VARIETIES: dict[str, Make] = {"looked at": looked_at, "gone on with": gone_on_with, "one stage made": one_stage}
