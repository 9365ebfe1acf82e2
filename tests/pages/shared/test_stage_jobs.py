"""Stages for the pages that start one: which need which, what a start would make, and what a job is for."""

from pathlib import Path

import pytest

from app import stage_jobs
from app.stage_names import LABELS, describe_work
from maskdistill.config import RunConfig, load_preset
from maskdistill.jobs import Job, JobState
from maskdistill.stages.stage_list import NAMES, with_needs


def make_job(number=1, **values):
    ready = {"run": Path("/runs/sheep"), "id": number, "title": "Stage 1", "state": JobState.DONE, "arguments": ()}
    return Job(**{**ready, **values})


def test_needs_of_the_map_leave_out_the_way_to_the_report():
    config = RunConfig()
    assert with_needs(("projection",), config) == [
        "proposals",
        "foreground",
        "repairs",
        "embeddings",
        "clusters",
        "projection",
    ]
    assert with_needs(("evaluation",), config) == [name for name in NAMES if name != "projection"]


@pytest.mark.parametrize(
    ("work", "until", "named"),
    [
        ([], "stage1", "Nothing to do: Stage 1"),
        (["clusters", "stage1"], "stage1", "first: Clusters."),
        (["embeddings", "clusters", "stage1"], "stage1", "first: Embeddings and Clusters."),
        (["proposals"], "stage1", "Proposals; Stage 1 itself"),
    ],
)
def test_sentence_on_what_a_start_makes_names_the_stages(work, until, named):
    assert named in describe_work(work, until)


def test_stage_that_lacks_nothing_names_no_other():
    assert not any(label in describe_work(["stage1"], "stage1") for label in LABELS.values())


def test_overrides_hold_whichever_job_comes_first():
    saved = load_preset("quick")
    queued = saved.with_overrides(["stage1.epochs=3"])
    back = saved.with_overrides(["stage2.epochs=7"])  # stage 1 as saved: must undo what the queued job writes
    found = stage_jobs.full_overrides([saved, queued], back)
    assert sorted(found) == ["stage1.epochs=10", "stage2.epochs=7"]
    for base in (saved, queued):
        assert base.with_overrides(found) == back


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (
            ("run", "--data", "sample", "--until", "clusters"),
            ("proposals", "foreground", "repairs", "embeddings", "clusters"),
        ),
        (("project",), ("proposals", "foreground", "repairs", "embeddings", "clusters", "projection")),
        (("predict", "--images", "x"), ()),
        (("run", "--data", "sample"), NAMES),
        (("run", "--until=clusters"), ("proposals", "foreground", "repairs", "embeddings", "clusters")),
    ],
)
def test_stages_that_a_job_is_for(arguments, wanted):
    assert stage_jobs.stages_of(make_job(arguments=arguments)) == wanted


def test_stage_at_work_is_that_of_the_job_that_works():
    waiting = make_job(3, state=JobState.QUEUED, stage="filter")
    working = make_job(2, state=JobState.RUNNING, stage="stage1")
    assert stage_jobs.stage_at_work([waiting, working]) == "stage1"
    assert stage_jobs.stage_at_work([waiting]) == ""
