"""Two people decide, undo and redo, and the process of one is killed at any moment, again and again: every act that was
told is there, once and whole; of one that was not yet told either all or nothing.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from decisions_data import make_run

from maskdistill.review.decisions import read_marks, version

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="Unix signals")]

ROUNDS = int(os.environ.get("MASKDISTILL_EXAMPLES", 12))
ROOT = Path(__file__).resolve().parents[2]


def start(run, name, seed):
    """A reviewer at work, in a process that has told its first act."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "data")])}
    command = [sys.executable, str(ROOT / "tests/data/deciding.py"), str(run.path), name, str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def kill(process):
    """End it at once; returns the acts that it told, whole lines only."""
    process.send_signal(signal.SIGKILL)
    text = process.stdout.read()
    process.wait(30)
    process.stdout.close()
    return text[: text.rfind("\n") + 1].splitlines()


def rows(run, table):
    with closing(sqlite3.connect(run.path / "run.sqlite")) as db:
        db.row_factory = sqlite3.Row
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return [dict(row) for row in db.execute(f"SELECT * FROM {table} ORDER BY 1")]


def check(run, told, names):
    """What was told stands there once; more than that at most one act of each kill."""
    steps = rows(run, "steps")
    by_id = {step["id"]: step for step in steps}
    notes = Counter(json.loads(step["value"]).get("note", "") for step in steps if step["kind"] == "mark")
    assert max(notes.values(), default=1) == 1
    undone = Counter(step["undoes"] for step in steps if step["undoes"])
    redone = Counter(by_id[step["undoes"]]["undoes"] for step in steps if step["kind"] == "redo")
    for id, count in undone.items():  # again only after a redo, and a redo itself once
        assert count - redone[id] in (0, 1) if by_id[id]["undoes"] is None else count == 1
    num_marks = Counter(mark["step"] for mark in rows(run, "marks"))
    for step in steps:
        if step["kind"] == "mark":
            assert num_marks[step["id"]] == int(json.loads(step["value"])["note"].split()[-1])
    for line in told:
        kind, number, *note = line.split(" ", 2)
        if kind == "decide":
            assert notes[note[0]] == 1
            assert json.loads(by_id[int(number)]["value"])["note"] == note[0]
        elif kind == "rename":
            assert by_id[int(number)]["kind"] == "rename"
    for kind in ("undo", "redo"):
        acts = sum(line.startswith(kind) and line != f"{kind} 0" for line in told)
        assert acts <= sum(step["kind"] == kind for step in steps)
    views = dict.fromkeys(names, 0)
    for view in rows(run, "views"):
        views[view["name"]] += 1
    num_told = Counter(line.split()[0] for line in told if not line.endswith("do 0"))
    missing = len(steps) + sum(views.values()) - num_told.total()
    assert missing >= 0
    return missing


def test_every_act_that_was_told_is_there_once(tmp_path):
    run = make_run(tmp_path / "run")
    generator = random.Random(0)
    told, kills = [], 0
    for number in range(ROUNDS):
        both = [start(run, name, f"{name} {number}") for name in ("ann", "bob")]
        for process in both:
            told.append(process.stdout.readline().strip())
        with pytest.raises(subprocess.TimeoutExpired):
            both[0].wait(generator.uniform(0, 0.2))
        for process in both:
            told += kill(process)
            kills += 1
        assert check(run, told, ("ann", "bob")) <= kills
    assert len(read_marks(run)) > 0
    assert version(run) == len(rows(run, "steps"))
    assert len(told) > 3 * ROUNDS
