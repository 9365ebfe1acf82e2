"""Every file of a finished run, damaged in every way: for tests and for ``benchmarks.faults``.

``damages`` looks at a run and yields what can be done to a copy of it; what that is for a kind of file stands in the
modules beside this one. Of files that come in numbers, such as label maps, one of each kind is taken. Equal seeds
damage equal bytes.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from array_damage import array_kinds, arrays_kinds
from database_damage import DATABASE, database_kinds
from file_damage import OF_ANY_FILE, Kinds, let_go, seed_of
from picture_damage import picture_kinds
from table_damage import arrow_kinds, table_kinds
from text_damage import json_kinds, line_kinds
from tiny_run import draw_voc, run_chain, tiny_config
from weight_damage import weight_kinds

from maskdistill.clustering.alternatives import AlternativeKey, make_alternatives, make_curve
from maskdistill.proposals.crf import crf_available
from maskdistill.review.decisions import Action, Mark, Scope, decide, rename
from maskdistill.stages.stage_list import OF_EVERY_RUN
from maskdistill.storage.run_folder import Run
from maskdistill.storage.saved_views import save_view

_IN_NUMBERS = re.compile(r"(?<![\w])(\d+)(?=\.(png|jpg|npy|npz)$|/)|epoch-\d+")
_LEFT_OUT = re.compile(r"\.lock$|^logs/|\.tmp$|-(wal|shm)$")
_OF_SUFFIX: dict[str, Callable[[Path, int], Kinds]] = {
    ".json": json_kinds,
    ".parquet": table_kinds,
    ".npy": array_kinds,
    ".npz": arrays_kinds,
    ".png": picture_kinds,
    ".jpg": picture_kinds,
    ".safetensors": weight_kinds,
    ".jsonl": line_kinds,
    ".arrow": arrow_kinds,
}


@dataclass(frozen=True)
class Damage:
    """One thing that can happen to one file."""

    name: str
    file: str  # inside the run
    do: Callable[[Path], object]  # the run folder, or a copy of it, to do it to

    @property
    def is_of_decisions(self) -> bool:
        """Whether it is done to what people decided, which no command can make anew."""
        return self.file.startswith(DATABASE)


def make_run(folder: Path, *, projection: bool = True) -> Run:
    """A run of drawn photos with everything in it: every stage, a round, decisions, a saved view.

    Args:
        folder: Where photos, weights and ``runs/tiny`` are put.
        projection: Whether to make the map by UMAP too, which takes seconds.
    """
    draw_voc(folder / "voc")
    run = Run(folder / "runs" / "tiny")
    wanted = OF_EVERY_RUN if projection else tuple(name for name in OF_EVERY_RUN if name != "projection")
    config = tiny_config(folder).with_overrides(["rounds.count=1", f"rounds.crf={str(crf_available()).lower()}"])
    run_chain(run.path, folder / "voc", config, wanted=wanted)
    row = run.masks().iloc[0]
    box = tuple(int(row[f"bbox_{name}"]) for name in "xywh")
    decide(run, "ann", [Mark(int(row["mask_id"]), row["image_id"], box, Action.ACCEPT, None)], scope=Scope.LABELS)
    rename(run, "ann", 1, "discs")
    save_view(run, "selection", "mine", {"masks": [0]})
    make_alternatives(run, [AlternativeKey(2, 0)])
    make_curve(run)
    run_chain(run.path, folder / "voc", config, wanted=wanted)
    return run


def damages(run: Path, seed: int = 0) -> Iterator[Damage]:
    """What can be done to a copy of a run.

    Args:
        run: A finished run; it is read only.
        seed: Of the bytes that are changed and the keys that are drawn.
    """
    for file in files_of(run):
        for kind, do in _kinds(run, file, seed):
            yield Damage(f"{file}: {kind}", file, do)
    for kind, do in database_kinds(seed):
        yield Damage(f"{DATABASE}: {kind}", DATABASE, do)
    for folder in sorted({Path(file).parts[0] for file in files_of(run) if "/" in file}):
        yield Damage(f"{folder}: a file in place of the folder", folder, partial(_file_for_folder, folder=folder))
        yield Damage(f"{folder}: folder gone", folder, partial(_no_folder, folder=folder))


def files_of(run: Path) -> list[str]:
    """Files of a run, one of each kind that comes in numbers."""
    found: dict[str, str] = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        if path.is_file() and not _LEFT_OUT.search(name):
            found.setdefault(_IN_NUMBERS.sub("#", name), name)
    return sorted(found.values())


def _kinds(run: Path, file: str, seed: int) -> Iterator[tuple[str, Callable[[Path], object]]]:
    for kind, change in OF_ANY_FILE.items():
        yield kind, partial(_apply, file=file, change=partial(change, seed=seed_of(file, seed)))
    path = run / file
    for kind, change in _OF_SUFFIX.get(path.suffix, lambda _path, _seed: {})(path, seed).items():
        yield kind, partial(_apply, file=file, change=change)
    twins = [name for name in files_of(run) if Path(name).suffix == path.suffix and name != file]
    for twin in twins[:: max(1, len(twins) // 3)]:
        yield f"is {twin}", partial(_copy_over, file=file, twin=twin)


def _apply(run: Path, *, file: str, change: Callable[[Path], object]) -> None:
    path = run / file
    let_go(path)
    change(path)


def _copy_over(run: Path, *, file: str, twin: str) -> None:
    content = (run / twin).read_bytes()
    (run / file).unlink()
    (run / file).write_bytes(content)


def _file_for_folder(run: Path, *, folder: str) -> None:
    _no_folder(run, folder=folder)
    (run / folder).write_text("a file")


def _no_folder(run: Path, *, folder: str) -> None:
    shutil.rmtree(run / folder)
