"""Decisions for people: the history of a mask, a table of all marks, and a summary."""

import json
import sqlite3
from collections import Counter
from datetime import UTC, datetime

from maskdistill.files import csv_text
from maskdistill.review.decisions.classes import read_names
from maskdistill.review.decisions.records import Action, DecisionEvent, Kind, Scope, Tool, describe, describe_mark
from maskdistill.review.decisions.steps import UNDONE, Edit, Numbering, clusters_fingerprint, read_edits, read_numbering
from maskdistill.storage.database import reading
from maskdistill.storage.run_folder import Run

CSV_COLUMNS = (
    "step",
    "time",
    "reviewer",
    "counts_from",
    "photo",
    "mask",
    "action",
    "cluster",
    "cluster_name",
    "undone",
    "tool",
    "clicks",
)
_MARKS = f"SELECT s.*, m.*, {UNDONE} AS undone FROM steps s JOIN marks m ON m.step = s.id"

_REPAIRS = f"SELECT s.*, r.*, {UNDONE} AS undone FROM steps s JOIN repairs r ON r.step = s.id"


def history(run: Run, mask_id: int) -> list[DecisionEvent]:
    """What people did to one mask, newest first: marks, undone ones too, and the changes of its cluster that stand."""
    with reading(run.path) as db:
        if db is None:
            return []
        marks = db.execute(f"{_MARKS} WHERE m.mask_id = ? ORDER BY s.id", (int(mask_id),)).fetchall()
        repairs = db.execute(f"{_REPAIRS} WHERE ? IN (r.mask_id, r.shown_id) ORDER BY s.id", (int(mask_id),)).fetchall()
        edits = read_edits(db, read_numbering(db, clusters_fingerprint(run)))
    events = {row["step"]: _event(row) for row in marks}
    events |= {row["step"]: _repair_event(row) for row in repairs}
    if edits:
        table = run.clusters()
        cluster = next(iter(table.loc[table["mask_id"] == mask_id, "cluster"].tolist()), 0)
        events |= {edit.id: _edit_event(edit) for edit in _touching(int(mask_id), cluster, marks, edits)}
    return [events[step] for step in sorted(events, reverse=True)]


def to_csv(run: Run) -> str:
    """Every mark with time (UTC), reviewer, photo, mask, action and class, undone ones too; in order.

    What people made of a mask's shape is there as ``repair``, with the tool and their clicks.
    A class has no name there if its number is one of an earlier clustering.
    """
    names = read_names(run)
    rows: list[tuple[int, int, tuple[object, ...]]] = []
    with reading(run.path) as db:
        if db is not None:
            numbering = read_numbering(db, clusters_fingerprint(run))
            for row in db.execute(_MARKS):
                rows.append((row["step"], row["mask_id"], _cells(row, names, numbering)))
            rows += [(row["step"], row["mask_id"], _repair_cells(row)) for row in db.execute(_REPAIRS)]
    return csv_text(CSV_COLUMNS, [cells for _, _, cells in sorted(rows, key=lambda row: row[:2])])


def summarise(run: Run) -> str:
    """A few lines: steps, what stands of the marks, changes of clusters, and who did how much."""
    with reading(run.path) as db:
        found = db.execute(f"SELECT s.*, {UNDONE} AS undone FROM steps s WHERE s.undoes IS NULL") if db else ()
        steps = list(found)
        marks = db.execute(f"{_MARKS} WHERE NOT {UNDONE} ORDER BY s.id").fetchall() if db else []
    if not steps:
        return "No decisions yet."
    actions = Counter({row["mask_id"]: row["action"] for row in marks if row["action"] != Action.SKIP}.values())
    edits = sum(row["kind"] not in (Kind.MARK, Kind.REPAIR) and not row["undone"] for row in steps)
    repairs = [json.loads(row["value"]) for row in steps if row["kind"] == Kind.REPAIR and not row["undone"]]
    lines = [
        f"Steps: {len(steps)}, {sum(row['undone'] for row in steps)} of them undone.",
        f"Masks: {actions[Action.ACCEPT]} accepted, {actions[Action.REJECT]} rejected, "
        f"{actions[Action.RELABEL]} relabelled.",
        f"Changes of clusters: {edits}.",
    ]
    if repairs:
        clicks = sum(len(value["clicks"]) for value in repairs)
        masks = len({mask_id for value in repairs for mask_id in value["masks"]})
        lines.append(f"Shapes: {masks} masks mended in {len(repairs)} steps and {clicks} clicks.")
    by_person, people = Counter(row["reviewer"] for row in steps), Counter(row["reviewer"] for row in marks)
    lines += [f"{name}: {by_person[name]} steps, {people[name]} marks that stand." for name in sorted(by_person)]
    return "\n".join(lines)


def _event(row: sqlite3.Row) -> DecisionEvent:
    return DecisionEvent(
        row["time"], row["reviewer"], describe_mark(Action(row["action"]), row["cluster"]), bool(row["undone"])
    )


def _repair_event(row: sqlite3.Row) -> DecisionEvent:
    text = describe(Kind.REPAIR, json.loads(row["value"]))
    return DecisionEvent(row["time"], row["reviewer"], text, bool(row["undone"]))


def _edit_event(edit: Edit) -> DecisionEvent:
    return DecisionEvent(edit.time, edit.reviewer, describe(edit.kind, edit.value), False)


def _touching(mask_id: int, cluster: int, marks: list[sqlite3.Row], edits: list[Edit]) -> list[Edit]:
    """The changes of the cluster in which a mask was at that time, by itself or because a person put it there."""
    own, given = cluster, 0
    standing = {row["step"]: row for row in marks if not row["undone"] and row["scope"] == Scope.CLUSTERS}
    found, in_force = [], {edit.id: edit for edit in edits}
    for step in sorted({*standing, *in_force}):
        if step in standing:
            given = given if standing[step]["action"] == Action.SKIP else standing[step]["cluster"] or 0
            continue
        edit = in_force[step]
        if mask_id in _going(edit) or (given or own) in edit.value.get("clusters", [edit.value.get("cluster")]):
            found.append(edit)
        own, given = _moved(edit, mask_id, own), 0 if edit.kind is Kind.ADOPT else _moved(edit, mask_id, given)
    return found


def _moved(edit: Edit, mask_id: int, number: int) -> int:
    """The cluster that a change takes a mask to from this one."""
    if edit.kind is Kind.MERGE:
        return edit.value["clusters"][0] if number in edit.value["clusters"] else number
    if number and (edit.kind is not Kind.SPLIT or number == edit.value["cluster"]):
        return dict(edit.assigned.tolist()).get(mask_id, number)
    return number


def _going(edit: Edit) -> set[int]:
    """Ids of the masks that a change sends somewhere, whatever cluster they are in."""
    return set() if edit.kind is Kind.SPLIT else set(edit.assigned[:, 0].tolist())


def _cells(row: sqlite3.Row, names: dict[int, str], numbering: Numbering) -> tuple[object, ...]:
    time = datetime.fromtimestamp(row["time"], UTC).isoformat(timespec="milliseconds")
    cluster, name = row["cluster"], ""
    if cluster and Numbering(row["clusters"], row["base"]) == numbering:
        name = names.get(cluster) or f"cluster {cluster}"
    undone = "yes" if row["undone"] else "no"
    photo, mask, action = row["image_id"], row["mask_id"], row["action"]
    return row["step"], time, row["reviewer"], row["scope"], photo, mask, action, cluster, name, undone, "", ""


def _repair_cells(row: sqlite3.Row) -> tuple[object, ...]:
    time, value = datetime.fromtimestamp(row["time"], UTC).isoformat(timespec="milliseconds"), json.loads(row["value"])
    about = (row["step"], time, row["reviewer"], row["scope"], row["image_id"], row["mask_id"], Kind.REPAIR)
    return *about, None, "", "yes" if row["undone"] else "no", Tool(value["tool"]), json.dumps(value["clicks"])
