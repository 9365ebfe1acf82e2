"""Changes of clusters: merge, split, rename, exclude, and take over another clustering. Each is one undoable step.

With ``seen``, what the person had before their eyes, a change is refused (``ConfigError``) if another clustering has
taken that one's place, since its numbers would mean other clusters, or if somebody changed the same of it since.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from maskdistill.datasets.records import MAX_LABEL
from maskdistill.errors import ConfigError
from maskdistill.review.decisions.classes import Classes, read_classes
from maskdistill.review.decisions.records import Kind, Scope, describe
from maskdistill.review.decisions.steps import (
    Numbering,
    Seen,
    add_step,
    check_numbering,
    clusters_fingerprint,
    read_edits,
    read_numbering,
    touched_since,
)
from maskdistill.storage.database import reading, writing
from maskdistill.storage.run_folder import Run

Assigned = dict[int, int]  # mask id -> cluster
# What a change comes to, seen from the clusters as they are when it is written: (value of the step, assignments)
Plan = Callable[[sqlite3.Connection, Classes, int], tuple[dict[str, Any], Assigned]]


def merge(run: Run, reviewer: str, clusters: Sequence[int], *, seen: Seen | None = None) -> int:
    """Put clusters into the one of the lowest number; the other numbers stay empty.

    It is called as the lowest-numbered of them that has a name, and is excluded only if all of them were.

    Returns:
        The step's id.

    Raises:
        ConfigError: If fewer than two different clusters are named, or there is no such cluster.
        RunError: If there are no clusters yet, or the run's database cannot be written.
    """
    which = sorted({int(number) for number in clusters})
    if len(which) < 2:
        raise ConfigError(f"Merging needs at least 2 different clusters, got {which}. Choose another one as well.")

    def plan(_db: sqlite3.Connection, classes: Classes, _next: int) -> tuple[dict[str, Any], Assigned]:
        for number in which:
            _check_cluster(classes, number)
        return {"clusters": which, "num_masks": int(np.isin(classes.assigned, which).sum())}, {}

    return _change(run, reviewer, Kind.MERGE, plan, seen)


def split(run: Run, reviewer: str, cluster: int, parts: Sequence[Sequence[int]], *, seen: Seen | None = None) -> int:
    """Split a cluster; ``split_parts`` finds parts.

    Args:
        run: The run.
        reviewer: Who does it.
        cluster: Its number. The largest part keeps it, the others get new ones by falling size.
        parts: Ids of the masks of each part; masks in none of them stay with the largest.

    Returns:
        The step's id.

    Raises:
        ConfigError: If there is no such cluster, fewer than two parts hold a mask, one mask is in two of them or in
            no cluster, or there would be too many classes.
        RunError: If there are no clusters yet, or the run's database cannot be written.
    """
    parts = sorted(([int(mask_id) for mask_id in part] for part in parts if len(part)), key=len, reverse=True)
    named = [mask_id for part in parts for mask_id in part]
    if len(parts) < 2:
        raise ConfigError(f"Splitting needs at least 2 parts that hold a mask, got {len(parts)}.")
    if len(set(named)) < len(named):
        raise ConfigError(f"A mask can be in one part of cluster {cluster} only, got one in two of them.")

    def plan(_db: sqlite3.Connection, classes: Classes, next_number: int) -> tuple[dict[str, Any], Assigned]:
        _check_cluster(classes, cluster)
        _check_masks(classes, named)
        numbers = [int(cluster), *range(next_number, next_number + len(parts) - 1)]
        _check_number(numbers[-1])
        moved = {mask_id: number for number, part in zip(numbers[1:], parts[1:], strict=True) for mask_id in part}
        return {"cluster": int(cluster), "numbers": numbers, "num_masks": len(named)}, moved

    return _change(run, reviewer, Kind.SPLIT, plan, seen)


def gather(run: Run, reviewer: str, mask_ids: Sequence[int], name: str = "", *, seen: Seen | None = None) -> int:
    """Make a cluster of masks, whatever clusters they are in; it gets the first number that is free.

    Args:
        run: The run.
        reviewer: Who does it.
        mask_ids: Ids of the masks.
        name: What to call it.
        seen: What the person saw: masks on which somebody has decided since are left where they are.

    Returns:
        The step's id.

    Raises:
        ConfigError: If no mask is named, one is in no cluster, or there would be too many classes.
        RunError: If there are no clusters yet, or the run's database cannot be written.
    """
    named = sorted({int(mask_id) for mask_id in mask_ids})
    if not named:
        raise ConfigError("A cluster needs at least one mask, got none. Choose some.")

    def plan(db: sqlite3.Connection, classes: Classes, next_number: int) -> tuple[dict[str, Any], Assigned]:
        touched = set() if seen is None else touched_since(db, seen.version)
        left = [mask_id for mask_id in named if mask_id not in touched]
        if not left:
            raise ConfigError(
                "Others decided on all of these masks meanwhile. No cluster was made: look at them first."
            )
        _check_masks(classes, left)
        _check_number(next_number)
        value = {"cluster": next_number, "numbers": [next_number], "name": _one_line(name), "num_masks": len(left)}
        return value, dict.fromkeys(left, next_number)

    return _change(run, reviewer, Kind.GATHER, plan, seen)


def made_cluster(run: Run, step: int) -> tuple[int, int]:
    """Number of the cluster that a step of ``gather`` made, and of its masks.

    Raises:
        RunError: If the run's database cannot be read.
    """
    with reading(run.path) as db:
        select = "SELECT max(cluster), count(*) FROM assignments WHERE step = ?"
        return tuple(db.execute(select, (step,)).fetchone()) if db else (0, 0)


def rename(run: Run, reviewer: str, cluster: int, name: str, *, seen: Seen | None = None) -> int:
    """Give a cluster a name; an empty one takes it away.

    Returns:
        The step's id.

    Raises:
        ConfigError: If there is no such cluster.
        RunError: If there are no clusters yet, or the run's database cannot be written.
    """
    value = {"cluster": int(cluster), "name": _one_line(name)}
    return _change(run, reviewer, Kind.RENAME, _of_one(Kind.RENAME, cluster, value, seen), seen)


def exclude(run: Run, reviewer: str, cluster: int, excluded: bool, *, seen: Seen | None = None) -> int:
    """Leave a cluster out of the classes, or take it in again: its masks are background to the first model.

    Returns:
        The step's id.

    Raises:
        ConfigError: If there is no such cluster.
        RunError: If there are no clusters yet, or the run's database cannot be written.
    """
    value = {"cluster": int(cluster), "excluded": bool(excluded)}
    return _change(run, reviewer, Kind.EXCLUDE, _of_one(Kind.EXCLUDE, cluster, value, seen), seen)


def adopt(
    run: Run,
    reviewer: str,
    mask_ids: Sequence[int],
    clusters: Sequence[int],
    num_classes: int,
    seed: int,
    *,
    seen: Seen | None = None,
) -> int:
    """Take over another clustering of all masks. What was changed in the one before counts no more, until undone.

    Args:
        run: The run.
        reviewer: Who does it.
        mask_ids: All masks that are in clusters.
        clusters: Of each, 1 to ``num_classes``.
        num_classes: K.
        seed: That it was made with, for people.
        seen: What the person saw.

    Returns:
        The step's id.

    Raises:
        ConfigError: If these are not the masks in clusters, or a number is out of range.
        RunError: If there are no clusters yet, or the run's database cannot be written.
    """
    ids, numbers = np.asarray(mask_ids, np.int64), np.asarray(clusters, np.int64)
    _check_number(num_classes)
    if ids.shape != numbers.shape or len(numbers) == 0 or not 1 <= numbers.min() <= numbers.max() <= num_classes:
        raise ConfigError(f"A clustering needs one number from 1 to {num_classes} for each of {len(ids)} masks.")

    def plan(_db: sqlite3.Connection, classes: Classes, _next: int) -> tuple[dict[str, Any], Assigned]:
        if not np.array_equal(np.sort(ids), np.sort(classes.mask_ids)):
            raise ConfigError(
                f"This clustering is of {len(ids)} masks, others than the {len(classes.mask_ids)} of {run.path}. "
                "Cluster them again."
            )
        value = {"num_classes": int(num_classes), "seed": int(seed), "num_masks": len(ids)}
        return value, dict(zip(ids.tolist(), numbers.tolist(), strict=True))

    return _change(run, reviewer, Kind.ADOPT, plan, seen)


def _of_one(kind: Kind, cluster: int, value: dict[str, Any], seen: Seen | None) -> Plan:
    """A change of one cluster that moves no mask."""

    def plan(db: sqlite3.Connection, classes: Classes, _next: int) -> tuple[dict[str, Any], Assigned]:
        _check_cluster(classes, cluster)
        for edit in [] if seen is None else read_edits(db, classes.numbering, load=()):
            if seen is not None and edit.id > seen.version and edit.kind is kind and edit.value["cluster"] == cluster:
                raise ConfigError(f"{edit.reviewer} was faster: {describe(edit.kind, edit.value)} Look at it first.")
        return {**value, "num_masks": int(np.count_nonzero(classes.assigned == cluster))}, {}

    return plan


def _change(run: Run, reviewer: str, kind: Kind, plan: Plan, seen: Seen | None = None) -> int:
    """Write a change of the clusters as they are at that moment: nobody else changes them meanwhile."""
    run.info()
    with writing(run.path) as db:
        numbering = read_numbering(db, clusters_fingerprint(run))
        check_numbering(seen, numbering)
        classes = read_classes(run)
        value, assigned = plan(db, classes, _next_number(db, numbering, classes.num_classes, reviewer))
        step = add_step(db, reviewer, Scope.CLUSTERS, kind, value, numbering)
        rows = ((step, mask_id, number) for mask_id, number in assigned.items())
        db.executemany("INSERT INTO assignments VALUES (?,?,?)", rows)
    return step


def _next_number(db: sqlite3.Connection, numbering: Numbering, highest: int, reviewer: str) -> int:
    """The first number that is free, and stays so if another person does again what they undid."""
    select = f"""SELECT max(a.cluster) FROM steps s JOIN assignments a ON a.step = s.id
        WHERE s.kind IN ('{Kind.SPLIT}', '{Kind.GATHER}') AND s.clusters = ? AND s.base = ? AND s.reviewer != ?"""
    taken = db.execute(select, (numbering.clusters, numbering.base, reviewer)).fetchone()[0] or 0
    return max(highest, taken) + 1


def _check_cluster(classes: Classes, number: int) -> None:
    there = set(np.unique(classes.assigned).tolist())
    if number not in there:
        raise ConfigError(f"There is no cluster {number}. There are: {', '.join(map(str, sorted(there)))}.")


def _check_masks(classes: Classes, mask_ids: Sequence[int]) -> None:
    strangers = np.setdiff1d(mask_ids, classes.mask_ids)
    if len(strangers):
        raise ConfigError(f"There is no mask {strangers[0]} in a cluster. Choose among those that the clustering saw.")


def _check_number(number: int) -> None:
    if not 1 <= number <= MAX_LABEL:
        raise ConfigError(f"There can be {MAX_LABEL} clusters, got one of number {number}. Merge others first.")


def _one_line(name: str) -> str:
    return " ".join(name.split())
