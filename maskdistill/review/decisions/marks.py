"""Marks on masks: writing them down, and reading back those that stand."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from maskdistill.errors import ConfigError
from maskdistill.review.decisions.effect import BOX, effective
from maskdistill.review.decisions.folding import fold
from maskdistill.review.decisions.records import Action, Kind, Mark, Scope
from maskdistill.review.decisions.repairs import boxes_of_repaired
from maskdistill.review.decisions.steps import (
    MOVING,
    UNDONE,
    Edit,
    Numbering,
    Seen,
    Sent,
    add_step,
    check_numbering,
    clusters_fingerprint,
    find_sent,
    highest_number,
    read_edits,
    read_numbering,
    touched_since,
)
from maskdistill.storage.database import reading, writing
from maskdistill.storage.read_files import read_json_if_there
from maskdistill.storage.run_folder import Run

_OF_STEPS: dict[str, type] = {
    "step": np.int64,
    "time": np.float64,
    "reviewer": object,
    "scope": object,
    "dormant": bool,
}
_OF_MARKS: dict[str, type] = {
    "step": np.int64,
    "mask_id": np.int64,
    "image_id": object,
    **dict.fromkeys("xywh", np.int64),
    "action": object,
    "cluster": np.int64,
}
_COLUMNS = ["step", "time", "reviewer", "scope", *list(_OF_MARKS)[1:], "dormant"]
_STEPS = f"""SELECT s.id, s.time, s.reviewer, s.scope, s.clusters != ? OR s.base != ? FROM steps s
    WHERE s.kind = '{Kind.MARK}' AND coalesce(?, s.scope) = s.scope AND NOT {UNDONE} ORDER BY s.id"""
_MARKS = """SELECT step, mask_id, image_id, x, y, w, h, action, coalesce(cluster, 0) FROM marks
    ORDER BY step, mask_id"""


def decide(
    run: Run,
    reviewer: str,
    marks: Sequence[Mark],
    *,
    scope: Scope,
    note: str = "",
    sent: Sent | None = None,
    seen: Seen | None = None,
) -> int:
    """Write down what a person decides on masks, as one step. It is on the disk when this returns.

    Args:
        run: The run.
        reviewer: Who decides.
        marks: One for each mask.
        scope: From where on it counts.
        note: What else to remember of it, for people.
        sent: What names the browser's action, if it may come twice.
        seen: What the person saw, where a class is given.

    Returns:
        The step's id.

    Raises:
        ConfigError: If there is no mark, two are of one mask, nobody is named, or a class cannot be.
        RunError: If there is no run, or its database cannot be written.
    """
    run.info()
    _check(marks)
    with writing(run.path) as db:
        return _write(run, db, reviewer, marks, scope, note, sent, seen)


def decide_unless_changed(
    run: Run, reviewer: str, marks: Sequence[Mark], *, scope: Scope, seen: Seen, note: str = ""
) -> tuple[int, list[Mark]]:
    """As ``decide``, but only on those masks on which nobody has decided since the person saw them.

    Returns:
        The step's id, 0 if no mask was left, and the marks that were written.
    """
    return _decide_some(run, reviewer, marks, lambda db: _unchanged(db, marks, seen), scope, note, seen)


def decide_undecided(
    run: Run, reviewer: str, marks: Sequence[Mark], *, scope: Scope, seen: Seen | None = None, note: str = ""
) -> tuple[int, list[Mark]]:
    """As ``decide``, but only on those masks that nobody has decided on when it is written, nor moved since.

    Returns:
        The step's id, 0 if no mask was left, and the marks that were written.
    """

    def choose(db: sqlite3.Connection) -> list[Mark]:
        return _undecided(run, marks if seen is None else _unchanged(db, marks, seen))

    return _decide_some(run, reviewer, marks, choose, scope, note, seen)


def read_marks(run: Run, scope: Scope | None = None) -> pd.DataFrame:
    """The marks that stand, in order.

    Args:
        run: The run.
        scope: Only marks that count from there on.

    Returns:
        Columns step, time (seconds since 1970), reviewer, scope, mask_id, image_id, x, y, w, h, action, cluster (of a
        RELABEL, else 0; where merging and splitting since have taken it) and dormant (whether it is a RELABEL that
        is about an earlier clustering). Where people mended masks also ``forms``: None, or the mask that it became and
        all boxes that it ever had.
    """
    steps, rows, edits = [], [], []
    repaired: dict[tuple[int, str], tuple[int, frozenset[tuple[int, ...]]]] = {}
    with reading(run.path) as db:
        if db is not None:
            db.execute("BEGIN")  # one moment for all that is read
            numbering = read_numbering(db, clusters_fingerprint(run))
            edits = read_edits(db, numbering, load=(Kind.SPLIT, Kind.GATHER))
            repaired = boxes_of_repaired(db)
            db.row_factory = None
            steps = db.execute(_STEPS, (numbering.clusters, numbering.base, scope)).fetchall()
            rows = db.execute(_MARKS).fetchall()  # joined below: twice as fast as by SQLite
    found = _join(_columns(steps, _OF_STEPS), _columns(rows, _OF_MARKS))
    if found["cluster"].any():
        found["cluster"] = _follow(found, edits)
        _drop_excluded(found, edits)
    table = pd.DataFrame(found, columns=_COLUMNS)
    if repaired:
        keys = zip(found["mask_id"].tolist(), found["image_id"].tolist(), strict=True)
        table["forms"] = pd.Series([repaired.get(key) for key in keys], table.index, object)
    return table


def _unchanged(db: sqlite3.Connection, marks: Sequence[Mark], seen: Seen) -> list[Mark]:
    touched = touched_since(db, seen.version)
    return [mark for mark in marks if mark.mask_id not in touched]


def _undecided(run: Run, marks: Sequence[Mark]) -> list[Mark]:
    if not marks:
        return []
    frame = pd.DataFrame([(mark.mask_id, mark.image_id, *mark.box) for mark in marks])
    frame.columns = ["mask_id", "image_id", *BOX]
    known = read_marks(run)
    decision = effective(known[known["mask_id"].isin(frame["mask_id"])], frame).decision
    return [mark for mark, decided in zip(marks, decision.tolist(), strict=True) if not decided]


def _decide_some(
    run: Run,
    reviewer: str,
    marks: Sequence[Mark],
    choose: Callable[[sqlite3.Connection], list[Mark]],
    scope: Scope,
    note: str,
    seen: Seen | None,
) -> tuple[int, list[Mark]]:
    run.info()
    _check(marks)
    with writing(run.path) as db:  # nobody else writes meanwhile
        chosen = choose(db)
        return _write(run, db, reviewer, chosen, scope, note, None, seen) if chosen else 0, chosen


def _write(
    run: Run,
    db: sqlite3.Connection,
    reviewer: str,
    marks: Sequence[Mark],
    scope: Scope,
    note: str,
    sent: Sent | None,
    seen: Seen | None,
) -> int:
    value = {"num_masks": len(marks), "mask_id": int(marks[0].mask_id), **_shared(marks), "note": note}
    known = find_sent(db, sent, reviewer, Kind.MARK, value)
    if known is not None:
        return known["id"]
    numbering = read_numbering(db, clusters_fingerprint(run))
    _check_classes(run, db, numbering, marks, seen)
    step = add_step(db, reviewer, scope, Kind.MARK, value, numbering, sent=sent)
    db.executemany("INSERT INTO marks VALUES (?,?,?,?,?,?,?,?,?)", (_row(step, mark) for mark in marks))
    if sent is not None:
        claims = ((sent.session, int(mark.mask_id)) for mark in marks)
        db.executemany("DELETE FROM claims WHERE session = ? AND mask_id = ?", claims)
    return step


def _columns(rows: Sequence[tuple[Any, ...]], kinds: dict[str, type]) -> dict[str, np.ndarray]:
    values = zip(*rows, strict=True) if rows else [()] * len(kinds)
    return {name: np.array(column, kind) for (name, kind), column in zip(kinds.items(), values, strict=True)}


def _join(steps: dict[str, np.ndarray], marks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The marks of these steps, with the values of the step."""
    rows = np.flatnonzero(np.isin(marks["step"], steps["step"]))
    marks = {name: values[rows] for name, values in marks.items()}
    places = np.searchsorted(steps["step"], marks["step"])
    found = {name: values[places] for name, values in steps.items()} | marks
    return found | {"dormant": found["dormant"] & (marks["action"] == Action.RELABEL)}


def _follow(marks: dict[str, np.ndarray], edits: Sequence[Edit]) -> np.ndarray:
    """(M,) where changes of clusters have taken the classes that were given."""
    cluster = marks["cluster"].copy()
    for edit in edits:
        if edit.kind is Kind.MERGE:  # whoever gave a freed number afterwards had not seen it go
            cluster[~marks["dormant"] & np.isin(cluster, edit.value["clusters"])] = edit.value["clusters"][0]
        elif edit.kind in (Kind.SPLIT, Kind.GATHER):
            to = dict(edit.assigned.tolist())
            earlier = (marks["step"] < edit.id) & ~marks["dormant"]
            inside = cluster > 0 if edit.kind is Kind.GATHER else cluster == edit.value["cluster"]
            for place in np.flatnonzero(earlier & inside):
                cluster[place] = to.get(int(marks["mask_id"][place]), cluster[place])
    return cluster


def _drop_excluded(marks: dict[str, np.ndarray], edits: Sequence[Edit]) -> None:
    """What was given a class for the labels that people have excluded since is rejected by that."""
    nowhere = np.zeros(0, np.int64)
    moveless = [edit for edit in edits if edit.kind not in MOVING]
    excluded = list(fold(nowhere, nowhere, 0, moveless).excluded)
    lost = (marks["scope"] == Scope.LABELS) & np.isin(marks["cluster"], excluded) & ~marks["dormant"]
    marks["action"][lost], marks["cluster"][lost] = Action.REJECT, 0


def _check(marks: Sequence[Mark]) -> None:
    if not marks:
        raise ConfigError("A decision needs at least one mask, got none. Choose some.")
    if len({mark.mask_id for mark in marks}) < len(marks):
        raise ConfigError("A decision can hold one mark for a mask, got two for the same one.")
    for mark in marks:
        relabels = mark.action == Action.RELABEL
        if relabels != (mark.cluster is not None):
            raise ConfigError(
                f"Mask {mark.mask_id}: to {mark.action} got cluster {mark.cluster}. Give one to relabel only."
            )


def _check_classes(
    run: Run, db: sqlite3.Connection, numbering: Numbering, marks: Sequence[Mark], seen: Seen | None
) -> None:
    given = {mark.cluster for mark in marks if mark.cluster is not None}
    if not given:
        return
    check_numbering(seen, numbering)
    clusters = read_json_if_there(run.path / "clusters.json")
    highest = highest_number(db, numbering, clusters["num_classes"] if clusters else 0)
    if not 1 <= min(given) <= max(given) <= highest:
        raise ConfigError(
            f"There are clusters 1 to {highest}, got {sorted(given)} to relabel a mask. Choose one of them."
        )


def _row(step: int, mark: Mark) -> tuple[int | str | None, ...]:
    """SQLite would store NumPy's integers as bytes."""
    cluster = None if mark.cluster is None else int(mark.cluster)
    return step, int(mark.mask_id), mark.image_id, *map(int, mark.box), Action(mark.action), cluster


def _shared(marks: Sequence[Mark]) -> dict[str, str | int | None]:
    """What all marks have in common, for the sentence on the step."""
    actions, clusters = {mark.action for mark in marks}, {mark.cluster for mark in marks}
    cluster = clusters.pop() if len(clusters) == 1 else None
    return {
        "action": actions.pop() if len(actions) == 1 else None,
        "cluster": None if cluster is None else int(cluster),
    }
