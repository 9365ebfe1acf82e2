"""The steps of ``run.sqlite``: adding one, undoing and redoing it, and listing them."""

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskdistill.errors import ConfigError
from maskdistill.review.decisions.claims import keep_open
from maskdistill.review.decisions.records import EDITS, Action, Kind, Scope, Step
from maskdistill.storage.database import reading, writing
from maskdistill.storage.read_files import read_json_if_there
from maskdistill.storage.run_folder import Run

Scopes = Scope | tuple[Scope, ...]  # one, or any of several

# Of a step ``s``. An undo is itself undone by the redo of the same step, and that by nothing.
UNDONE = """EXISTS (SELECT 1 FROM steps u WHERE u.undoes = s.id
    AND NOT EXISTS (SELECT 1 FROM steps r WHERE r.undoes = u.id))"""
_SELECT = f"SELECT s.*, {UNDONE} AS undone FROM steps s"
MOVING = (Kind.SPLIT, Kind.GATHER, Kind.ADOPT)  # the changes that name a cluster for each mask
_EDITS = ", ".join(f"'{kind}'" for kind in EDITS)


@dataclass(frozen=True)
class Numbering:
    """What gives cluster numbers their meaning. A step about another one's numbers is dormant."""

    clusters: str  # fingerprint of the stage ``clusters``; "" before it was made
    base: int = 0  # the step that took over another clustering in its place, 0 if none did


@dataclass(frozen=True)
class Edit:
    """A change of clusters that is in force."""

    id: int
    time: float
    reviewer: str
    kind: Kind
    value: dict[str, Any]
    assigned: np.ndarray  # (M, 2) int64 mask id, cluster: of the kinds in ``MOVING``


@dataclass(frozen=True)
class Sent:
    """What names an action that a browser sent: the same one is written once, however often it comes."""

    client: str  # the browser tab
    seq: int  # of its actions, rising
    session: str = ""  # whose claims end with a decision on the mask, and begin with its undo


@dataclass(frozen=True)
class Seen:
    """What a person had before their eyes when they decided on many masks at once."""

    version: int  # of the decisions
    numbering: Numbering | None = None  # of the clusters; None where there are none


def clusters_fingerprint(run: Run) -> str:
    """Of what gave the clusters their numbers, "" before they were made: the stage ``clusters``, or, where mended masks
    were put into clusters that were there, the one that found these.
    """
    record = read_json_if_there(run.stage_path("clusters"))
    return record.get("numbering", record["fingerprint"]) if record else ""


def read_numbering(db: sqlite3.Connection, clusters: str) -> Numbering:
    """Which numbers count now, with the stage ``clusters`` of this fingerprint."""
    adopted = f"SELECT max(s.id) FROM steps s WHERE s.kind = ? AND s.clusters = ? AND NOT {UNDONE}"
    return Numbering(clusters, db.execute(adopted, (Kind.ADOPT, clusters)).fetchone()[0] or 0)


def read_edits(db: sqlite3.Connection, numbering: Numbering, load: Sequence[Kind] = MOVING) -> list[Edit]:
    """The changes of clusters that are in force, in order; those of the kinds ``load`` with what they assigned."""
    select = f"""SELECT s.* FROM steps s WHERE s.kind IN ({_EDITS}) AND s.clusters = ?
        AND (s.base = ? AND s.kind != '{Kind.ADOPT}' OR s.id = ?) AND NOT {UNDONE} ORDER BY s.id"""
    rows = db.execute(select, (numbering.clusters, numbering.base, numbering.base)).fetchall()
    return [_edit(db, row, load) for row in rows]


def highest_number(db: sqlite3.Connection, numbering: Numbering, num_classes: int) -> int:
    """The highest cluster number there is, where the stage ``clusters`` made ``num_classes``."""
    for edit in read_edits(db, numbering, load=()):
        if edit.kind is Kind.ADOPT:
            num_classes = edit.value["num_classes"]
        elif edit.kind in MOVING:
            num_classes = max(num_classes, *edit.value["numbers"])
    return num_classes


def add_step(
    db: sqlite3.Connection,
    reviewer: str,
    scope: Scope,
    kind: Kind,
    value: dict[str, Any],
    numbering: Numbering,
    undoes: int | None = None,
    sent: Sent | None = None,
) -> int:
    """Add a step inside a transaction; returns its id.

    Raises:
        ConfigError: If nobody is named.
    """
    if not reviewer.strip():
        raise ConfigError("A decision needs the name of who makes it, got an empty one. Enter a name.")
    if sent is None or _row_of(db, sent) is not None:  # a number that names another action: none is lost
        client, seq = None, None
    else:
        client, seq = sent.client, sent.seq
    columns = (time.time(), reviewer, scope, kind, json.dumps(value), numbering.clusters, numbering.base, undoes)
    insert = """INSERT INTO steps (time, reviewer, scope, kind, value, clusters, base, undoes, client, seq)
        VALUES (?,?,?,?,?,?,?,?,?,?)"""
    return db.execute(insert, (*columns, client, seq)).lastrowid or 0


def find_sent(
    db: sqlite3.Connection, sent: Sent | None, reviewer: str, kind: Kind, value: dict[str, Any]
) -> sqlite3.Row | None:
    """The step that was written for this action already; None for the first time."""
    row = None if sent is None else _row_of(db, sent)
    if row is None or (row["reviewer"], row["kind"], row["value"]) != (reviewer, kind, json.dumps(value)):
        return None
    return row


def _row_of(db: sqlite3.Connection, sent: Sent) -> sqlite3.Row | None:
    return db.execute("SELECT * FROM steps WHERE client = ? AND seq = ?", (sent.client, sent.seq)).fetchone()


def undo(
    run: Run, reviewer: str, *, scope: Scopes, sent: Sent | None = None, expected: int | None = None
) -> Step | None:
    """Undo this reviewer's latest step of a scope that stands. Dormant changes of clusters are passed over.

    Args:
        run: The run.
        reviewer: Whose step.
        scope: Of the step; of several the latest in any of them.
        sent: What names the browser's action, if it may come twice.
        expected: The step that the person was told they would undo; None if they were not told.

    Returns:
        The step that is undone now; None if there was none left.

    Raises:
        ConfigError: If another step than the expected one is the latest by now.
        RunError: If there is no run, or its database cannot be written.
    """
    return _add(run, reviewer, scope, Kind.UNDO, _latest_standing, sent, expected)


def redo(
    run: Run, reviewer: str, *, scope: Scopes, sent: Sent | None = None, expected: int | None = None
) -> Step | None:
    """Do again what this reviewer undid last in a scope, unless they went on with another step since.

    Arguments and errors are those of ``undo``.

    Returns:
        The step that stands again; None if there is none.
    """
    return _add(run, reviewer, scope, Kind.REDO, _latest_undo, sent, expected)


def next_undo(run: Run, reviewer: str, *, scope: Scopes) -> Step | None:
    """The step that ``undo`` would undo, as it stands."""
    return _find_step(run, reviewer, scope, _latest_standing)


def next_redo(run: Run, reviewer: str, *, scope: Scopes) -> Step | None:
    """The step that ``redo`` would do again, undone as it is."""
    return _find_step(run, reviewer, scope, _latest_undo)


def version(run: Run, *, apart_from: Scope | None = None) -> int:
    """Id of the last step, undoing ones included; 0 if there is none. It changes whenever a decision does.

    Args:
        run: The run.
        apart_from: Steps of this scope, and what undoes them, are passed over.
    """
    with reading(run.path) as db:
        last = "SELECT max(id) FROM steps WHERE coalesce(scope != ?, true)"
        return (db.execute(last, (apart_from,)).fetchone()[0] or 0) if db else 0


def steps(run: Run, *, reviewer: str | None = None, scope: Scope | None = None, limit: int = 50) -> list[Step]:
    """What people did, newest first; to undo and redo are not listed, what they did to a step shows in it.

    Args:
        run: The run.
        reviewer: Only this person's steps.
        scope: Only steps that count from there on.
        limit: At most so many.
    """
    select = f"""{_SELECT} WHERE s.undoes IS NULL AND coalesce(?, s.reviewer) = s.reviewer
        AND coalesce(?, s.scope) = s.scope ORDER BY s.id DESC LIMIT ?"""
    with reading(run.path) as db:
        return [Step.from_row(row) for row in db.execute(select, (reviewer, scope, limit))] if db else []


def masks_of(run: Run, step: int) -> list[int]:
    """Ids of the masks that a step decided on, or mended."""
    with reading(run.path) as db:
        both = """SELECT mask_id FROM marks WHERE step = :step UNION SELECT mask_id FROM repairs WHERE step = :step
            UNION SELECT shown_id FROM repairs WHERE step = :step ORDER BY mask_id"""
        rows = db.execute(both, {"step": step}) if db else ()
        return [row["mask_id"] for row in rows]


def touched_since(db: sqlite3.Connection, version: int) -> set[int]:
    """Ids of the masks that people decided on, or moved into another cluster, after a version of the decisions."""
    later = f"""(s.id > :version OR s.id IN (SELECT u.undoes FROM steps r JOIN steps u ON u.id = r.undoes
        WHERE r.id > :version AND u.undoes IS NOT NULL)) AND NOT {UNDONE}"""
    select = f"""SELECT m.mask_id FROM marks m JOIN steps s ON s.id = m.step
        WHERE m.action != '{Action.SKIP}' AND {later}
        UNION SELECT r.mask_id FROM repairs r JOIN steps s ON s.id = r.step WHERE {later}
        UNION SELECT a.mask_id FROM assignments a JOIN steps s ON s.id = a.step
        WHERE s.kind IN ('{Kind.SPLIT}', '{Kind.GATHER}') AND {later}"""
    return {row["mask_id"] for row in db.execute(select, {"version": version})}


def check_numbering(seen: Seen | None, numbering: Numbering) -> None:
    """Numbers of clusters mean what they meant when a person chose them.

    Raises:
        ConfigError: If another clustering has taken the place of the one that was seen.
    """
    if seen is not None and seen.numbering is not None and seen.numbering != numbering:
        raise ConfigError("Another clustering took the place of the one that was shown. Look at it and choose again.")


# Finds what a step would undo, and the step that people think of: the same, or the one that was undone.
Found = tuple[int, int] | None
Find = Callable[[sqlite3.Connection, str, Scopes, Numbering], Found]


def _in(scope: Scopes) -> str:
    names = (scope,) if isinstance(scope, Scope) else scope
    return f"s.scope IN ({', '.join(repr(str(name)) for name in names)})"


def _latest_standing(db: sqlite3.Connection, reviewer: str, scope: Scopes, numbering: Numbering) -> Found:
    select = f"""SELECT s.id FROM steps s WHERE s.reviewer = ? AND {_in(scope)} AND s.undoes IS NULL AND NOT {UNDONE}
        AND (s.kind IN ('{Kind.MARK}', '{Kind.REPAIR}') OR s.clusters = ? AND (s.base = ? OR s.id = ?))
        ORDER BY s.id DESC LIMIT 1"""
    row = db.execute(select, (reviewer, numbering.clusters, numbering.base, numbering.base)).fetchone()
    return None if row is None else (row["id"], row["id"])


def _latest_undo(db: sqlite3.Connection, reviewer: str, scope: Scopes, _numbering: Numbering) -> Found:
    own = f"s.reviewer = ? AND {_in(scope)}"
    select = f"""SELECT s.id, s.undoes FROM steps s WHERE {own} AND s.kind = '{Kind.UNDO}'
        AND NOT EXISTS (SELECT 1 FROM steps r WHERE r.undoes = s.id) ORDER BY s.id DESC LIMIT 1"""
    newer = f"SELECT 1 FROM steps s WHERE {own} AND s.undoes IS NULL AND s.id > ?"
    row = db.execute(select, (reviewer,)).fetchone()
    if row is None or db.execute(newer, (reviewer, row["id"])).fetchone():
        return None
    return row["id"], row["undoes"]


def _add(
    run: Run, reviewer: str, scope: Scopes, kind: Kind, find: Find, sent: Sent | None, expected: int | None
) -> Step | None:
    """Add a step that undoes what is found; returns the step that people think of, as it is now."""
    run.info()
    with writing(run.path) as db:
        known = find_sent(db, sent, reviewer, kind, {})
        if known is not None:
            return _read_step(db, _meant(db, known))
        numbering = read_numbering(db, clusters_fingerprint(run))
        found = find(db, reviewer, scope, numbering)
        _check_expected(kind, expected, None if found is None else _read_step(db, found[1]))
        if found is None:
            return None
        own = Scope(db.execute("SELECT scope FROM steps WHERE id = ?", (found[0],)).fetchone()["scope"])
        add_step(db, reviewer, own, kind, {}, numbering, undoes=found[0], sent=sent)
        if kind is Kind.UNDO and sent is not None and sent.session:
            keep_open(db, sent.session, reviewer, found[0])
        return _read_step(db, found[1])


def _meant(db: sqlite3.Connection, row: sqlite3.Row) -> int:
    """The step that people think of: not the undo, but what it undid."""
    while row["undoes"] is not None:
        row = db.execute("SELECT * FROM steps WHERE id = ?", (row["undoes"],)).fetchone()
    return row["id"]


def _check_expected(kind: Kind, expected: int | None, found: Step | None) -> None:
    if expected is not None and (found is None or found.id != expected):
        latest = "there is none any more" if found is None else f"the latest one is now: {found.text}"
        raise ConfigError(f"Nothing was changed: another step than the one to {kind} was made meanwhile, {latest}")


def _find_step(run: Run, reviewer: str, scope: Scopes, find: Find) -> Step | None:
    with reading(run.path) as db:
        if db is None:
            return None
        db.execute("BEGIN")  # one moment for all that is read
        found = find(db, reviewer, scope, read_numbering(db, clusters_fingerprint(run)))
        return None if found is None else _read_step(db, found[1])


def _read_step(db: sqlite3.Connection, step: int) -> Step:
    return Step.from_row(db.execute(f"{_SELECT} WHERE s.id = ?", (step,)).fetchone())


def _edit(db: sqlite3.Connection, row: sqlite3.Row, load: Sequence[Kind]) -> Edit:
    kind, assigned = Kind(row["kind"]), []
    if kind in load:
        found = db.execute("SELECT mask_id, cluster FROM assignments WHERE step = ? ORDER BY mask_id", (row["id"],))
        assigned = [tuple(item) for item in found]
    pairs = np.array(assigned, np.int64).reshape(-1, 2)
    return Edit(row["id"], row["time"], row["reviewer"], kind, json.loads(row["value"]), pairs)
