"""The stage ``instances``: composites, the head that is taught by them, and the objects of every photo."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from tiny_run import (
    NUM_TRAIN,
    NUM_VAL,
    assert_same_artifacts,
    contents_of,
    draw_photo,
    interrupt_stage,
    redone,
    run_chain,
    weights_of,
)

from maskdistill.cli.main import main
from maskdistill.datasets import open_source
from maskdistill.errors import ConfigError
from maskdistill.exports.run import export_run
from maskdistill.masks import decode_mask, mask_iou
from maskdistill.models.instance_finder import TWINS
from maskdistill.models.new_instances import has_instances
from maskdistill.pseudo_labels.candidates import SAME_OBJECT
from maskdistill.pseudo_labels.filter import ACCEPTED
from maskdistill.review.decisions import Action, Mark, Scope, decide
from maskdistill.review.mask_table import read_mask_table
from maskdistill.stages import instances, shards
from maskdistill.stages.chain import Options, run_stages
from maskdistill.stages.instance_lessons import Lessons
from maskdistill.stages.instance_worker import CompositeWorker, InstanceWorker
from maskdistill.stages.plan import Plan
from maskdistill.stages.soundness import find_damage
from maskdistill.stages.stage_list import with_needs
from maskdistill.stages.status import stage_states
from maskdistill.storage.mask_store import MaskCodes, read_masks
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run, write_table

ON = (
    *("foreground.enabled=true", "foreground.folds=2", "foreground.steps=20", "foreground.dimensions=8"),
    *("instances.enabled=on", "instances.composites=5", "instances.epochs=2", "proposals.pool=on"),
    *("proposals.pool_depth=3", "stage1.epochs=1"),
)
WANTED = ("instances",)


@pytest.fixture(scope="module")
def settings(scene):
    return scene[1].with_overrides(ON)


@pytest.fixture(scope="module")
def made(tmp_path_factory, scene, settings):
    """A run with its instances, to look at only, and what its stages said."""
    path = tmp_path_factory.mktemp("instances") / "run"
    said = run_chain(path, scene[0], settings, wanted=WANTED)
    return Run(path), said


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made[0].path, tmp_path / "run")
    return Run(tmp_path / "run")


def test_scored_masks_of_every_photo_with_a_class(made, settings):
    run, _ = made
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
        assert len(masks) <= settings.instances.most
        ious = [mask_iou(one, other) for place, one in enumerate(masks) for other in masks[:place]]
        assert max(ious, default=0) <= TWINS
    record = read_json(run.instances.record_path)
    assert (record["used"], record["composites"], record["instances"]) == (True, 5, len(content["annotations"]))


def test_what_is_only_needed_meanwhile_is_taken_away(made):
    folder = made[0].instances
    for head in (folder.head(0), folder.head(1)):
        assert head.model_path.is_file()
        assert not head.composites_path.exists()
        assert not head.start_path.exists()
    assert len(read_json(folder.record_path)["scales"]) == 2


@pytest.mark.parametrize("seen", [1, 9, 27, 50])
@pytest.mark.slow
def test_interrupted_stage_ends_with_the_same_files(made, scene, settings, tmp_path, monkeypatch, seen):
    """In the composites, the targets, the training and the photos."""
    monkeypatch.setattr(shards, "PHOTOS_PER_PART", 4)
    path = tmp_path / "run"
    shutil.copytree(made[0].path, path)
    shutil.rmtree(path / "instances")
    for name in ("instances.json", "stages/instances.json"):
        (path / name).unlink()
    interrupt_stage(monkeypatch, "instances", seen)
    with pytest.raises(KeyboardInterrupt):
        run_chain(path, scene[0], settings, wanted=WANTED)
    assert not has_instances(Run(path))
    run_chain(path, scene[0], settings, wanted=WANTED)
    assert_same_artifacts(Run(path), made[0])


@pytest.mark.slow
@pytest.mark.usefixtures("processes_know_the_tiny_transformer")
def test_two_workers_make_the_same_files(made, scene, settings, tmp_path):
    how = Options(num_workers=2, quiet=True)
    run_stages(Run(tmp_path / "run"), str(scene[0]), settings, wanted=WANTED, options=how)
    assert_same_artifacts(Run(tmp_path / "run"), made[0])


def test_no_label_reaches_it(made, scene, settings, tmp_path):
    data = tmp_path / "voc"
    shutil.copytree(scene[0], data)
    shutil.rmtree(data / "SegmentationClass")
    (data / "SegmentationClass").mkdir()
    run_chain(tmp_path / "run", data, settings, wanted=WANTED)
    run = Run(tmp_path / "run")
    assert read_json(run.instances.codes_path)["annotations"] == read_json(made[0].instances.codes_path)["annotations"]
    assert weights_of(run.instances.head(0).model_path) == weights_of(made[0].instances.head(0).model_path)


def test_photos_outside_of_the_train_split_teach_nothing(made, scene, settings, tmp_path):
    data = tmp_path / "voc"
    shutil.copytree(scene[0], data)
    (data / "ImageSets/Segmentation/val.txt").write_text("08\n09")
    run_chain(tmp_path / "run", data, settings, wanted=WANTED)
    names = ("objectness.weight", "basis")
    first, second = (weights_of(run.instances.head(0).model_path)[1] for run in (Run(tmp_path / "run"), made[0]))
    assert [name for name in names if first[name] != second[name]] == []


def test_no_head_judges_a_photo_that_taught_it(copy, scene, settings, monkeypatch):
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
    run_chain(copy.path, scene[0], settings, wanted=WANTED)
    folds = [fold for _, fold in judged.values()]
    assert (folds.count(0), folds.count(1), folds.count(None)) == (NUM_TRAIN / 2, NUM_TRAIN / 2, NUM_VAL)
    for number, (photo, fold) in judged.items():
        for head in (0, 1):
            assert (number in taught[head]) == (fold == 1 - head)
            assert photo not in pasted[head] or fold == 1 - head
    assert set(pasted) == {0, 1}


def test_other_classes_leave_the_head_as_it_is(copy, made, scene, settings):
    changed = settings.with_overrides(["stage1.hidden=24"])
    said = run_chain(copy.path, scene[0], changed, wanted=WANTED)
    assert redone(said) == ["stage1", "instances"]
    for place in (0, 1):
        path, before = (run.instances.head(place).model_path for run in (copy, made[0]))
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

    def test_turning_it_on_makes_the_report_stale(self, finished, scene, settings):
        plan = Plan(finished[0], open_source(str(scene[0])), scene[1].with_overrides(["instances.enabled=on"]))
        assert plan.is_done("predictions")
        assert not plan.is_done("instances")
        assert not plan.is_done("evaluation")

    def test_off_again_takes_the_objects_away(self, copy, scene, settings):
        off = settings.with_overrides(["instances.enabled=off"])
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
def test_what_it_cannot_do_without_is_named(scene, settings, tmp_path, change, reason):
    said = run_chain(tmp_path / "run", scene[0], settings.with_overrides([change]), wanted=WANTED)
    run = Run(tmp_path / "run")
    assert has_instances(run) == (reason is None)
    if reason:
        assert said["instances"].startswith("Left out")
        assert reason in said["instances"]
        assert {item.name: item for item in stage_states(run)}["instances"].state == "done"


def test_auto_leaves_photos_of_one_object_alone(made, scene, settings, copy, monkeypatch):
    auto = settings.with_overrides(["instances.enabled=auto"])
    monkeypatch.setattr(instances, "SEVERAL", 99.0)
    assert run_chain(copy.path, scene[0], auto, wanted=WANTED)["instances"].startswith("Left out")
    monkeypatch.setattr(instances, "SEVERAL", 0.5)
    copy.stage_path("instances").unlink()
    assert "objects in" in run_chain(copy.path, scene[0], auto, wanted=WANTED)["instances"]


@pytest.mark.parametrize("name", ["instances.parquet", "instances/record.json", "instances/head-1/model.safetensors"])
@pytest.mark.parametrize("damage", ["deleted", "cut off"])
def test_damaged_file_is_made_again_the_same(copy, made, scene, settings, name, damage):
    path = copy.path / name
    content = path.read_bytes()
    path.unlink() if damage == "deleted" else path.write_bytes(content[: len(content) // 2])
    if name == "instances.parquet":
        copy.instances.codes_path.unlink()  # whole, it would be read where there is no table
    assert find_damage(copy, "instances") is not None
    assert redone(run_chain(copy.path, scene[0], settings, wanted=WANTED)) == ["instances"]
    found, wanted = contents_of(copy), contents_of(made[0])
    assert [name for name in wanted if found[name] != wanted[name]] == []


def test_table_gives_back_what_the_coco_file_holds(copy):
    whole = json.loads(copy.instances.codes_path.read_text())
    copy.instances.codes_path.unlink()
    found = read_masks(copy.instances.codes_path)
    assert [found[name] for name in ("annotations", "images", "categories")] == [
        whole[name] for name in ("annotations", "images", "categories")
    ]
    assert find_damage(copy, "instances") is None


def test_runs_of_before_have_the_coco_file_alone(copy, made, scene, settings):
    before = read_masks(copy.instances.codes_path)["annotations"]
    copy.instances.masks_path.unlink()
    assert find_damage(copy, "instances") is None
    assert redone(run_chain(copy.path, scene[0], settings, wanted=WANTED)) == []
    assert read_masks(copy.instances.codes_path)["annotations"] == before
    codes = [MaskCodes.of_file(run.instances.codes_path) for run in (copy, made[0])]
    assert [codes[0].code(mask_id) for mask_id in codes[0].ids] == [codes[1].code(mask_id) for mask_id in codes[1].ids]


def test_export_of_instances(made, tmp_path, capsys):
    run, out = made[0], tmp_path / "coco"
    assert main(["export", "--run", str(run.path), "--format", "coco", "--what", "instances", "--out", str(out)]) == 0
    found = json.loads((out / "annotations/instances.json").read_text())
    wanted = read_json(run.instances.codes_path)["annotations"]
    assert [item["mask_id"] for item in found["annotations"]] == [item["id"] for item in wanted]
    assert [item["score"] for item in found["annotations"]] == [item["score"] for item in wanted]
    export_run(run, "yolo", tmp_path / "yolo", what="instances")
    capsys.readouterr()
    for more in (["--format", "voc"], ["--format", "coco", "--kept-only"]):
        arguments = ["export", "--run", str(run.path), "--what", "instances", "--out", str(tmp_path / "no"), *more]
        assert main(arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_export_of_a_run_without_names_the_remedy(finished, tmp_path, capsys):
    arguments = ["export", "--run", str(finished[0].path), "--format", "coco", "--what", "instances"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert "instances.enabled=on" in capsys.readouterr().err


@pytest.fixture(scope="module")
def whole(tmp_path_factory, made, scene, settings):
    """The same run to its end."""
    path = tmp_path_factory.mktemp("whole") / "run"
    shutil.copytree(made[0].path, path)
    run_chain(path, scene[0], settings, wanted=("evaluation",))
    return Run(path)


def test_report_measures_them_by_size(whole):
    metrics = read_json(whole.path / "metrics.json")
    assert metrics["instances"].keys() == metrics["masks"].keys()
    assert {"box_corloc", "mask_ap", "mask_ap50", "mask_ar", "mask_ar_small"} <= metrics["instances"].keys()
    assert metrics["instances"]["num_images"] == NUM_VAL


def test_predict_writes_the_objects_of_a_new_folder(whole, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for number in range(50, 53):
        draw_photo(number)[0].save(photos / f"{number}.png")
    (photos / "broken.png").write_bytes(b"no picture")
    assert main(["predict", "--run", str(whole.path), "--images", str(photos), "--out", str(out), "--quiet"]) == 0
    content = json.loads((out / "instances.json").read_text())
    assert [item["file_name"] for item in content["images"]] == ["50.png", "51.png", "52.png"]
    sizes = {item["id"]: [item["height"], item["width"]] for item in content["images"]}
    assert {item["image_id"] for item in content["annotations"]} == set(sizes)
    assert all(item["segmentation"]["size"] == sizes[item["image_id"]] for item in content["annotations"])
    assert len({item["id"] for item in content["annotations"]}) == len(content["annotations"])
    assert sorted(path.name for path in out.glob("*.png")) == ["50.png", "51.png", "52.png"]


def test_predict_of_a_run_without_writes_label_maps_alone(finished, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    draw_photo(50)[0].save(photos / "50.png")
    assert main(["predict", "--run", str(finished[0].path), "--images", str(photos), "--out", str(out), "--quiet"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["50.png"]


class TestCandidates:
    """The single objects as what the filter judges."""

    AS_CANDIDATES = "candidates.objects=instances"

    @pytest.fixture(scope="class")
    def judged(self, tmp_path_factory, made, scene, settings):
        """The same run up to the label maps, its candidates the single objects; to look at only."""
        path = tmp_path_factory.mktemp("judged") / "run"
        shutil.copytree(made[0].path, path)
        config = settings.with_overrides([self.AS_CANDIDATES])
        said = run_chain(path, scene[0], config, wanted=("pseudo_labels",))
        return Run(path), said, config

    def test_are_made_of_them_and_nothing_before_is_made_again(self, judged):
        run, said, _ = judged
        assert redone(said) == ["candidates", "filter", "pseudo_labels"]
        assert "single objects as candidates" in said["candidates"]
        table, codes = run.candidates(), MaskCodes.open(run, "candidates")
        objects = {}
        for item in read_json(run.instances.codes_path)["annotations"]:
            objects.setdefault(item["image_id"], []).append(item["segmentation"])
        proposals = {item["id"]: item["segmentation"] for item in read_json(run.codes_path)["annotations"]}
        as_found = [codes.code(row.mask_id) in objects[row.image] for row in table.itertuples()]
        as_proposed = [proposals.get(row.mask_id) == codes.code(row.mask_id) for row in table.itertuples()]
        assert all(one or other for one, other in zip(as_found, as_proposed, strict=True))
        assert sum(as_found) > NUM_TRAIN / 2
        assert set(run.classes()["mask_id"]) >= set(table.loc[table["origin"] == "proposal", "mask_id"])
        assert set(table["image"]) == set(range(NUM_TRAIN))
        np.testing.assert_array_less(table["score"], np.sqrt(table["object_score"]) + 1e-6)

    def test_pages_read_them_as_any_others(self, judged):
        run = judged[0]
        frame = read_mask_table(run).frame
        table = run.candidates()
        assert frame.loc[frame["candidate"], "mask_id"].tolist() == sorted(table["mask_id"])
        assert set(frame["origin"]) <= {"proposal", "instances"}
        assert (frame.loc[frame["candidate"], "kept"].to_numpy() == run.kept().sort_values("mask_id")["kept"]).all()

    def test_exports_hold_their_scores(self, judged, tmp_path):
        export_run(judged[0], "coco", tmp_path / "coco")
        found = json.loads((tmp_path / "coco/annotations/instances.json").read_text())["annotations"]
        known = {item["mask_id"]: item["attributes"] for item in found}
        for mask_id, score in judged[0].candidates().set_index("mask_id")["object_score"].items():
            assert known[mask_id]["object_score"] == pytest.approx(score)

    def test_status_says_what_is_stale_once_the_objects_are_others(self, judged, scene, settings, tmp_path):
        path = tmp_path / "run"
        shutil.copytree(judged[0].path, path)
        run = Run(path)
        assert [item.state for item in stage_states(run, until="pseudo_labels")] == ["done"] * 10
        info = run.info()
        run.write_info(info | {"config": judged[2].with_overrides(["instances.most=2"]).to_dict()})
        stale = {item.name: item.why for item in stage_states(run, until="pseudo_labels") if item.state == "stale"}
        assert list(stale) == ["instances", "candidates", "filter", "pseudo_labels"]
        assert stale["instances"] == "instances.most was changed"
        run.write_info(info | {"config": settings.to_dict()})
        states = {item.name: item for item in stage_states(run, until="pseudo_labels")}
        assert states["instances"].state == "done"
        assert states["candidates"].why == "candidates.objects was changed"

    def test_what_people_decided_about_proposals_holds(self, judged, scene, tmp_path):
        path = tmp_path / "run"
        shutil.copytree(judged[0].path, path)
        run, config = Run(path), judged[2].with_overrides(["filter.min_score=0.99"])
        masks = run.masks().set_index("mask_id")
        accepted, rejected = masks.index[0], masks.index[masks.index >= 10][0]
        for mask_id, action, scope in ((accepted, "accept", Scope.LABELS), (rejected, "reject", Scope.CLUSTERS)):
            box = tuple(int(masks.at[mask_id, f"bbox_{name}"]) for name in "xywh")
            decide(run, "ann", [Mark(int(mask_id), masks.at[mask_id, "image_id"], box, Action(action))], scope=scope)
        run_chain(path, scene[0], config, wanted=("filter",))
        assert run.kept().set_index("mask_id").at[accepted, "rule"] == ACCEPTED
        lost, codes = MaskCodes.open(run).decode(int(rejected)), MaskCodes.open(run, "candidates")
        there = run.candidates().query("image == 1")["mask_id"].tolist()
        assert rejected not in there
        assert max((mask_iou(lost, codes.decode(mask_id)) for mask_id in there), default=0) < SAME_OBJECT

    def test_photo_without_objects_keeps_what_the_model_draws_of_its_proposals(self, judged, scene, tmp_path):
        path = tmp_path / "run"
        shutil.copytree(judged[0].path, path)
        run = Run(path)
        found = pd.read_parquet(run.instances.masks_path)
        write_table(run.instances.masks_path, found[found["image"] != 1])
        (path / "stages" / "candidates.json").unlink()
        run_chain(path, scene[0], judged[2], wanted=("candidates",))
        table = run.candidates()
        of_photo = table[(table["image"] == 1) & (table["origin"] == "proposal")]
        assert len(of_photo)
        assert of_photo["object_score"].isna().all()
        assert (of_photo["score"] > 0).any()

    def test_runs_made_before_are_not_stale(self, finished, scene):
        plan = Plan(finished[0], open_source(str(scene[0])), scene[1].with_overrides(["candidates.objects=auto"]))
        assert plan.is_done("candidates")
        assert "objects" not in plan.made_from("candidates")["settings"]["candidates"]

    def test_candidates_alone_do_without_the_stage(self, scene, settings):
        on = settings.with_overrides([self.AS_CANDIDATES])
        assert "instances" not in with_needs(["filter"], settings)
        assert "instances" in with_needs(["filter"], on)
        assert "instances" not in with_needs(["filter"], scene[1].with_overrides(["candidates.objects=auto"]))

    def test_without_the_stage_they_are_refused(self, settings):
        with pytest.raises(ConfigError, match=r"instances\.enabled"):
            settings.with_overrides([self.AS_CANDIDATES, "instances.enabled=off"])

    def test_where_it_made_none_the_proposals_are_judged(self, scene, settings, tmp_path):
        config = settings.with_overrides([self.AS_CANDIDATES, "proposals.pool=off"])
        said = run_chain(tmp_path / "run", scene[0], config, wanted=("filter",))
        assert "No single objects: Left out" in said["candidates"]
        assert "object_score" not in Run(tmp_path / "run").candidates()
