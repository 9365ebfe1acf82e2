import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from tiny_run import WITHOUT_MAP, assert_same_artifacts, contents_of, draw_photo, interrupt_stage, redone, run_chain

from maskdistill.config import RunConfig
from maskdistill.datasets import open_source, scanning, seen_files
from maskdistill.errors import ConfigError, OutOfMemoryError
from maskdistill.stages import chain, predict, propose, shards, worker
from maskdistill.stages.plan import Plan, read_record
from maskdistill.stages.shards import Shard
from maskdistill.stages.stage_list import BY_NAME, NAMES
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_lock import RunBusyError, hold_run

OFF = "instances"  # with the settings here, so that nothing is made anew for it


@pytest.fixture
def again(finished, scene, tmp_path):
    """Works on a copy of the finished run; settings may be changed by assignments, other options are passed on."""
    path = tmp_path / "again"
    shutil.copytree(finished[0].path, path)

    def go_on(*assignments, data=scene[0], **options):
        return run_chain(path, data, scene[1].with_overrides(list(assignments)), **options)

    go_on.run = Run(path)
    return go_on


class TestStages:
    def test_every_need_comes_before(self):
        for place, name in enumerate(NAMES):
            assert all(NAMES.index(need) < place for need in BY_NAME[name].needs)

    def test_each_is_fed_by_the_one_before_up_to_the_report(self):
        aside = {"instances": ("foreground", "stage1"), "projection": ("clusters",)}
        for name, needs in aside.items():
            assert BY_NAME[name].needs == needs
        order = [name for name in NAMES if name not in aside]
        for before, name in pairwise(order):
            assert BY_NAME[name].needs == (before, *(("instances",) if name in ("candidates", "evaluation") else ()))

    def test_every_section_of_settings_belongs_to_a_stage(self):
        of_stages = {section for stage in BY_NAME.values() for section in stage.sections}
        assert of_stages | {"features", "proposals", "seed"} == set(RunConfig().to_dict())

    def test_work_can_be_found(self):
        for name in NAMES[1:]:
            module, _, function = BY_NAME[name].work.partition(":")
            assert callable(getattr(chain.import_module(module), function))


def test_stages_are_done_in_order_and_leave_a_record_and_their_artifacts(finished):
    run, said = finished
    assert list(said) == list(WITHOUT_MAP)
    assert redone(said) == list(WITHOUT_MAP)
    for name in WITHOUT_MAP:
        assert read_record(run, name)["fingerprint"]
        assert all((run.path / artifact).is_file() for artifact in BY_NAME[name].artifacts)
    assert read_record(run, "projection") is None


def test_large_files_have_no_indent_and_small_ones_can_be_read(finished):
    run, _ = finished
    lines = {path.name: len(path.read_text().splitlines()) for path in run.path.glob("*.json")}
    assert lines["proposals.json"] == lines["candidates.json"] == 1
    assert min(lines[name] for name in ("run.json", "clusters.json", "metrics.json")) > 10


def test_record_names_the_fingerprints_of_what_it_was_made_from(finished, scene):
    run, _ = finished
    plan = Plan(run, open_source(str(scene[0])), scene[1])
    for name in WITHOUT_MAP[1:]:
        needed = {need: read_record(run, need)["fingerprint"] for need in plan.needs(name)}
        assert read_record(run, name)["made_from"]["from"] == needed


def test_wanted_stage_brings_what_it_needs_and_no_more(scene, tmp_path):
    said = run_chain(tmp_path / "run", *scene, wanted=("clusters",))
    assert list(said) == ["proposals", "foreground", "embeddings", "clusters"]


def test_second_identical_run_does_nothing(again, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in again.run.path.rglob("*") if path.is_file()}
    monkeypatch.setattr(chain, "import_module", lambda name: pytest.fail(f"{name} was imported for work"))
    monkeypatch.setattr(propose, "map_batches", lambda *_: pytest.fail("photos were processed"))
    assert redone(again()) == []
    changed = [path for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert all(path.suffix == ".lock" or path.name == "source.parquet" for path in changed)  # photos of now


def test_photos_of_a_folder_that_a_run_knows_are_read_no_more(again, monkeypatch):
    monkeypatch.setattr(seen_files, "_SETTLED_NS", -(10**12))  # they are of just now
    again()
    monkeypatch.setattr(scanning, "inspect_image", lambda path, *_: pytest.fail(f"{path} was read"))
    assert redone(again()) == []


@pytest.mark.parametrize(
    ("assignment", "first"),
    [
        ("embeddings.mirror=false", "embeddings"),
        ("clusters.num_rounds=5", "clusters"),
        ("seed=1", "clusters"),
        ("stage1.epochs=2", "stage1"),
        ("candidates.min_area=0.1", "candidates"),
        ("filter.min_score=0.3", "filter"),
        ("labels.border_band=1", "pseudo_labels"),
        ("stage2.epochs=2", "stage2"),
        ("crf.iterations=3", "predictions"),
        ("predictions.crf=false", "predictions"),
        ("evaluation.num_seeds=0", "evaluation"),
    ],
)
def test_changed_setting_makes_its_stage_and_those_after_it_stale(finished, scene, assignment, first):
    plan = Plan(finished[0], open_source(str(scene[0])), scene[1].with_overrides([assignment]))
    stale = [name for name in WITHOUT_MAP if not plan.is_done(name)]
    assert stale == [name for name in WITHOUT_MAP[WITHOUT_MAP.index(first) :] if name != OFF]


def test_stale_stages_are_redone_and_no_others(again):
    said = again("filter.min_score=0.3")
    assert redone(said) == list(WITHOUT_MAP[WITHOUT_MAP.index("filter") :])
    assert list(said) == list(WITHOUT_MAP)


@pytest.mark.parametrize("assignment", ["stage1.checkpoint_seconds=5", "stage2.checkpoint_seconds=0"])
def test_setting_of_how_to_work_redoes_nothing(again, assignment):
    assert redone(again(assignment)) == []


def test_changed_setting_and_back_gives_the_same_files(again, finished):
    again("filter.min_score=0.33", "labels.border_band=2")
    assert contents_of(again.run) != contents_of(finished[0])
    again()
    assert_same_artifacts(again.run, finished[0])


@pytest.mark.parametrize("stage", ["filter", "pseudo_labels", "predictions"])
def test_interrupted_change_and_back_gives_the_same_files(again, finished, monkeypatch, stage):
    """The record of a stage must not say that what an interrupted change left half done is the old result."""
    if stage == "filter":  # killed after the table was written and before the record was
        monkeypatch.setattr(chain, "write_json", interrupted)
    else:
        interrupt_stage(monkeypatch, stage, 3)
    with pytest.raises(KeyboardInterrupt):
        again("filter.min_score=0.33", "labels.border_band=2")
    monkeypatch.undo()
    again()
    assert_same_artifacts(again.run, finished[0])


def interrupted(*_args, **_options):
    raise KeyboardInterrupt


def test_interrupted_change_of_the_features_and_back(again, finished, monkeypatch):
    """The masks are of the old size still, and the run must not say that they are of the new one."""
    monkeypatch.setattr(propose, "map_batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        again("features.shorter_side=40")
    monkeypatch.undo()
    assert redone(again()) == []
    assert again.run.info()["config"]["features"]["shorter_side"] == 32


@pytest.mark.parametrize(
    ("stage", "artifact"), [(name, path) for name in WITHOUT_MAP for path in BY_NAME[name].artifacts]
)
def test_deleted_artifact_is_made_again_the_same(again, finished, stage, artifact):
    (again.run.path / artifact).unlink()
    assert redone(again()) == [stage]
    assert_same_artifacts(again.run, finished[0])


def test_changed_photo_redoes_everything(again, scene, tmp_path):
    copy = tmp_path / "voc"
    shutil.copytree(scene[0], copy)
    draw_photo(40)[0].resize((56, 64)).save(copy / "JPEGImages" / "01.png")
    assert redone(again(data=copy)) == [name for name in WITHOUT_MAP if name != OFF]


def test_changed_label_redoes_the_report_only(again, scene, tmp_path):
    copy = tmp_path / "voc"
    shutil.copytree(scene[0], copy)
    Image.fromarray(np.zeros((48, 60), np.uint8)).save(copy / "SegmentationClass" / "11.png")
    assert redone(again(data=copy)) == ["evaluation"]


def test_limit_takes_so_many_photos(scene, tmp_path):
    said = run_chain(tmp_path / "run", *scene, wanted=("embeddings",), limit=5)
    assert "5 photos" in said["proposals"]
    assert len(Run(tmp_path / "run").images()) == 5


def test_shard_waits_for_the_others_before_the_next_stage(scene, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "PHOTOS_PER_PART", 4)
    path = tmp_path / "run"
    assert list(run_chain(path, *scene, wanted=("embeddings",), shard=Shard(1, 2))) == ["proposals"]
    assert not (path / "embeddings.json").exists()
    assert list(run_chain(path, *scene, wanted=("embeddings",), shard=Shard(2, 2)))[1:] == ["foreground", "embeddings"]


@pytest.mark.parametrize("change", ["filter.min_iou=0.4", "proposals.tau=0.9", "seed=4"])
def test_another_process_at_work_is_refused_before_anything_is_written(again, change):
    before = contents_of(again.run)
    with hold_run(again.run.path), pytest.raises(RunBusyError, match="Another process is at work on .*again"):
        again(change)
    assert contents_of(again.run) == before
    assert redone(again()) == []


@pytest.mark.parametrize(
    ("module", "name", "stage", "change"),
    [
        (worker, "embed_masks", "embeddings", "embeddings.mirror=false"),
        (predict, "refine_classes", "predictions", "crf.max_pixels=2000"),
        (predict, "write_label_png", "predictions", "crf.max_pixels=2000"),
    ],
)
def test_lack_of_memory_ends_a_stage(again, monkeypatch, module, name, stage, change):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(predict, "crf_available", lambda: True)
    monkeypatch.setattr(module, name, fail)
    with pytest.raises(OutOfMemoryError, match="not enough memory"):
        again(change)
    assert read_record(again.run, stage) is None  # to be done by the next run


@pytest.mark.parametrize(
    ("support", "words"),
    [("", "the run's own data"), ("https://host/list.txt?X-Amz-Signature=secret", r"\(https://host/list\.txt\)")],
)
def test_second_folder_that_cannot_be_used_is_refused_before_anything_is_made(scene, tmp_path, support, words):
    config = scene[1].with_overrides([f"clusters.support={support or scene[0]}"])
    with pytest.raises(ConfigError, match=words) as refused:
        run_chain(tmp_path / "run", scene[0], config)
    assert "secret" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_run_records_its_settings(again, scene):
    assert RunConfig.from_dict(again.run.info()["config"]) == scene[1]
    again("filter.min_iou=0.4", "seed=3", wanted=("filter",))
    config = again.run.info()["config"]
    assert (config["filter"]["min_iou"], config["seed"]) == (0.4, 3)
    assert read_record(again.run, "filter")["made_from"]["settings"]["filter"]["min_iou"] == 0.4
    assert json.loads((again.run.path / "stage1" / "config.json").read_text())["seed"] == 3
