"""What the Training page is made of, without the page."""

import os
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from app.stage_names import LABELS, label_of, switched_off
from app.training import curves, machine
from app.training.epoch_player import FRAMES, chosen_epochs
from app.training.form import sections_of
from app.training.job_table import job_table, short_message
from app.training.machine import Gpu, Reading
from app.training.stage_cards import cards_of, default_stage
from maskdistill.config import RunConfig, section_names
from maskdistill.jobs import Job, JobEvent, JobState
from maskdistill.pictures.colors import label_colors
from maskdistill.pictures.drawing import label_layer
from maskdistill.stages.stage_list import NAMES
from maskdistill.stages.status import StageState


def state_of(**found):
    """All stages done but those named: ``stage1="missing"`` or ``stage1=("stale", "why")``."""
    pairs = {name: (value, "") if isinstance(value, str) else value for name, value in found.items()}
    return [StageState(name, *pairs.get(name, ("done", ""))) for name in NAMES]


def marks(states, at_work=""):
    return {card.name: card.mark for card in cards_of(states, at_work)}


def make_job(number=1, **values):
    ready = {"run": Path("/runs/sheep"), "id": number, "title": "Stage 1", "state": JobState.DONE}
    return Job(**{**ready, "arguments": ("run", "--data", "sample", "--until", "stage1"), **values})


def epoch_event(number, stage, epoch, loss, agreement=0.5):
    report = {"epoch": epoch, "num_epochs": 9, "losses": {"patches": 7.0, "total": loss}}
    return JobEvent(number, 0.0, "epoch", {"stage": stage, **report, "metrics": {"agreement": agreement}})


def test_every_stage_has_a_label_and_a_form():
    assert tuple(LABELS) == NAMES
    for name in NAMES:
        assert set(sections_of(name)) <= {"", *section_names()}
        assert sections_of(name) or name in ("repairs", "classes")  # what people decide has no settings


def test_cards_show_state_by_word_and_say_why():
    found = cards_of(
        state_of(
            clusters=("stale", "clusters.method was changed"),
            filter=("missing", "failed: Disk full."),
            stage2=("missing", "stopped: Stopped; start again to go on."),
            predictions=("stale", "pseudo_labels is stale"),
        )
    )
    cards = {card.name: card for card in found}
    states = {"proposals": "done", "clusters": "stale", "filter": "failed", "stage2": "stopped", "predictions": "stale"}
    assert {name: cards[name].state for name in states} == states
    assert cards["stage2"].text == "Stopped; start again to go on."
    assert "clusters.method was changed" in cards["clusters"].text
    assert "Pseudo-labels is stale" in cards["predictions"].text
    assert "Disk full." in cards["filter"].text


def test_first_stage_that_is_missing_is_next_and_the_others_wait():
    found = marks(state_of(stage2="missing", predictions="missing"))
    assert found["stage2"] == "next"
    assert found["predictions"] == "todo"


def test_rounds_that_nobody_asked_for_are_off_and_never_next():
    found = cards_of(state_of(rounds="missing", predictions="missing"), off=switched_off(RunConfig()))
    words = {card.name: card.state for card in found}
    assert (words["rounds"], words["predictions"]) == ("off", "next")
    on = ["rounds.count=2", "foreground.enabled=true", "instances.enabled=on"]
    assert not switched_off(RunConfig().with_overrides(on))


def test_nothing_is_next_while_a_job_works():
    found = marks(state_of(stage2="missing", predictions="missing"), at_work="stage2")
    assert found["stage2"] == "running"
    assert found["predictions"] == "todo"


@pytest.mark.parametrize(
    ("states", "wanted"),
    [
        (state_of(), "stage2"),
        (state_of(stage1=("stale", "x"), stage2=("stale", "x")), "stage1"),
        (state_of(stage2="missing"), "stage2"),
        (state_of(stage1="missing", clusters="running"), "clusters"),
    ],
)
def test_page_opens_at_the_stage_that_matters(states, wanted):
    assert default_stage(states) == wanted


def test_epochs_of_events_are_sorted_and_counted_once():
    events = [
        epoch_event(1, "stage2", 1, 0.9),
        epoch_event(2, "stage1", 2, 0.5),
        epoch_event(3, "stage1", 1, 0.7),
        epoch_event(4, "stage1", 2, 0.4),  # after a resume
        JobEvent(5, 0.0, "state", {"state": "running"}),
        epoch_event(6, "rounds/10", 1, 0.1),
        epoch_event(7, "rounds/2", 1, 0.2),
    ]
    found = curves.epochs_of(events)
    assert [(item.stage, item.epoch, item.loss) for item in found] == [
        ("stage1", 1, 0.7),
        ("stage1", 2, 0.4),
        ("stage2", 1, 0.9),
        ("rounds/2", 1, 0.2),
        ("rounds/10", 1, 0.1),
    ]


def test_history_of_a_run_leaves_out_a_line_that_is_cut_off(tmp_path):
    (tmp_path / "stage1").mkdir()
    whole = '{"epoch": 1, "num_epochs": 5, "losses": {"total": 0.8}, "metrics": {}, "samples_per_second": 3.0}'
    (tmp_path / "stage1" / "history.jsonl").write_text(f'{whole}\n{{"epoch": 2, ')
    (tmp_path / "rounds" / "1").mkdir(parents=True)
    (tmp_path / "instances").mkdir()
    (tmp_path / "instances" / "history.jsonl").write_text(whole)
    (tmp_path / "rounds" / "1" / "history.jsonl").write_text(whole)
    found = curves.saved_epochs(tmp_path)
    assert [(item.stage, item.epoch, item.loss, item.agreement) for item in found] == [
        ("stage1", 1, 0.8, None),
        ("instances", 1, 0.8, None),
        ("rounds/1", 1, 0.8, None),
    ]
    assert label_of("rounds/1") == "Round 1"


def test_overlaid_curves_are_told_apart_by_job_and_model():
    epochs = curves.epochs_of([epoch_event(1, "stage1", 1, 0.9), epoch_event(2, "stage2", 1, 0.8)])
    table = curves.as_table({"Job 1 · ": epochs, "Job 2 · ": epochs[:1]})
    assert table["series"].tolist() == ["Job 1 · Stage 1", "Job 1 · Stage 2", "Job 2 · Stage 1"]


def test_table_of_jobs_shows_where_the_last_model_ended():
    epochs = curves.epochs_of([epoch_event(1, "stage1", 1, 0.9), epoch_event(2, "stage2", 1, 0.25, agreement=0.75)])
    table = job_table([make_job(2, started=100.0, seconds=65.0), make_job(1)], {2: epochs})
    assert table["Loss"].tolist()[0] == 0.25
    assert table["Agreement"].tolist()[0] == 0.75
    assert table["Took"].tolist() == ["1 min 05 s", ""]
    assert table["Began"].isna().tolist() == [False, True]


def test_table_of_jobs_says_nothing_that_is_about_to_change():
    epochs = curves.epochs_of([epoch_event(1, "stage1", 1, 0.9)])
    table = job_table([make_job(1, state=JobState.RUNNING, seconds=5.0)], {1: epochs})
    assert table["Took"].item() == ""
    assert table["Loss"].isna().item()


def test_message_goes_without_the_path_of_the_run():
    run = Path("sheep")
    assert short_message(make_job(run=run, message=f"Made 3 masks. {run.absolute()}")) == "Made 3 masks."


def test_cores_are_counted_between_two_looks():
    before = Reading(10.0, {(1, 0.0): 5.0, (2, 0.0): 1.0})
    now = Reading(12.0, {(1, 0.0): 6.0, (3, 0.0): 40.0})  # process 2 ended, process 3 is new
    assert machine.cores_busy(before, now) == pytest.approx(0.5)
    assert machine.cores_busy(now, now) == 0.0


def test_processes_of_this_test_take_memory_and_a_dead_one_nothing():
    assert machine.read_processes(os.getpid()).memory > 1_000_000
    assert machine.read_processes(2**22 + 1).cpu_seconds == {}


def test_gpus_are_read_from_the_tools_table():
    text = "35, 2048, 24576\n[N/A], [N/A], 24576\n0, 4, 8192\n"
    assert machine.parse_gpus(text) == [Gpu(0.35, 2**31, 24 * 2**30), Gpu(0.0, 2**22, 2**33)]


def test_machine_without_the_tool_has_no_gpu(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert machine.read_gpus() == []


def test_long_training_is_thinned_out_to_its_first_and_last_epoch_and_some_between():
    assert chosen_epochs([0, 1, 2]) == [0, 1, 2]
    found = chosen_epochs(list(range(301)))
    assert len(found) == FRAMES
    assert found == sorted(set(found))
    assert (found[0], found[-1]) == (0, 300)


def test_label_colours_differ_from_neighbour_to_neighbour():
    colours = label_colors()
    assert len(colours) == 256
    for first, second in pairwise(colours[1:255]):
        assert sum(abs(a - b) for a, b in zip(first, second, strict=True)) > 60


def test_background_is_transparent_and_classes_are_not():
    labels = Image.frombytes("P", (3, 1), bytes([0, 7, 255]))
    alpha = label_layer(labels).convert("RGBA").getchannel("A")
    assert list(alpha.tobytes())[:2] == [0, 255]
    assert 0 < alpha.tobytes()[2] < 255
