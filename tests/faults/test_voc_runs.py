"""Ground truth that breaks at any point of a run stops neither masks, training nor the rest of the report."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from tiny_run import NUM_PHOTOS, NUM_VAL, draw_voc, redone, run_chain, tiny_config

from maskdistill.cli.main import main
from maskdistill.evaluation.photo_metrics import read_photo_results
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run

BROKEN = "09"  # of val


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A whole run on drawn photos, and its settings; to copy."""
    folder = tmp_path_factory.mktemp("made")
    data, config = draw_voc(folder / "voc"), tiny_config(folder)
    run_chain(folder / "run", data, config)
    return folder, config


@pytest.fixture
def copy(made, tmp_path):
    """The same where it can be broken."""
    shutil.copytree(made[0] / "voc", tmp_path / "voc")
    shutil.copytree(made[0] / "run", tmp_path / "run")
    return tmp_path, made[1]


def labels_in(folder):
    return sorted((folder / "SegmentationClass").iterdir())


def replace_all(write):
    def work(folder):
        for path in labels_in(folder):
            write(path)

    return work


def as_folder(path):
    path.unlink()
    path.mkdir()


def linked_nowhere(folder):
    shutil.rmtree(folder / "SegmentationClass")
    (folder / "SegmentationClass").symlink_to("nowhere")


def as_file(folder):
    shutil.rmtree(folder / "SegmentationClass")
    (folder / "SegmentationClass").write_text("")


BREAKS = {
    "folder deleted": lambda folder: shutil.rmtree(folder / "SegmentationClass"),
    "folder empty": replace_all(Path.unlink),
    "folder leads nowhere": linked_nowhere,
    "folder is a file": as_file,
    "all broken": replace_all(lambda path: path.write_bytes(b"")),
    "all folders": replace_all(as_folder),
    "all of another size": replace_all(lambda path: Image.new("L", (3, 3)).save(path)),
    "all ignored": replace_all(lambda path: Image.fromarray(np.asarray(Image.open(path)) * 0 + 255).save(path)),
    "all background": replace_all(lambda path: Image.fromarray(np.asarray(Image.open(path)) * 0).save(path)),
    "all beyond the classes": replace_all(lambda path: Image.fromarray(np.asarray(Image.open(path)) + 9).save(path)),
    "classes too many": lambda folder: (folder / "classes.txt").write_text("\n".join(map(str, range(300)))),
    "classes are no text": lambda folder: (folder / "classes.txt").write_bytes(b"\0\1"),
    "classes are one": lambda folder: (folder / "classes.txt").write_text("disc"),
    "classes gone": lambda folder: (folder / "classes.txt").unlink(),
    "one broken": lambda folder: (folder / "SegmentationClass" / f"{BROKEN}.png").write_bytes(b"\x89PNG"),
    "one is a folder": lambda folder: as_folder(folder / "SegmentationClass" / f"{BROKEN}.png"),
}


@pytest.mark.parametrize("kind", BREAKS)
def test_broken_before_the_report(copy, kind):
    """Everything before is kept, the report says what it is of."""
    folder, config = copy
    BREAKS[kind](folder / "voc")
    said = run_chain(folder / "run", folder / "voc", config)
    assert set(redone(said)) <= {"evaluation"}
    run = Run(folder / "run")
    metrics = read_json(run.path / "metrics.json")
    assert metrics["counts"]["photos"] == NUM_PHOTOS
    assert read_photo_results(run).num_photos == NUM_PHOTOS
    left_out = metrics["ground_truth_left_out"]
    if kind.startswith("one"):
        assert (left_out["count"], left_out["first"][0]["photo"]) == (1, BROKEN)
        assert metrics["reported"]["stage2"]["num_images"] == NUM_VAL - 1
        assert BROKEN in said["evaluation"]
    elif metrics["ground_truth"]:
        assert kind in ("classes are one", "classes gone", "all ignored", "all background")
    else:
        assert left_out["notes"] or kind in ("folder deleted", "folder empty")


@pytest.mark.parametrize("kind", ["all broken", "one broken", "classes are no text", "folder leads nowhere"])
def test_broken_before_the_first_stage(made, tmp_path, kind, caplog):
    """It is said before the work begins, which then goes all the way."""
    shutil.copytree(made[0] / "voc", tmp_path / "voc")
    BREAKS[kind](tmp_path / "voc")
    said = run_chain(tmp_path / "run", tmp_path / "voc", made[1])
    assert "Ground truth" in caplog.messages[0]
    assert "stage2" in redone(said)
    assert (tmp_path / "run" / "metrics.json").is_file()


def test_mended_labels_are_measured_again(copy):
    folder, config = copy
    first = read_json(folder / "run" / "metrics.json")
    label = folder / "voc" / "SegmentationClass" / f"{BROKEN}.png"
    content = label.read_bytes()
    label.write_bytes(b"")
    run_chain(folder / "run", folder / "voc", config)
    label.write_bytes(content)
    assert redone(run_chain(folder / "run", folder / "voc", config)) == ["evaluation"]
    assert read_json(folder / "run" / "metrics.json")["reported"] == first["reported"]


def test_changed_names_of_classes_are_in_the_next_report(copy):
    folder, config = copy
    (folder / "voc" / "classes.txt").write_text("round\nsquare\nstriped\n")
    assert redone(run_chain(folder / "run", folder / "voc", config)) == ["evaluation"]
    assert read_json(folder / "run" / "metrics.json")["classes"] == ["round", "square", "striped"]


def test_label_made_on_the_stored_pixels_of_a_turned_photo(made, tmp_path):
    """A camera held upright: the photo is turned by EXIF, the label was drawn by a tool that does not know it."""
    data = shutil.copytree(made[0] / "voc", tmp_path / "voc")
    path = data / "JPEGImages" / "08.png"
    image = Image.open(path)
    assert image.width != image.height
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image.save(path, exif=exif)
    said = run_chain(tmp_path / "run", data, made[1])
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert metrics["ground_truth_left_out"] == {"count": 0, "first": [], "notes": []}
    assert metrics["reported"]["stage2"]["num_images"] == NUM_VAL
    assert "evaluation" in redone(said)


class TestCommand:
    """``maskdistill evaluate`` on data that is broken."""

    def test_one_broken_label_is_left_out_and_named(self, copy, capsys):
        folder, _ = copy
        BREAKS["one broken"](folder / "voc")
        command = ["evaluate", "--run", str(folder / "run"), "--data", str(folder / "voc")]
        assert main(command) == 0
        assert BROKEN in capsys.readouterr().out
        assert main([*command, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["num_images"], found["ground_truth_left_out"]["count"]) == (NUM_VAL - 1, 1)

    @pytest.mark.parametrize("kind", ["all broken", "all of another size", "classes are no text", "folder deleted"])
    def test_without_a_label_to_use_it_says_why(self, copy, capsys, kind):
        folder, _ = copy
        BREAKS[kind](folder / "voc")
        assert main(["evaluate", "--run", str(folder / "run"), "--data", str(folder / "voc")]) == 2
        error = capsys.readouterr().err
        assert "Traceback" not in error
        assert kind == "folder deleted" or "SegmentationClass" in error or "classes.txt" in error

    def test_label_maps_of_predict_are_ground_truth_too(self, copy, capsys):
        folder, _ = copy
        labels = folder / "voc" / "SegmentationClass"
        shutil.rmtree(labels)
        photos = str(folder / "voc" / "JPEGImages")
        assert main(["predict", "--run", str(folder / "run"), "--images", photos, "--out", str(labels)]) == 0
        (folder / "voc" / "classes.txt").unlink()
        capsys.readouterr()
        assert main(["evaluate", "--run", str(folder / "run"), "--data", str(folder / "voc"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["miou"] == 1.0
