"""Decisions on masks: what is written, and what counts."""

import csv
import io

import numpy as np
import pytest
from decision_steps import CLUSTERS, LABELS, said
from decisions_data import cluster_anew, mark

from maskdistill.errors import ConfigError, RunError
from maskdistill.review.decisions import (
    Action,
    Mark,
    adopt,
    claim,
    claimed_by_others,
    decide,
    decide_undecided,
    exclude,
    history,
    merge,
    read_classes,
    read_marks,
    rename,
    split,
    steps,
    summarise,
    to_csv,
    undo,
    version,
)
from maskdistill.storage.database import reading
from maskdistill.storage.run_folder import Run


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
