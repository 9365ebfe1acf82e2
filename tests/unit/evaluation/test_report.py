import json
import shutil

import pytest
from tiny_run import CLASSES, NUM_TRAIN, NUM_VAL, draw_photo

from maskdistill.errors import ConfigError, DatasetError, RunError
from maskdistill.evaluation import report
from maskdistill.evaluation.report import describe_report, evaluate
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run

VAL = range(NUM_TRAIN, NUM_TRAIN + NUM_VAL)


@pytest.fixture
def run(finished):
    """A whole run, to ask only."""
    return finished[0]


def same_measures(one, other):
    assert one["matching"] == other["matching"]
    assert one["confusion"] == other["confusion"]
    for name in ("miou", "pixel_accuracy"):
        assert one[name] == pytest.approx(other[name], abs=1e-9)


@pytest.mark.parametrize(("stage", "crf"), [("stage1", False), ("stage2", False), ("stage2", True)])
def test_fresh_labels_measure_as_the_report_says(run, stage, crf):
    """By a new pass of the transformer over the photos, not by the stored tokens."""
    if crf:
        pytest.importorskip("pydensecrf")
    kind = f"{stage}_crf" if crf else stage
    same_measures(evaluate(run, stage=stage, crf=crf), read_json(run.path / "metrics.json")["reported"][kind])


def test_measures_of_the_masks_stand_beside_those_of_the_runs_own_photos(run, scene, tmp_path):
    masks = read_json(run.path / "metrics.json")["masks"]
    found = evaluate(run)
    assert (found["mask_ap50"], found["corloc"]) == (masks["mask_ap50"], masks["corloc"])
    assert "mask_ap50" not in evaluate(run, split="train")
    other = tmp_path / "other"
    shutil.copytree(scene[0], other)
    draw_photo(30)[0].resize((64, 56)).save(other / "JPEGImages" / "08.png")
    assert "mask_ap50" not in evaluate(run, str(other))


def test_same_photos_elsewhere_are_the_runs_own(run, scene, tmp_path):
    shutil.copytree(scene[0], tmp_path / "moved")
    assert evaluate(run, str(tmp_path / "moved")) == evaluate(run)


@pytest.mark.parametrize(("split", "count"), [("auto", 4), ("val", 4), ("train", 8), ("all", 12)])
def test_split(run, split, count):
    assert evaluate(run, split=split)["num_images"] == count


def test_report_is_plain_json(run):
    found = evaluate(run)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_source_without_ground_truth_is_told(run, val_photos):
    with pytest.raises(DatasetError, match=r"photos has no ground truth: a VOC folder"):
        evaluate(run, str(val_photos))


def test_split_without_ground_truth_is_told(run, scene, tmp_path):
    data = tmp_path / "voc"
    shutil.copytree(scene[0], data)
    for number in VAL:
        (data / "SegmentationClass" / f"{number:02d}.png").unlink()
    with pytest.raises(DatasetError, match=r"No photo of split 'val' in .* has ground truth. Choose another --split"):
        evaluate(run, str(data), split="val")


def test_run_that_is_not_trained_is_told(run, scene, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "stage2")
    with pytest.raises(RunError, match=r"model\.safetensors in .*Make it with: maskdistill train-stage2"):
        evaluate(Run(tmp_path / "copy"))


def test_crf_without_its_package_is_told(run, monkeypatch):
    monkeypatch.setattr(report, "crf_available", lambda: False)
    with pytest.raises(ConfigError, match="pip install pydensecrf2"):
        evaluate(run, crf=True)


def test_a_few_lines_for_people(run):
    found = evaluate(run)
    lines = describe_report(found).splitlines()
    assert lines[0] == f"mIoU {found['miou']:.3f}, pixel accuracy {found['pixel_accuracy']:.3f}, 4 photos"
    assert [line.split()[0] for line in lines[1:5]] == ["background", *CLASSES]
    assert lines[5] == f"mask_ap50 of the proposals {found['mask_ap50']:.3f}"


def test_class_that_is_nowhere_has_a_dash():
    report = {"miou": 0.5, "pixel_accuracy": 0.25, "num_images": 1, "iou": {"background": 0.5, "cow": None}}
    assert describe_report(report).splitlines()[2].split() == ["cow", "-"]
