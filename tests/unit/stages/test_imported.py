"""A run whose masks were made elsewhere: the whole chain on them, a second import, and what becomes of decisions."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from tiny_run import CLASSES, NUM_PHOTOS, draw_photo, draw_voc, interrupt_stage, redone, run_chain, tiny_config

from maskdistill.cli.main import main
from maskdistill.datasets import open_source
from maskdistill.errors import ConfigError, DatasetError
from maskdistill.exports.run import export_run
from maskdistill.imports.given_masks import read_given_masks
from maskdistill.masks import encode_mask
from maskdistill.review.decisions import Action, Mark, Scope, class_names, decide, effective, read_marks
from maskdistill.review.mask_table import read_mask_table
from maskdistill.stages.imported import STAY
from maskdistill.stages.status import stage_states
from maskdistill.storage.imported_masks import MASKS_PER_PHOTO
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.read_files import DamagedFileError, read_json
from maskdistill.storage.run_folder import Run

MANY = 12  # masks of the first photo: more than a run of its own gives one


def given(extra=()):
    """COCO with the true object of each photo but the last, which has none, and many masks of the first."""
    images, annotations = [], []
    for number in range(NUM_PHOTOS):
        labels = draw_photo(number)[1]
        height, width = labels.shape
        images.append({"id": number, "file_name": f"{number:02d}.png", "height": height, "width": width})
        masks = [labels > 0] if number < NUM_PHOTOS - 1 else []
        if number == 0:
            for place in range(MANY - 1):
                part = np.zeros(labels.shape, bool)
                part[4 * place : 4 * place + 5, 2 : 20 + place] = True
                masks.append(part)
        for mask in [*masks, *extra] if number == 0 else masks:
            item = {"image_id": number, "category_id": int(labels.max()), "segmentation": encode_mask(mask)}
            annotations.append({"id": len(annotations) + 1, **item})
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder, photos and settings of a finished run on masks that were brought."""
    folder = tmp_path_factory.mktemp("imported")
    data = draw_voc(folder / "data")
    (folder / "masks.json").write_text(json.dumps(given()))
    config = tiny_config(folder).with_overrides(["foreground.enabled=true", "clusters.fit_to=all"])
    brought = read_given_masks(folder / "masks.json", open_source(data))
    said = run_chain(folder / "run", data, config, brought=brought)
    return folder, data, config, said


@pytest.fixture
def copy(made, tmp_path):
    """The same run, to be changed."""
    shutil.copytree(made[0] / "run", tmp_path / "run")
    return Run(tmp_path / "run")


def masks_of(run):
    codes = MaskCodes.open(run)
    return {int(id): codes.decode(int(id)) for id in codes.ids}


def bring(run, made, content, tmp_path, **how):
    path = tmp_path / "again.json"
    path.write_text(json.dumps(content))
    from maskdistill.cli.import_masks import _before

    brought = read_given_masks(path, open_source(made[1]), before=_before(run))
    return run_chain(run.path, made[1], run.config(), brought=brought, **how)


def test_the_masks_go_through_the_whole_chain_as_they_are(made):
    folder, _, _, said = made
    run = Run(folder / "run")
    wanted = {}
    for item in given()["annotations"]:
        wanted.setdefault(item["image_id"], []).append(item["segmentation"]["counts"])
    found = {}
    for item in read_json(run.codes_path)["annotations"]:
        found.setdefault(item["image_id"], []).append(item["segmentation"]["counts"])
        assert item["id"] // MASKS_PER_PHOTO == item["image_id"]
    assert {number: sorted(codes) for number, codes in found.items()} == {
        number: sorted(codes) for number, codes in wanted.items()
    }
    assert said["foreground"].startswith(STAY)
    assert run.mask_stage == "proposals"
    assert read_json(run.path / "metrics.json")["masks"]["corloc"] == 0.75  # of four, one has no mask
    candidates = run.candidates()
    assert (candidates["mask_id"] // MASKS_PER_PHOTO == candidates["image"]).all()
    assert len(run.kept()) == len(candidates)
    assert all(run.thumbnail(mask_id).is_file() for mask_id in run.masks()["mask_id"])


def test_nothing_is_left_to_do_and_no_mask_of_its_own_is_ever_made(made, copy):
    _, data, config, _ = made
    assert redone(run_chain(copy.path, data, copy.config())) == []
    said = run_chain(copy.path, data, config.with_overrides(["proposals.tau=0.5", "foreground.enabled=true"]))
    assert redone(said) == []
    assert read_json(copy.stage_path("proposals"))["made_from"]["proposals"] == {"imported": copy.imported["digest"]}


def test_status_names_where_they_are_from_and_what_was_left_out(made, copy, tmp_path):
    content = given()
    content["annotations"] += [{"id": 900, "image_id": 0, "bbox": [1, 2, 3, 4]}]
    bring(copy, made, content, tmp_path, wanted=("proposals",))
    text = stage_states(copy)[0].text
    assert str(tmp_path / "again.json") in text
    assert f"{len(given()['annotations'])} masks of {NUM_PHOTOS - 1} photos" in text
    assert "1 left out" in text


def test_masks_that_are_gone_or_foreign_name_the_command_that_brings_them_again(made, copy):
    _, data, config, _ = made
    (copy.path / "imported/masks.parquet").unlink()
    copy.stage_path("proposals").unlink()
    with pytest.raises(Exception, match=f"maskdistill import --run {copy.path}"):
        run_chain(copy.path, data, config, wanted=("proposals",))
    shutil.copy(copy.cut_masks_path, copy.path / "imported/masks.parquet")
    with pytest.raises(DamagedFileError, match="maskdistill import"):
        run_chain(copy.path, data, config, wanted=("proposals",))


def test_decisions_survive_a_second_import(made, copy, tmp_path):
    table = copy.masks().set_index("mask_id")
    ids = [0, 3, 5000]

    def box(mask_id):
        return tuple(int(table.loc[mask_id, f"bbox_{side}"]) for side in "xywh")

    marks = [Mark(mask_id, table.loc[mask_id, "image_id"], box(mask_id), Action.REJECT) for mask_id in ids]
    decide(copy, "ann", marks, scope=Scope.LABELS)
    rejected = [masks_of(copy)[mask_id] for mask_id in ids]
    labels = draw_photo(0)[1]
    content = given(extra=[np.ones(labels.shape, bool)])
    content["annotations"].reverse()  # in another order, with one more
    del content["annotations"][[item["image_id"] for item in content["annotations"]].index(7)]
    bring(copy, made, content, tmp_path, wanted=("proposals",))
    frame = read_mask_table(copy).frame
    found = effective(read_marks(copy), frame)
    assert found.orphaned == 0
    now = masks_of(copy)
    after = [now[mask_id] for mask_id in frame["mask_id"][found.decision < 0]]
    assert len(after) == 3
    assert all(any(np.array_equal(one, other) for other in after) for one in rejected)


def test_an_import_that_was_stopped_goes_on(made, tmp_path, monkeypatch):
    folder, data, config, _ = made
    brought = read_given_masks(folder / "masks.json", open_source(data))
    interrupt_stage(monkeypatch, "proposals", 3)
    with pytest.raises(KeyboardInterrupt):
        run_chain(tmp_path / "run", data, config, wanted=("proposals",), brought=brought)
    run = Run(tmp_path / "run")
    assert run.imported["digest"] == brought.record["digest"]
    run_chain(run.path, data, config, wanted=("proposals",))  # as ``maskdistill run`` goes on
    assert len(run.masks()) == brought.record["masks"]


def test_categories_may_be_the_classes(made, copy):
    _, data, _, _ = made
    config = copy.config().with_overrides(["clusters.by=categories"])
    said = run_chain(copy.path, data, config, wanted=("clusters", "classes"))
    assert "3 categories" in said["clusters"]
    frame = read_mask_table(copy).frame
    names = class_names(copy)
    assert set(names.values()) == set(CLASSES)
    assert [names[number] for number in frame["cluster"]] == frame["category"].tolist()


def test_categories_are_refused_where_there_are_none(made, copy, tmp_path):
    content = given()
    content["categories"] = []
    for item in content["annotations"]:
        del item["category_id"]
    bring(copy, made, content, tmp_path, wanted=("proposals",))
    config = copy.config().with_overrides(["clusters.by=categories"])
    with pytest.raises(ConfigError, match=r"clusters\.by=vectors"):
        run_chain(copy.path, made[1], config, wanted=("clusters",))


@pytest.mark.parametrize("format", ["coco", "yolo"])
@pytest.mark.parametrize("stages", [("proposals",), None])
def test_what_export_writes_gives_the_same_masks(made, tmp_path, format, stages):
    folder, data, config, _ = made
    run = Run(folder / "run")
    if stages:
        run = Run(tmp_path / "run")
        brought = read_given_masks(folder / "masks.json", open_source(data))
        run_chain(run.path, data, config, wanted=stages, brought=brought)
    export_run(run, format, tmp_path / "out")
    export_run(run, "coco", tmp_path / "coco")
    exported = json.loads((tmp_path / "coco/annotations/instances.json").read_text())["annotations"]
    if stages:
        assert len(exported) == len(run.masks())
    found = read_given_masks(tmp_path / "out", open_source(data))
    assert set(found.table["counts"]) == {item["segmentation"]["counts"] for item in exported}
    if stages:
        assert set(found.record["categories"]) == set(CLASSES)


def test_label_maps_of_an_export_to_voc_come_back_class_by_class(made, tmp_path):
    folder, data, _, _ = made
    export_run(Run(folder / "run"), "voc", tmp_path / "out")
    found = read_given_masks(tmp_path / "out", open_source(data))
    assert found.record["format"] == "voc"
    names = (tmp_path / "out/classes.txt").read_text().split("\n")[1:]
    for path in sorted((tmp_path / "out/SegmentationClass").iterdir()):
        labels = np.asarray(Image.open(path))
        rows = found.table[found.table["photo"] == path.stem]
        assert len(rows) == len(set(np.unique(labels)) - {0, 255})
        for row in rows.itertuples():
            assert row.counts == encode_mask(labels == names.index(row.category) + 1)["counts"]


class TestCommand:
    def arguments(self, made, run):
        settings = made[2]
        told = [
            "--backbone",
            settings.features.backbone,
            "--set",
            f"features.architecture={settings.features.architecture}",
        ]
        told += ["--set", "features.shorter_side=32", "--set", "features.device=cpu", "--workers", "1", "--quiet"]
        told += ["--set", "features.precision=float32"]  # "auto" asks a process that has to load torch for it
        return ["import", "--run", str(run), *told]

    def test_brings_masks_and_brings_them_again_without_naming_them(self, made, tmp_path, capsys):
        arguments = self.arguments(made, tmp_path / "run")
        assert main([*arguments, "--data", str(made[1]), "--masks", str(made[0] / "masks.json")]) == 0
        assert "masks of 11 photos" in capsys.readouterr().out
        assert Run(tmp_path / "run").config().clusters.fit_to == "all"
        assert main(arguments) == 0
        assert len(Run(tmp_path / "run").masks()) == len(given()["annotations"])

    def test_refuses_a_run_that_has_masks_of_its_own(self, made, tmp_path, capsys):
        run_chain(tmp_path / "run", made[1], made[2], wanted=("proposals",))
        arguments = self.arguments(made, tmp_path / "run")
        assert main([*arguments, "--data", str(made[1]), "--masks", str(made[0] / "masks.json")]) == 2
        assert "--run" in capsys.readouterr().err
        assert Run(tmp_path / "run").imported is None

    def test_says_what_is_missing_before_it_makes_anything(self, made, tmp_path, capsys):
        arguments = self.arguments(made, tmp_path / "run")
        assert main([*arguments, "--data", str(made[1])]) == 2
        assert "--masks" in capsys.readouterr().err
        assert main([*arguments, "--data", str(made[1]), "--masks", str(tmp_path / "gone.json")]) == 2
        assert not (tmp_path / "run/run.json").exists()


def test_a_photo_that_was_replaced_by_one_of_another_size_has_no_mask_and_says_why(made, tmp_path):
    folder, _, config, _ = made
    data = draw_voc(tmp_path / "data")
    brought = read_given_masks(folder / "masks.json", open_source(data))
    Image.new("RGB", (20, 20)).save(data / "JPEGImages/01.png")
    run_chain(tmp_path / "run", data, config, wanted=("proposals",), brought=brought)
    run = Run(tmp_path / "run")
    assert "01" not in set(run.masks()["image_id"])
    assert run.images().set_index("id").loc["01", "problem"]


def test_nothing_for_these_photos_is_an_error_before_anything_is_written(made, tmp_path):
    (tmp_path / "m.json").write_text(json.dumps({"images": [], "annotations": []}))
    with pytest.raises(DatasetError):
        read_given_masks(tmp_path / "m.json", open_source(made[1]))
