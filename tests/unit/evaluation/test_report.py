import json
import shutil

import numpy as np
import pytest
from PIL import Image
from tiny_run import CLASSES, NUM_TRAIN, NUM_VAL, draw_photo

from maskdistill.errors import ConfigError, DatasetError, RunError
from maskdistill.evaluation import report
from maskdistill.evaluation.report import describe_report, evaluate, predict_folder
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run

VAL = range(NUM_TRAIN, NUM_TRAIN + NUM_VAL)


@pytest.fixture
def run(finished):
    """A whole run, to ask only."""
    return finished[0]


@pytest.fixture
def val_photos(scene, tmp_path):
    """A plain folder of the val photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in VAL:
        shutil.copy(scene[0] / "JPEGImages" / f"{number:02d}.png", folder)
    return folder


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


def test_crf_without_its_package_is_told(run, val_photos, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "crf_available", lambda: False)
    with pytest.raises(ConfigError, match="pip install pydensecrf2"):
        evaluate(run, crf=True)
    with pytest.raises(ConfigError, match="pip install pydensecrf2"):
        predict_folder(run, str(val_photos), tmp_path / "out", crf=True, quiet=True)
    assert not (tmp_path / "out").exists()


def slow_miou(pairs, matching):
    """Mean IoU of background and the classes, by comparing whole pictures."""
    truth, found = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    ious = []
    for name in ("background", *CLASSES):
        clusters = [int(cluster) for cluster, label in matching.items() if label == name]
        here = truth == ("background", *CLASSES).index(name)
        there = np.isin(found, clusters)
        if (here | there).any():
            ious.append((here & there).sum() / (here | there).sum())
    return np.mean(ious)


@pytest.mark.parametrize("crf", [False, True])
def test_predicted_pictures_measure_as_the_evaluation_says(run, val_photos, tmp_path, crf):
    if crf:
        pytest.importorskip("pydensecrf")
    sentence = predict_folder(run, str(val_photos), tmp_path / "out", crf=crf, quiet=True)
    assert sentence == f"4 label maps in {tmp_path / 'out'}."
    pairs = []
    for number in VAL:
        with Image.open(tmp_path / "out" / f"{number:02d}.png") as image:
            assert image.mode == "P"
            pairs.append((draw_photo(number)[1], np.array(image)))
        assert pairs[-1][0].shape == pairs[-1][1].shape
    found = evaluate(run, crf=crf)
    assert slow_miou(pairs, found["matching"]) == pytest.approx(found["miou"], abs=1e-6)


def test_predicted_pictures_are_those_of_the_run(run, val_photos, tmp_path):
    predict_folder(run, str(val_photos), tmp_path / "out", quiet=True)
    for number in VAL:
        with Image.open(tmp_path / "out" / f"{number:02d}.png") as image:
            stored = np.asarray(Image.open(run.prediction("stage2", number)))
            np.testing.assert_array_equal(np.asarray(image), stored)


def test_nothing_else_is_left_in_the_folder_and_subfolders_are_kept(run, val_photos, tmp_path):
    (val_photos / "more").mkdir()
    (val_photos / "09.png").rename(val_photos / "more" / "09.png")
    predict_folder(run, str(val_photos), tmp_path / "out", quiet=True)
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert written == ["08.png", "10.png", "11.png", "more/09.png"]


def test_one_photo(run, val_photos, tmp_path):
    predict_folder(run, str(val_photos / "08.png"), tmp_path / "out", quiet=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["08.png"]


def test_photos_of_one_name_do_not_overwrite_each_other(run, val_photos, tmp_path):
    """A jpg and a png of one stem: both would be 08.png."""
    draw_photo(3)[0].save(val_photos / "08.jpg")
    predict_folder(run, str(val_photos), tmp_path / "out", quiet=True)
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["08.jpg.png", "08.png.png", "09.png", "10.png", "11.png"]


def test_photo_that_cannot_be_read_is_named_and_the_others_are_labelled(run, val_photos, tmp_path):
    path = val_photos / "09.png"
    path.write_bytes(path.read_bytes()[:300])
    sentence = predict_folder(run, str(val_photos), tmp_path / "out", quiet=True)
    assert sentence.startswith(f"3 label maps in {tmp_path / 'out'}. 1 left out, the first: {path}")
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == ["08.png", "10.png", "11.png"]


def test_photo_that_goes_away_is_named(run, val_photos, tmp_path, monkeypatch):
    opened = report.open_source

    def open_and_lose(spec):
        source = opened(spec)
        (val_photos / "10.png").unlink()
        return source

    monkeypatch.setattr(report, "open_source", open_and_lose)
    sentence = predict_folder(run, str(val_photos), tmp_path / "out", quiet=True)
    assert sentence.startswith(f"3 label maps in {tmp_path / 'out'}. 1 left out, the first: {val_photos / '10.png'} (")


def test_folder_without_photos_is_told(run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="empty"):
        predict_folder(run, str(tmp_path / "empty"), tmp_path / "out", quiet=True)


def test_a_few_lines_for_people(run):
    found = evaluate(run)
    lines = describe_report(found).splitlines()
    assert lines[0] == f"mIoU {found['miou']:.3f}, pixel accuracy {found['pixel_accuracy']:.3f}, 4 photos"
    assert [line.split()[0] for line in lines[1:5]] == ["background", *CLASSES]
    assert lines[5] == f"mask_ap50 of the proposals {found['mask_ap50']:.3f}"


def test_class_that_is_nowhere_has_a_dash():
    report = {"miou": 0.5, "pixel_accuracy": 0.25, "num_images": 1, "iou": {"background": 0.5, "cow": None}}
    assert describe_report(report).splitlines()[2].split() == ["cow", "-"]
