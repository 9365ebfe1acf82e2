"""The stage ``instances``: composites, the head that is taught by them, and the objects of every photo."""

import json
import shutil

import pytest
from tiny_run import (
    NUM_TRAIN,
    NUM_VAL,
    assert_same_artifacts,
    contents_of,
    interrupt_stage,
    redone,
    run_chain,
    weights_of,
)

from maskdistill.datasets import open_source
from maskdistill.masks import decode_mask, mask_iou
from maskdistill.models.instance_finder import TWINS
from maskdistill.models.new_instances import has_instances
from maskdistill.stages import instances, shards
from maskdistill.stages.chain import Options, run_stages
from maskdistill.stages.instance_lessons import Lessons
from maskdistill.stages.instance_worker import CompositeWorker, InstanceWorker
from maskdistill.stages.plan import Plan
from maskdistill.stages.soundness import find_damage
from maskdistill.stages.status import stage_states
from maskdistill.storage.mask_store import MaskCodes, read_masks
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run

WANTED = ("instances",)


@pytest.fixture
def copy(with_instances, tmp_path):
    shutil.copytree(with_instances.path, tmp_path / "run")
    return Run(tmp_path / "run")


def test_scored_masks_of_every_photo_with_a_class(with_instances, instance_settings):
    run = with_instances
    content = read_json(run.instances.codes_path)
    codes = MaskCodes.of_file(run.instances.codes_path)
    by_photo = {}
    for item in content["annotations"]:
        by_photo.setdefault(item["image_id"], []).append(item)
        assert decode_mask(item["segmentation"]).sum() == item["area"]
        assert 0 < item["score"] <= 1
        assert 1 <= item["category_id"] <= run.num_classes
        assert codes.box(item["id"]) == tuple(item["bbox"])
    assert set(by_photo) == set(range(NUM_TRAIN + NUM_VAL))
    for items in by_photo.values():
        scores = [item["score"] for item in items]
        assert scores == sorted(scores, reverse=True)
        masks = [decode_mask(item["segmentation"]) for item in items]
        assert len(masks) <= instance_settings.instances.most
        ious = [mask_iou(one, other) for place, one in enumerate(masks) for other in masks[:place]]
        assert max(ious, default=0) <= TWINS
    record = read_json(run.instances.record_path)
    assert (record["used"], record["composites"], record["instances"]) == (True, 5, len(content["annotations"]))


def test_what_is_only_needed_meanwhile_is_taken_away(with_instances):
    folder = with_instances.instances
    for head in (folder.head(0), folder.head(1)):
        assert head.model_path.is_file()
        assert not head.composites_path.exists()
        assert not head.start_path.exists()
    assert len(read_json(folder.record_path)["scales"]) == 2


@pytest.mark.parametrize("seen", [1, 9, 27, 50])
@pytest.mark.slow
def test_interrupted_stage_ends_with_the_same_files(
    with_instances, scene, instance_settings, tmp_path, monkeypatch, seen
):
    """In the composites, the targets, the training and the photos."""
    monkeypatch.setattr(shards, "PHOTOS_PER_PART", 4)
    path = tmp_path / "run"
    shutil.copytree(with_instances.path, path)
    shutil.rmtree(path / "instances")
    for name in ("instances.json", "stages/instances.json"):
        (path / name).unlink()
    interrupt_stage(monkeypatch, "instances", seen)
    with pytest.raises(KeyboardInterrupt):
        run_chain(path, scene[0], instance_settings, wanted=WANTED)
    assert not has_instances(Run(path))
    run_chain(path, scene[0], instance_settings, wanted=WANTED)
    assert_same_artifacts(Run(path), with_instances)


@pytest.mark.slow
@pytest.mark.usefixtures("processes_know_the_tiny_transformer")
def test_two_workers_make_the_same_files(with_instances, scene, instance_settings, tmp_path):
    how = Options(num_workers=2, quiet=True)
    run_stages(Run(tmp_path / "run"), str(scene[0]), instance_settings, wanted=WANTED, options=how)
    assert_same_artifacts(Run(tmp_path / "run"), with_instances)


def test_no_label_reaches_it(with_instances, scene, instance_settings, tmp_path):
    data = tmp_path / "voc"
    shutil.copytree(scene[0], data)
    shutil.rmtree(data / "SegmentationClass")
    (data / "SegmentationClass").mkdir()
    run_chain(tmp_path / "run", data, instance_settings, wanted=WANTED)
    run = Run(tmp_path / "run")
    found, wanted = (read_json(item.instances.codes_path)["annotations"] for item in (run, with_instances))
    assert found == wanted
    assert weights_of(run.instances.head(0).model_path) == weights_of(with_instances.instances.head(0).model_path)


def test_photos_outside_of_the_train_split_teach_nothing(with_instances, scene, instance_settings, tmp_path):
    data = tmp_path / "voc"
    shutil.copytree(scene[0], data)
    (data / "ImageSets/Segmentation/val.txt").write_text("08\n09")
    run_chain(tmp_path / "run", data, instance_settings, wanted=WANTED)
    names = ("objectness.weight", "basis")
    first, second = (weights_of(run.instances.head(0).model_path)[1] for run in (Run(tmp_path / "run"), with_instances))
    assert [name for name in names if first[name] != second[name]] == []


def test_no_head_judges_a_photo_that_taught_it(copy, scene, instance_settings, monkeypatch):
    """Neither by its pool nor by an object of it in a composite."""
    taught, pasted, judged = {}, {}, {}
    make, compose, find = Lessons.make, CompositeWorker.__call__, InstanceWorker.__call__

    def making(context, heads, photos):
        taught.update(enumerate(map(set, photos)))
        return make(context, heads, photos)

    def composing(self, number, head, background, objects):
        pasted.setdefault(head, set()).update(photo.id for photo in (background, *(item for item, _ in objects)))
        return compose(self, number, head, background, objects)

    def finding(self, number, photo, fold):
        judged[number] = (photo.id, fold)
        return find(self, number, photo, fold)

    monkeypatch.setattr(Lessons, "make", making)
    monkeypatch.setattr(CompositeWorker, "__call__", composing)
    monkeypatch.setattr(InstanceWorker, "__call__", finding)
    shutil.rmtree(copy.instances.path)
    copy.stage_path("instances").unlink()
    run_chain(copy.path, scene[0], instance_settings, wanted=WANTED)
    folds = [fold for _, fold in judged.values()]
    assert (folds.count(0), folds.count(1), folds.count(None)) == (NUM_TRAIN / 2, NUM_TRAIN / 2, NUM_VAL)
    for number, (photo, fold) in judged.items():
        for head in (0, 1):
            assert (number in taught[head]) == (fold == 1 - head)
            assert photo not in pasted[head] or fold == 1 - head
    assert set(pasted) == {0, 1}


def test_other_classes_leave_the_head_as_it_is(copy, with_instances, scene, instance_settings):
    changed = instance_settings.with_overrides(["stage1.hidden=24"])
    said = run_chain(copy.path, scene[0], changed, wanted=WANTED)
    assert redone(said) == ["stage1", "instances"]
    for place in (0, 1):
        path, before = (run.instances.head(place).model_path for run in (copy, with_instances))
        assert weights_of(path) == weights_of(before)
        assert path.stat().st_mtime_ns == before.stat().st_mtime_ns


class TestSwitchedOff:
    def test_it_says_so_and_the_report_does_without(self, finished):
        run, said = finished
        assert said["instances"].startswith("Not used")
        assert "instances" not in read_json(run.path / "metrics.json")
        assert not run.instances.codes_path.exists()
        assert not has_instances(run)
        assert list(read_json(run.stage_path("evaluation"))["made_from"]["from"]) == ["predictions"]

    def test_runs_made_before_are_not_stale(self, finished, scene):
        plan = Plan(finished[0], open_source(str(scene[0])), scene[1].with_overrides(["instances.epochs=7"]))
        assert plan.is_done("instances")
        assert plan.is_done("evaluation")

    def test_turning_it_on_makes_the_report_stale(self, finished, scene, instance_settings):
        plan = Plan(finished[0], open_source(str(scene[0])), scene[1].with_overrides(["instances.enabled=on"]))
        assert plan.is_done("predictions")
        assert not plan.is_done("instances")
        assert not plan.is_done("evaluation")

    def test_off_again_takes_the_objects_away(self, copy, scene, instance_settings):
        off = instance_settings.with_overrides(["instances.enabled=off"])
        assert redone(run_chain(copy.path, scene[0], off, wanted=WANTED)) == ["instances"]
        assert not copy.instances.codes_path.exists()
        assert not copy.instances.head(0).model_path.exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("foreground.enabled=false", "foreground"),
        ("proposals.pool=off", "proposals.pool=on"),
        ("instances.folds=10", "10 are needed"),
        ("instances.composites=0", None),
    ],
)
def test_what_it_cannot_do_without_is_named(scene, instance_settings, tmp_path, change, reason):
    said = run_chain(tmp_path / "run", scene[0], instance_settings.with_overrides([change]), wanted=WANTED)
    run = Run(tmp_path / "run")
    assert has_instances(run) == (reason is None)
    if reason:
        assert said["instances"].startswith("Left out")
        assert reason in said["instances"]
        assert {item.name: item for item in stage_states(run)}["instances"].state == "done"


def test_auto_leaves_photos_of_one_object_alone(with_instances, scene, instance_settings, copy, monkeypatch):
    auto = instance_settings.with_overrides(["instances.enabled=auto"])
    monkeypatch.setattr(instances, "SEVERAL", 99.0)
    assert run_chain(copy.path, scene[0], auto, wanted=WANTED)["instances"].startswith("Left out")
    monkeypatch.setattr(instances, "SEVERAL", 0.5)
    copy.stage_path("instances").unlink()
    assert "objects in" in run_chain(copy.path, scene[0], auto, wanted=WANTED)["instances"]


@pytest.mark.parametrize("name", ["instances.parquet", "instances/record.json", "instances/head-1/model.safetensors"])
@pytest.mark.parametrize("damage", ["deleted", "cut off"])
def test_damaged_file_is_made_again_the_same(copy, with_instances, scene, instance_settings, name, damage):
    path = copy.path / name
    content = path.read_bytes()
    path.unlink() if damage == "deleted" else path.write_bytes(content[: len(content) // 2])
    if name == "instances.parquet":
        copy.instances.codes_path.unlink()  # whole, it would be read where there is no table
    assert find_damage(copy, "instances") is not None
    assert redone(run_chain(copy.path, scene[0], instance_settings, wanted=WANTED)) == ["instances"]
    found, wanted = contents_of(copy), contents_of(with_instances)
    assert [name for name in wanted if found[name] != wanted[name]] == []


def test_table_gives_back_what_the_coco_file_holds(copy):
    whole = json.loads(copy.instances.codes_path.read_text())
    copy.instances.codes_path.unlink()
    found = read_masks(copy.instances.codes_path)
    assert [found[name] for name in ("annotations", "images", "categories")] == [
        whole[name] for name in ("annotations", "images", "categories")
    ]
    assert find_damage(copy, "instances") is None


def test_runs_of_before_have_the_coco_file_alone(copy, with_instances, scene, instance_settings):
    before = read_masks(copy.instances.codes_path)["annotations"]
    copy.instances.masks_path.unlink()
    assert find_damage(copy, "instances") is None
    assert redone(run_chain(copy.path, scene[0], instance_settings, wanted=WANTED)) == []
    assert read_masks(copy.instances.codes_path)["annotations"] == before
    codes = [MaskCodes.of_file(run.instances.codes_path) for run in (copy, with_instances)]
    assert [codes[0].code(mask_id) for mask_id in codes[0].ids] == [codes[1].code(mask_id) for mask_id in codes[1].ids]
