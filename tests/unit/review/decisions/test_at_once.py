"""Sessions and processes that decide at once; actions that come twice; a kill."""

import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import decisions_data
import pytest
from decision_steps import CLUSTERS, LABELS, at_once, said
from decisions_data import frame_of, mark

from maskdistill.errors import ConfigError
from maskdistill.review.decisions import (
    Seen,
    Sent,
    adopt,
    decide,
    decide_undecided,
    decide_unless_changed,
    effective,
    exclude,
    gather,
    made_cluster,
    masks_of,
    merge,
    read_classes,
    read_marks,
    redo,
    rename,
    split,
    steps,
    undo,
    version,
)
from maskdistill.review.decisions import marks as marks_module


class TestActionsSentTwice:
    def test_a_decision_is_one_step(self, run):
        first = decide(run, "ann", [mark(0)], scope=LABELS, sent=Sent("tab", 1))
        assert decide(run, "ann", [mark(0)], scope=LABELS, sent=Sent("tab", 1)) == first
        assert decide(run, "ann", [mark(0)], scope=LABELS, sent=Sent("tab", 2)) > first
        assert decide(run, "bob", [mark(0)], scope=LABELS, sent=Sent("another", 1)) > first
        assert len(steps(run)) == 3

    def test_another_action_under_the_same_number_is_not_lost(self, run):
        decide(run, "ann", [mark(0)], scope=LABELS, sent=Sent("tab", 1))
        decide(run, "ann", [mark(1)], scope=LABELS, sent=Sent("tab", 1))
        decide(run, "ann", [mark(0, "accept")], scope=LABELS, sent=Sent("tab", 1))
        assert said(run) == [(0, "reject"), (1, "reject"), (0, "accept")]

    def test_an_undo_does_not_go_on_to_the_step_before(self, run):
        ids = [decide(run, "ann", [mark(mask_id)], scope=LABELS) for mask_id in (0, 1, 2)]
        for number, change in ((1, undo), (2, undo), (3, redo), (4, undo)):
            told = [change(run, "ann", scope=LABELS, sent=Sent("tab", number)).id for _ in range(3)]
            assert told == [ids[2 if number == 1 else 1]] * 3
        assert said(run) == [(0, "reject")]

    def test_an_undo_that_is_known_already_counts_even_if_nothing_is_left(self, run):
        step = decide(run, "ann", [mark(0)], scope=LABELS)
        assert undo(run, "ann", scope=LABELS, sent=Sent("tab", 1)).id == step
        assert undo(run, "ann", scope=LABELS, sent=Sent("tab", 1)).id == step
        assert undo(run, "ann", scope=LABELS, sent=Sent("tab", 2)) is None

    def test_two_threads_with_the_same_action_write_it_once(self, run):
        for number in range(1, 6):
            write = partial(decide, run, "ann", [mark(0)], scope=LABELS, sent=Sent("tab", number))
            assert len(set(at_once(*[write] * 4))) == 1
        take_back = partial(undo, run, "ann", scope=LABELS, sent=Sent("tab", 6))
        assert len({step.id for step in at_once(*[take_back] * 4)}) == 1
        assert [step.undone for step in steps(run)] == [True] + [False] * 4


class TestDecisionsInBetween:
    """What somebody decided after the page was drawn stands."""

    def seen(self, run):
        return Seen(version(run), read_classes(run).numbering)

    def test_are_left_alone(self, run):
        decide(run, "bob", [mark(0, "accept")], scope=LABELS)  # seen, and overruled
        seen = self.seen(run)
        decide(run, "bob", [mark(1, "accept")], scope=LABELS)
        decide(run, "bob", [mark(2, "relabel", 3)], scope=CLUSTERS)
        decide(run, "bob", [mark(10, "skip")], scope=LABELS)
        gather(run, "bob", [11, 12])
        undo(run, "bob", scope=LABELS)  # the skip
        decide(run, "bob", [mark(20)], scope=LABELS)
        undo(run, "bob", scope=LABELS)
        marks = [mark(mask_id) for mask_id in decisions_data.IDS]
        step, written = decide_unless_changed(run, "ann", marks, scope=CLUSTERS, seen=seen)
        assert [each.mask_id for each in written] == [0, 10, 20, 21, 22, 30, 31, 32]
        assert masks_of(run, step) == [0, 10, 20, 21, 22, 30, 31, 32]

    def test_done_again_they_are_left_alone_too(self, run):
        decide(run, "bob", [mark(0, "accept")], scope=LABELS)
        undo(run, "bob", scope=LABELS)
        seen = self.seen(run)
        redo(run, "bob", scope=LABELS)
        assert decide_unless_changed(run, "ann", [mark(0)], scope=LABELS, seen=seen) == (0, [])
        assert said(run) == [(0, "accept")]

    def test_masks_that_were_moved_are_not_rejected_with_the_rest(self, run):
        seen = self.seen(run)
        gather(run, "bob", [0, 1])
        _, written = decide_undecided(run, "ann", [mark(0), mark(1), mark(10)], scope=LABELS, seen=seen)
        assert [each.mask_id for each in written] == [10]

    def test_a_new_cluster_is_made_of_the_others(self, run):
        seen = self.seen(run)
        decide(run, "bob", [mark(0)], scope=CLUSTERS)
        assert made_cluster(run, gather(run, "ann", [0, 1, 2], seen=seen)) == (5, 2)
        with pytest.raises(ConfigError, match="Others decided on all of these masks"):
            gather(run, "ann", [0], seen=seen)

    def test_numbers_of_another_clustering_are_refused(self, run):
        seen = self.seen(run)
        adopt(run, "bob", decisions_data.IDS, [1, 2] * 6, 2, 0)
        later = version(run)
        for change in (
            lambda: decide_unless_changed(run, "ann", [mark(0, "relabel", 2)], scope=CLUSTERS, seen=seen),
            lambda: decide(run, "ann", [mark(0, "relabel", 2)], scope=LABELS, seen=seen),
            lambda: merge(run, "ann", [1, 2], seen=seen),
            lambda: rename(run, "ann", 1, "cow", seen=seen),
            lambda: exclude(run, "ann", 1, True, seen=seen),
            lambda: split(run, "ann", 1, [[0], [2]], seen=seen),
            lambda: gather(run, "ann", [0], seen=seen),
            lambda: adopt(run, "ann", decisions_data.IDS, [1] * 12, 1, 0, seen=seen),
        ):
            with pytest.raises(ConfigError, match="Another clustering"):
                change()
        assert version(run) == later

    def test_a_name_that_a_colleague_gave_is_not_overwritten(self, run):
        seen = self.seen(run)
        rename(run, "bob", 1, "cow")
        with pytest.raises(ConfigError, match=r"bob was faster: Named cluster 1 'cow'\."):
            rename(run, "ann", 1, "sheep", seen=seen)
        rename(run, "ann", 2, "sheep", seen=seen)
        exclude(run, "ann", 1, True, seen=seen)
        assert read_classes(run).names == {1: "cow", 2: "sheep"}


def assert_all_is_there(run, *names):
    table = read_marks(run)
    for name in names:
        assert table.loc[table["reviewer"] == name, "mask_id"].tolist() == decisions_data.IDS
        assert len(steps(run, reviewer=name, limit=1000)) == 2 * len(decisions_data.IDS) + 1
    assert version(run) == len(names) * (2 * len(decisions_data.IDS) + 2)


def test_two_sessions_of_a_server_lose_nothing(run):
    with ThreadPoolExecutor(2) as pool:
        for task in [pool.submit(decisions_data.write_many, run, name) for name in ("ann", "bob")]:
            task.result(60)
    assert_all_is_there(run, "ann", "bob")


def test_two_sessions_that_decide_on_one_mask_come_one_after_the_other(run):
    """Each step has a number of its own, and the last one counts for both."""
    with ThreadPoolExecutor(2) as pool:
        tasks = [
            pool.submit(decide, run, name, [mark(0, action)], scope=LABELS)
            for name, action in (("ann", "accept"), ("bob", "reject"))
            for _ in range(10)
        ]
        for task in tasks:
            task.result(60)
    marks = read_marks(run)
    assert version(run) == marks["step"].nunique() == 20
    last = {"accept": 1, "reject": -1}[marks["action"].iloc[-1]]
    assert marks["step"].is_monotonic_increasing
    assert effective(marks, frame_of()).decision[0] == last


@pytest.mark.slow
def test_two_processes_lose_nothing(run):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context) as pool:
        for task in [pool.submit(decisions_data.write_many, run, name) for name in ("ann", "bob")]:
            task.result(60)
    assert_all_is_there(run, "ann", "bob")


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from decisions_data import mark
from maskdistill.review.decisions import Scope, decide
from maskdistill.storage.run_folder import Run
decide(Run(Path(sys.argv[1])), "ann", [mark(0)], scope=Scope.LABELS)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_what_was_decided_is_there_after_a_kill(run):
    command = [sys.executable, "-c", KILLED, str(run.path), str(Path(decisions_data.__file__).parent)]
    assert subprocess.run(command, check=False).returncode == -9
    assert said(run) == [(0, "reject")]


def test_half_a_step_is_none(run, monkeypatch):
    rows = iter([(1, 0, "photo 0", 0, 0, 1, 1, "reject", None)])  # and no second one
    monkeypatch.setattr(marks_module, "_row", lambda _step, _mark: next(rows))
    with pytest.raises(RuntimeError, match="StopIteration"):
        decide(run, "ann", [mark(0), mark(1)], scope=LABELS)
    assert version(run) == 0
    assert len(read_marks(run)) == 0
