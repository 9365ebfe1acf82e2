"""What a run with single objects gives: exports, the report, and objects of new photos."""

import json
import shutil

import pytest
from tiny_run import NUM_VAL, draw_photo, run_chain

from maskdistill.cli.main import main
from maskdistill.exports.run import export_run
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run


def test_export_of_instances(with_instances, tmp_path, capsys):
    run, out = with_instances, tmp_path / "coco"
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
def whole(tmp_path_factory, with_instances, scene, instance_settings):
    """The same run to its end."""
    path = tmp_path_factory.mktemp("whole") / "run"
    shutil.copytree(with_instances.path, path)
    run_chain(path, scene[0], instance_settings, wanted=("evaluation",))
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
