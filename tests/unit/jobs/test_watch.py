import json
import os

import pytest

from maskdistill.jobs.watch import Watch
from maskdistill.storage.progress import Reporter


@pytest.fixture
def run(tmp_path):
    (tmp_path / "stage1").mkdir()
    return tmp_path


def write_history(run, *epochs, steps=10, stage="stage1", **values):
    lines = [
        json.dumps({"epoch": epoch, "step": steps * epoch, "losses": {"total": 1.0}, **values}) for epoch in epochs
    ]
    (run / stage).mkdir(parents=True, exist_ok=True)
    (run / stage / "history.jsonl").write_text("\n".join(lines) + "\n")


def report(run, stage, done, total=30):
    Reporter(run / "progress.json", stage, total, done, unit="steps", quiet=True)


def epochs(watch):
    return [(event.key, event.value["epoch"]) for event in watch.pending if event.kind == "epoch"]


def stages(watch):
    return [(event.value["stage"], event.value["what"]) for event in watch.pending if event.kind == "stage"]


def test_nothing_yet(run):
    watch = Watch(run)
    assert (watch.read(), watch.pending) == (None, [])


def test_epochs_come_as_they_are_finished_and_once(run):
    watch = Watch(run)
    write_history(run, 1)
    report(run, "stage1", 12)
    assert watch.read().done == 12
    assert epochs(watch) == [("stage1:1", 1)]
    assert watch.pending[-1].value == {"stage": "stage1", "epoch": 1, "step": 10, "losses": {"total": 1.0}}
    watch.read()
    write_history(run, 1, 2)
    report(run, "stage1", 25)
    watch.read()
    assert epochs(watch) == [("stage1:1", 1), ("stage1:2", 2)]


def test_history_of_the_training_before_does_not_count(run):
    """It lies there until the new training has made its first step."""
    watch = Watch(run)
    write_history(run, 1, 2, 3, learning_rate=9.0)
    report(run, "stage1", 0)
    watch.read()
    assert epochs(watch) == []
    write_history(run, 1)
    report(run, "stage1", 10)
    watch.read()
    assert epochs(watch) == [("stage1:1", 1)]
    assert "learning_rate" not in watch.pending[-1].value


def test_epochs_of_another_stage_do_not_count(run):
    watch = Watch(run)
    write_history(run, 1)
    report(run, "candidates", 20)
    watch.read()
    assert (epochs(watch), stages(watch)) == ([], [("candidates", "began")])


def test_training_that_was_over_before_anyone_looked(run):
    watch = Watch(run)
    write_history(run, 1, 2, 3)
    watch.stage_done("stage1", "3 epochs on 8 photos.")
    report(run, "candidates", 0)
    watch.read()
    assert epochs(watch) == [("stage1:1", 1), ("stage1:2", 2), ("stage1:3", 3)]
    assert stages(watch) == [("stage1", "done"), ("candidates", "began")]


def test_training_that_had_nothing_to_do_brings_no_epochs(run):
    watch = Watch(run)
    write_history(run, 1, 2, 3)
    watch.stage_done("stage1", "Nothing to do.")
    watch.read()
    assert (epochs(watch), stages(watch)) == ([], [("stage1", "done")])


def test_epoch_that_was_redone_differently_comes_again(run):
    watch = Watch(run)
    for rate in (1.0, 2.0):
        write_history(run, 1, learning_rate=rate)
        report(run, "stage1", 10)
        watch.read()
    assert [event.value["learning_rate"] for event in watch.pending if event.kind == "epoch"] == [1.0, 2.0]


@pytest.mark.parametrize("line", ['{"epoch": 2, "st', "[]", '{"epoch": 2}', ""])
def test_line_that_is_still_being_written_is_left_for_later(run, line):
    watch = Watch(run)
    write_history(run, 1)
    with (run / "stage1" / "history.jsonl").open("a") as file:
        file.write(line)
    report(run, "stage1", 30)
    watch.read()
    assert epochs(watch) == [("stage1:1", 1)]


def test_stages_begin_before_they_end(run):
    watch = Watch(run)
    report(run, "proposals", 3)
    watch.stage_done("proposals", "4 masks.")
    watch.read()
    assert stages(watch) == [("proposals", "began"), ("proposals", "done")]


def test_epochs_of_rounds_come_under_the_number_of_the_round(run):
    write_history(run, 1, 2, stage="rounds/1")
    os.utime(run / "rounds" / "1" / "history.jsonl", (1.0, 1.0))  # of a job before
    watch = Watch(run)
    write_history(run, 1, stage="rounds/2")
    report(run, "rounds", 4)
    watch.read()
    assert epochs(watch) == [("rounds/2:1", 1)]
    write_history(run, 1, 2, stage="rounds/2")
    watch.stage_done("rounds", "2 rounds.")
    watch.read()
    assert epochs(watch) == [("rounds/2:1", 1), ("rounds/2:2", 2)]


def test_head_of_single_objects_that_was_there_before_brings_no_epochs(run):
    write_history(run, 1, 2, stage="instances")
    os.utime(run / "instances" / "history.jsonl", (1.0, 1.0))
    watch = Watch(run)
    watch.stage_done("instances", "12 objects in 3 photos.")
    watch.read()
    assert epochs(watch) == []
    write_history(run, 1, 2, stage="instances")
    watch.stage_done("instances", "12 objects in 3 photos.")
    watch.read()
    assert epochs(watch) == [("instances:1", 1), ("instances:2", 2)]


def test_epochs_of_single_objects_come_while_their_head_is_trained(run):
    watch = Watch(run)
    write_history(run, 1, stage="instances")
    report(run, "instances", 11)
    watch.read()
    assert epochs(watch) == [("instances:1", 1)]
