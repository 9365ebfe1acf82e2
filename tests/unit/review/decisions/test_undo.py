"""Undo and redo, step by step and by person."""

import decisions_data
import pytest
from decision_steps import CLUSTERS, LABELS, at_once, said
from decisions_data import mark

from maskdistill.errors import ConfigError
from maskdistill.review.decisions import (
    Kind,
    adopt,
    decide,
    exclude,
    merge,
    next_redo,
    next_undo,
    read_classes,
    redo,
    rename,
    split,
    steps,
    undo,
    version,
)
from maskdistill.storage.database import reading


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
