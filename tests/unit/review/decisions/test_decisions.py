import csv
import io
import multiprocessing
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import decisions_data
import numpy as np
import pytest
from decisions_data import cluster_anew, frame_of, make_run, mark

from maskdistill.errors import ConfigError, RunError
from maskdistill.review.decisions import (
    LONGEST,
    Action,
    Kind,
    Mark,
    Scope,
    Seen,
    Sent,
    adopt,
    claim,
    claimed_by_others,
    claims,
    decide,
    decide_undecided,
    decide_unless_changed,
    effective,
    exclude,
    gather,
    hand_over,
    history,
    made_cluster,
    masks_of,
    merge,
    next_redo,
    next_undo,
    read_classes,
    read_marks,
    redo,
    release,
    rename,
    shorten,
    split,
    steps,
    summarise,
    to_csv,
    undo,
    version,
)
from maskdistill.review.decisions import marks as marks_module
from maskdistill.storage.database import reading
from maskdistill.storage.run_folder import Run

LABELS, CLUSTERS = Scope.LABELS, Scope.CLUSTERS


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def said(run, **options):
    return [(row.mask_id, str(row.action)) for row in read_marks(run, **options).itertuples()]


def test_run_without_decisions(run):
    assert version(run) == 0
    assert len(read_marks(run)) == 0
    assert list(read_marks(run).columns)[:4] == ["step", "time", "reviewer", "scope"]
    assert steps(run) == []
    assert history(run, 0) == []
    assert to_csv(run).splitlines() == [
        "step,time,reviewer,counts_from,photo,mask,action,cluster,cluster_name,undone,tool,clicks"
    ]
    assert summarise(run) == "No decisions yet."
    assert claimed_by_others(run, "ann") == set()
    assert not (run.path / "run.sqlite").exists()


def test_marks_come_back_in_order(run):
    first = decide(run, "ann", [mark(11, "accept"), mark(2)], scope=LABELS)
    second = decide(run, "bob", [mark(2, "relabel", 3)], scope=CLUSTERS)
    assert first < second == version(run)
    table = read_marks(run)
    assert table["step"].tolist() == [first, first, second]
    assert table["reviewer"].tolist() == ["ann", "ann", "bob"]
    assert table["scope"].tolist() == ["labels", "labels", "clusters"]
    assert table[["mask_id", "action", "cluster"]].to_numpy().tolist() == [
        [2, "reject", 0],
        [11, "accept", 0],
        [2, "relabel", 3],
    ]
    assert table.loc[1, ["image_id", "x", "y", "w", "h"]].tolist() == ["photo 1", 40, 5, 30, 20]
    assert said(run, scope=CLUSTERS) == [(2, "relabel")]


def test_only_masks_without_a_decision_are_decided_on(run):
    decide(run, "bob", [mark(1, "accept")], scope=CLUSTERS)
    decide(run, "bob", [mark(2, "skip")], scope=LABELS)
    step, written = decide_undecided(run, "ann", [mark(0), mark(1), mark(2)], scope=LABELS)
    assert [each.mask_id for each in written] == [0, 2]
    assert steps(run)[0].id == step
    assert decide_undecided(run, "ann", [mark(1), mark(2)], scope=LABELS) == (0, [])
    assert version(run) == step


def test_numbers_of_numpy_are_stored_as_numbers(run):
    box = tuple(np.array([0, 5, 30, 20], np.int32))
    decide(run, "ann", [Mark(np.int64(0), "photo 0", box, Action.RELABEL, np.int32(2))], scope=LABELS)
    split(run, "ann", np.int64(1), [np.array([0, 1]), np.array([10])])
    merge(run, "ann", np.array([2, 3]))
    exclude(run, "ann", np.int32(4), np.bool_(True))
    with reading(run.path) as db:
        for table in ("marks", "assignments"):
            for row in db.execute(f"SELECT * FROM {table}"):
                assert not any(isinstance(value, bytes) for value in tuple(row))
    assert read_marks(run)["cluster"].tolist() == [2]


@pytest.mark.parametrize(
    ("marks", "reviewer", "match"),
    [
        ([], "ann", "at least one mask, got none"),
        ([mark(0), mark(0, "accept")], "ann", "one mark for a mask, got two"),
        ([mark(0)], "  ", "needs the name of who makes it"),
        ([mark(0, "relabel")], "ann", "Mask 0: to relabel got cluster None"),
        ([mark(0, "accept", 2)], "ann", "Mask 0: to accept got cluster 2"),
        ([mark(0, "relabel", 5)], "ann", r"There are clusters 1 to 4, got \[5\]"),
        ([mark(0, "relabel", 0)], "ann", r"There are clusters 1 to 4, got \[0\]"),
    ],
)
def test_a_decision_that_means_nothing_is_refused(run, marks, reviewer, match):
    with pytest.raises(ConfigError, match=match):
        decide(run, reviewer, marks, scope=LABELS)
    assert version(run) == 0


def test_a_folder_that_holds_no_run_is_not_written_to(tmp_path):
    for write in (
        lambda run: decide(run, "ann", [mark(0)], scope=LABELS),
        lambda run: undo(run, "ann", scope=LABELS),
        lambda run: claim(run, "ann", [0], 5),
        lambda run: rename(run, "ann", 1, "x"),
    ):
        with pytest.raises(RunError, match=r"No (run|clusters\.parquet) in"):
            write(Run(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


class TestUndo:
    def test_takes_back_step_by_step_and_brings_back_in_turn(self, run):
        ids = [decide(run, "ann", [mark(mask_id)], scope=LABELS) for mask_id in (0, 1, 2)]
        assert [undo(run, "ann", scope=LABELS).id for _ in range(2)] == ids[:0:-1]
        assert said(run) == [(0, "reject")]
        assert [(step.id, step.undone) for step in steps(run)] == [(ids[2], True), (ids[1], True), (ids[0], False)]
        assert [redo(run, "ann", scope=LABELS).id for _ in range(2)] == ids[1:]
        assert redo(run, "ann", scope=LABELS) is None
        assert said(run) == [(0, "reject"), (1, "reject"), (2, "reject")]
        assert undo(run, "ann", scope=LABELS).id == ids[2]  # what was done again can be undone again
        assert said(run) == [(0, "reject"), (1, "reject")]

    def test_says_beforehand_what_it_would_do(self, run):
        assert next_undo(run, "ann", scope=LABELS) is None
        assert next_redo(run, "ann", scope=LABELS) is None
        for mask_id in (0, 1):
            decide(run, "ann", [mark(mask_id)], scope=LABELS)
        for change in (undo, undo, redo, redo, undo):
            before = version(run)
            coming = (next_undo if change is undo else next_redo)(run, "ann", scope=LABELS)
            assert version(run) == before
            done = change(run, "ann", scope=LABELS)
            assert (coming.id, coming.text, coming.undone) == (done.id, done.text, not done.undone)
        assert next_undo(run, "ann", scope=CLUSTERS) is None

    def test_of_nothing(self, run):
        assert undo(run, "ann", scope=LABELS) is None
        assert redo(run, "ann", scope=LABELS) is None
        decide(run, "ann", [mark(0)], scope=LABELS)
        undo(run, "ann", scope=LABELS)
        before = version(run)
        assert undo(run, "ann", scope=LABELS) is None
        assert version(run) == before

    def test_a_new_step_ends_what_could_be_done_again(self, run):
        decide(run, "ann", [mark(0)], scope=LABELS)
        undo(run, "ann", scope=LABELS)
        decide(run, "ann", [mark(1)], scope=LABELS)
        assert redo(run, "ann", scope=LABELS) is None
        assert said(run) == [(1, "reject")]

    def test_an_older_one_is_not_done_again_over_a_newer_step(self, run):
        """Undone, then another step undone: to do again ends at that step."""
        for mask_id in (0, 1):
            decide(run, "ann", [mark(mask_id)], scope=LABELS)
        undo(run, "ann", scope=LABELS)
        newer = decide(run, "ann", [mark(2)], scope=LABELS)
        undo(run, "ann", scope=LABELS)
        assert redo(run, "ann", scope=LABELS).id == newer
        assert redo(run, "ann", scope=LABELS) is None
        assert said(run) == [(0, "reject"), (2, "reject")]

    def test_touches_neither_others_nor_the_other_scope(self, run):
        decide(run, "bob", [mark(0)], scope=LABELS)
        decide(run, "ann", [mark(1)], scope=CLUSTERS)
        assert undo(run, "ann", scope=LABELS) is None
        decide(run, "ann", [mark(2)], scope=LABELS)
        undo(run, "ann", scope=LABELS)
        decide(run, "bob", [mark(10)], scope=LABELS)
        assert redo(run, "ann", scope=LABELS) is not None
        assert said(run) == [(0, "reject"), (1, "reject"), (2, "reject"), (10, "reject")]

    def test_changes_the_version_each_time(self, run):
        decide(run, "ann", [mark(0)], scope=LABELS)
        versions = [version(run)]
        for change in (undo, redo, undo):
            change(run, "ann", scope=LABELS)
            versions.append(version(run))
        assert versions == sorted(set(versions))

    def test_nothing_written_is_ever_changed(self, run):
        def rows():
            with reading(run.path) as db:
                return [[tuple(row) for row in db.execute(f"SELECT * FROM {name}")] for name in ("steps", "marks")]

        decide(run, "ann", [mark(0), mark(1, "accept")], scope=LABELS)
        rename(run, "ann", 1, "sheep")
        for change in (undo, redo, undo):
            before = rows()
            change(run, "ann", scope=LABELS)
            after = rows()
            assert [table[: len(old)] for table, old in zip(after, before, strict=True)] == before


class TestSteps:
    def test_are_told_in_sentences_newest_first(self, run):
        decide(run, "ann", [mark(0)], scope=LABELS)
        decide(run, "ann", [mark(mask_id, "relabel", 3) for mask_id in (0, 1)], scope=LABELS, note="lasso")
        decide(run, "ann", [mark(0), mark(1, "accept")], scope=LABELS)
        rename(run, "bob", 2, " red \n sheep")
        rename(run, "bob", 2, "")
        merge(run, "bob", [4, 2])
        split(run, "bob", 1, [[0, 1], [10, 22]])
        exclude(run, "bob", 3, True)
        exclude(run, "bob", 3, False)
        adopt(run, "bob", read_classes(run).mask_ids, [1, 2] * 6, 2, 7)
        found = steps(run)
        assert [step.text for step in found] == [
            "Took over another clustering into 2 (seed 7).",
            "Included cluster 3 again.",
            "Excluded cluster 3.",
            "Split cluster 1 into clusters 1 and 5.",
            "Merged clusters 2 and 4 into cluster 2.",
            "Took the name of cluster 2 away.",
            "Named cluster 2 'red sheep'.",
            "Decided on 2 masks.",
            "Relabelled 2 masks as cluster 3 (lasso).",
            "Rejected mask 0.",
        ]
        assert [step.num_masks for step in found] == [12, 2, 2, 4, 6, 4, 4, 2, 2, 1]
        assert found[0].kind is Kind.ADOPT
        assert {step.scope for step in found[:7]} == {CLUSTERS}

    def test_can_be_chosen(self, run):
        for reviewer, scope in (("ann", LABELS), ("bob", LABELS), ("ann", CLUSTERS)):
            decide(run, reviewer, [mark(0)], scope=scope)
        assert [step.id for step in steps(run, reviewer="ann")] == [3, 1]
        assert [step.id for step in steps(run, reviewer="ann", scope=LABELS)] == [1]
        assert [step.id for step in steps(run, limit=2)] == [3, 2]


def test_history_of_a_mask(run):
    """Mask 2 is in cluster 2: what happened to others is not in it."""
    decide(run, "ann", [mark(2), mark(0)], scope=LABELS)
    rename(run, "bob", 2, "sheep")
    rename(run, "bob", 3, "cow")
    decide(run, "ann", [mark(2, "accept")], scope=LABELS)
    undo(run, "ann", scope=LABELS)
    decide(run, "ann", [mark(2, "relabel", 3)], scope=CLUSTERS)
    exclude(run, "bob", 3, True)
    exclude(run, "bob", 2, True)
    decide(run, "ann", [mark(2, "clear")], scope=CLUSTERS)
    merge(run, "bob", [1, 2])
    exclude(run, "bob", 1, True)
    assert [(event.reviewer, event.text, event.undone) for event in history(run, 2)] == [
        ("bob", "Excluded cluster 1.", False),
        ("bob", "Merged clusters 1 and 2 into cluster 1.", False),
        ("ann", "Decision taken back.", False),
        ("bob", "Excluded cluster 3.", False),
        ("ann", "Relabelled as cluster 3.", False),
        ("ann", "Accepted.", True),
        ("bob", "Named cluster 2 'sheep'.", False),
        ("ann", "Rejected.", False),
    ]


def test_history_follows_a_mask_through_a_split_and_another_clustering(run):
    split(run, "ann", 1, [[0, 1], [10, 22]])
    rename(run, "ann", 5, "lamb")
    rename(run, "ann", 1, "sheep")
    texts = [event.text for event in history(run, 22)]
    assert texts == ["Named cluster 5 'lamb'.", "Split cluster 1 into clusters 1 and 5."]
    adopt(run, "ann", read_classes(run).mask_ids, [1, 2] * 6, 2, 0)
    rename(run, "ann", 1, "new")
    texts = [event.text for event in history(run, 22)]
    assert texts == ["Named cluster 1 'new'.", "Took over another clustering into 2 (seed 0)."]


def test_csv_has_every_mark(run):
    rename(run, "ann", 3, 'odd, "name"')
    decide(run, "ann", [mark(0, "relabel", 3), mark(11)], scope=LABELS)
    undo(run, "ann", scope=LABELS)
    decide(run, "Zoë", [mark(1, "relabel", 2)], scope=CLUSTERS)
    rows = list(csv.DictReader(io.StringIO(to_csv(run))))
    assert [row["mask"] for row in rows] == ["0", "11", "1"]
    assert [row["undone"] for row in rows] == ["yes", "yes", "no"]
    assert [row["cluster_name"] for row in rows] == ['odd, "name"', "", "cluster 2"]
    assert rows[2]["reviewer"] == "Zoë"
    assert rows[2]["photo"] == "photo 0"
    assert rows[2]["counts_from"] == "clusters"
    assert rows[2]["time"].endswith("+00:00")
    cluster_anew(run, "second")
    rows = list(csv.DictReader(io.StringIO(to_csv(run))))
    assert [(row["cluster"], row["cluster_name"]) for row in rows] == [("3", ""), ("", ""), ("2", "")]


def test_summary_counts_the_last_word_on_each_mask(run):
    decide(run, "ann", [mark(0), mark(1), mark(2)], scope=LABELS)
    decide(run, "bob", [mark(1, "accept"), mark(2, "skip"), mark(10, "relabel", 3)], scope=LABELS)
    decide(run, "bob", [mark(11)], scope=LABELS)
    undo(run, "bob", scope=LABELS)
    merge(run, "bob", [1, 2])
    assert summarise(run).splitlines() == [
        "Steps: 4, 1 of them undone.",
        "Masks: 1 accepted, 2 rejected, 1 relabelled.",
        "Changes of clusters: 1.",
        "ann: 1 steps, 3 marks that stand.",
        "bob: 3 steps, 3 marks that stand.",
    ]


def at_once(*calls):
    """What several threads get that begin at the same time."""
    gate = threading.Barrier(len(calls))

    def begin(call):
        gate.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [task.result(60) for task in [pool.submit(begin, call) for call in calls]]


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


def test_two_people_who_undo_at_once_take_back_their_own(run):
    for number in range(6):
        for name in ("ann", "bob"):
            decide(run, name, [mark(decisions_data.IDS[number])], scope=LABELS)
    undone = at_once(*(lambda name=name: [undo(run, name, scope=LABELS) for _ in range(6)] for name in ("ann", "bob")))
    assert [{step.reviewer for step in own} for own in undone] == [{"ann"}, {"bob"}]
    assert all(step.undone for step in steps(run))
    assert said(run) == []


def test_two_tabs_of_one_person_undo_a_step_each(run):
    ids = [decide(run, "ann", [mark(mask_id)], scope=LABELS) for mask_id in decisions_data.IDS]
    undone = at_once(*[lambda: [undo(run, "ann", scope=LABELS).id for _ in range(6)]] * 2)
    assert sorted(undone[0] + undone[1]) == ids


def test_undo_of_another_step_than_was_shown_is_refused(run):
    shown = decide(run, "ann", [mark(0)], scope=LABELS)
    newer = decide(run, "ann", [mark(1)], scope=LABELS)  # from another tab
    with pytest.raises(ConfigError, match="another step than the one to undo"):
        undo(run, "ann", scope=LABELS, expected=shown)
    assert undo(run, "ann", scope=LABELS, expected=newer).id == newer
    decide(run, "ann", [mark(2)], scope=LABELS)
    with pytest.raises(ConfigError, match="there is none any more"):
        redo(run, "ann", scope=LABELS, expected=newer)


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


class TestClaims:
    def test_a_mask_is_one_reviewers(self, run):
        assert claim(run, "ann", [1, 0], 60) == [1, 0]
        assert claim(run, "bob", [0, 2, 1], 60) == [2]
        assert claim(run, "ann", [0], 60) == [0]
        assert claimed_by_others(run, "bob") == {0, 1}
        release(run, "ann")
        assert claimed_by_others(run, "bob") == set()
        assert claimed_by_others(run, "ann") == {2}
        assert version(run) == 0

    def test_ends_by_itself(self, run):
        claim(run, "ann", [0], -1)
        assert claimed_by_others(run, "bob") == set()
        assert claim(run, "bob", [0], 60) == [0]
        assert claim(run, "ann", [0], 60) == []

    def test_two_tabs_of_one_person_have_masks_of_their_own(self, run):
        ann = {"reviewer": "Ann"}
        assert claim(run, "tab 1", [0, 1], **ann) == [0, 1]
        assert claim(run, "tab 2", [1, 2], **ann) == [2]
        assert claimed_by_others(run, "tab 2", **ann) == {0, 1}
        release(run, "tab 2")
        assert claimed_by_others(run, "tab 3", **ann) == {0, 1}

    def test_a_second_opinion_is_on_what_others_have_open(self, run):
        claim(run, "ann", [0, 1], reviewer="Ann")
        bob = {"reviewer": "Bob", "second_opinion": True}
        assert claim(run, "bob 1", [0, 1], **bob) == [0, 1]
        assert claim(run, "bob 2", [0, 1], **bob) == []  # not twice by the same person
        assert claim(run, "ann", [0, 1], reviewer="Ann") == [0, 1]
        assert claim(run, "cem", [0, 1], reviewer="Cem") == []

    def test_one_dated_ahead_blocks_no_longer_than_another(self, run, monkeypatch):
        """By a machine whose clock is wrong, or before this one's was set back."""
        now = time.time()
        monkeypatch.setattr(claims.time, "time", lambda: now + 1e6)
        claim(run, "ann", [0])
        monkeypatch.setattr(claims.time, "time", lambda: now)
        assert claim(run, "bob", [0, 1]) == [1]
        monkeypatch.setattr(claims.time, "time", lambda: now + LONGEST + 1)
        assert claimed_by_others(run, "bob") == set()
        assert claim(run, "bob", [0]) == [0]

    def test_nobody_can_claim_for_longer(self, run, monkeypatch):
        claim(run, "ann", [0], 1e9)
        later = time.time() + LONGEST + 1
        monkeypatch.setattr(claims.time, "time", lambda: later)
        assert claim(run, "bob", [0]) == [0]

    def test_there_are_never_many(self, run, monkeypatch):
        now = time.time()
        for session in range(50):
            monkeypatch.setattr(claims.time, "time", lambda session=session: now + session * LONGEST)
            claim(run, f"session {session}", decisions_data.IDS)
        with reading(run.path) as db:
            assert db.execute("SELECT count(*) FROM claims").fetchone()[0] <= 2 * len(decisions_data.IDS)

    def test_go_over_to_the_session_that_goes_on(self, run):
        claim(run, "before", [0, 1])
        claim(run, "after", [1, 2])
        assert hand_over(run, "before", "after") == [0, 1]
        assert claim(run, "another", [0, 1, 2]) == []
        assert hand_over(run, "before", "after") == []

    def test_end_soon_where_a_session_is_gone_unless_it_comes_back(self, run, monkeypatch):
        claim(run, "gone", [0])
        claim(run, "back", [1])
        shorten(run, ["gone", "back"], 10)
        claim(run, "back", [1])
        later = time.time() + 11
        monkeypatch.setattr(claims.time, "time", lambda: later)
        assert claimed_by_others(run, "another") == {1}

    def test_ends_with_the_decision_and_begins_with_its_undo(self, run):
        """Between the undo and the next message of that tab another one would be given the mask."""
        claim(run, "tab", [0, 1], reviewer="ann")
        decide(run, "ann", [mark(0)], scope=LABELS, sent=Sent("client", 1, "tab"))
        assert claimed_by_others(run, "another") == {1}
        undo(run, "ann", scope=LABELS, sent=Sent("client", 2, "tab"))
        assert claim(run, "another", [0, 1, 2]) == [2]
        decide(run, "ann", [mark(20)], scope=LABELS)
        claim(run, "colleague", [20])
        undo(run, "ann", scope=LABELS, sent=Sent("client", 9, "tab"))
        assert claim(run, "colleague", [20]) == [20]  # who has it open keeps it
        assert claimed_by_others(run, "colleague") == {0, 1, 2}
        release(run, "another")
        release(run, "colleague")
        decide(run, "ann", [mark(10), mark(11)], scope=LABELS)
        undo(run, "ann", scope=LABELS, sent=Sent("client", 3, "tab"))
        assert claimed_by_others(run, "another") == {0, 1}

    def test_sessions_that_take_masks_at_once_get_none_twice(self, run):
        for _ in range(5):
            found = at_once(
                *(partial(claim, run, f"tab {tab}", decisions_data.IDS, reviewer="Ann") for tab in range(4))
            )
            assert sorted(mask_id for own in found for mask_id in own) == decisions_data.IDS
            for tab in range(4):
                release(run, f"tab {tab}")

    @pytest.mark.slow
    def test_processes_that_take_masks_at_once_get_none_twice(self, run):
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
            found = list(pool.map(decisions_data.claim_one_by_one, [run] * 2, ["tab 1", "tab 2"]))
        assert sorted(found[0] + found[1]) == decisions_data.IDS


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
