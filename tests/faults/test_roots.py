"""A shared server: no path that is typed, linked or written into a file leads out of MASKDISTILL_ROOTS."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskdistill import roots
from maskdistill.cli.job_command import read_command
from maskdistill.cli.main import main
from maskdistill.datasets import open_source, read_label, read_photo
from maskdistill.errors import CheckpointError, ConfigError, DatasetError, JobError
from maskdistill.features.registry import choose_backbone
from maskdistill.features.weight_files import read_state_dict
from maskdistill.storage.run_folder import list_runs


def draw(path: Path, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 3 if mode == "L" else 255, (24, 32, 3)[: 2 if mode == "L" else 3])
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


@pytest.fixture
def open_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The folder that the server may use, with one photo, and one that it may not, with a secret one."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    draw(inside / "photos" / "ant.png")
    draw(outside / "photos" / "secret.png")
    monkeypatch.setenv("MASKDISTILL_ROOTS", str(inside))
    monkeypatch.setenv("MASKDISTILL_RUNS", str(inside / "runs"))
    return inside, outside


def names(folder: Path) -> set[str]:
    return {photo.id for photo in open_source(str(folder)).photos}


def test_everything_is_open_without_the_variable(open_to, monkeypatch):
    monkeypatch.delenv("MASKDISTILL_ROOTS")
    assert names(open_to[1] / "photos") == {"secret"}


def test_several_roots_and_the_samples(open_to, monkeypatch, tmp_path):
    draw(tmp_path / "second" / "bee.png")
    monkeypatch.setenv("MASKDISTILL_ROOTS", os.pathsep.join([str(open_to[0]), f"{tmp_path / 'second'}/", " "]))
    assert names(open_to[0] / "photos") == {"ant"}
    assert names(tmp_path / "second") == {"bee"}
    sample = open_source("sample")
    assert len(sample.photos) == 13
    assert read_photo(sample.photos[0]).size == (sample.photos[0].width, sample.photos[0].height)


@pytest.mark.parametrize("value", ["", " ", os.pathsep, "/nowhere/at/all"])
def test_a_variable_that_names_nothing_opens_nothing(open_to, monkeypatch, value):
    monkeypatch.setenv("MASKDISTILL_ROOTS", value)
    monkeypatch.chdir(open_to[1])
    with pytest.raises(DatasetError, match="server may use"):
        open_source(str(open_to[1] / "photos"))


@pytest.mark.parametrize(
    "spec",
    [
        "{outside}/photos",
        "{outside}/photos/",
        "{outside}/photos/secret.png",
        "{inside}/../outside/photos",
        "{inside}/photos/../../outside/photos",
        "{inside}/./photos/.././../outside/photos",
        "{inside}-elsewhere/photos",
        "{inside}/link",
        "{inside}/link/photos/",
        "{inside}/link/../outside/photos",
        "/",
        "/etc/passwd",
        "~",
        "{INSIDE}/photos",
    ],
)
def test_ways_out(open_to, spec):
    inside, outside = open_to
    (inside / "link").symlink_to(outside)
    shutil.copytree(outside, f"{inside}-elsewhere")
    text = spec.format(inside=inside, outside=outside, INSIDE=str(inside).upper())
    with pytest.raises(DatasetError, match="server may use|NUL byte"):
        open_source(text)
    with pytest.raises(JobError, match="server may use"):
        read_command(inside / "runs" / "new", ["run", "--data", text])


def test_a_root_that_is_a_link_itself_and_a_link_inside_it(open_to, tmp_path, monkeypatch):
    (tmp_path / "door").symlink_to(open_to[0])
    (open_to[0] / "shortcut").symlink_to(open_to[0] / "photos")
    monkeypatch.setenv("MASKDISTILL_ROOTS", str(tmp_path / "door"))
    assert names(tmp_path / "door" / "photos") == names(open_to[0] / "shortcut") == {"ant"}


def test_the_sentence_is_the_same_whether_the_file_is_there(open_to):
    told = []
    for name in ("photos", "nothing"):
        with pytest.raises(DatasetError) as caught:
            open_source(str(open_to[1] / name))
        told.append(str(caught.value).replace(str(open_to[1] / name), "PATH"))
    assert told[0] == told[1]
    assert str(open_to[0]) in told[0]


def test_links_in_a_folder_of_photos(open_to):
    inside, outside = open_to
    (inside / "photos" / "file.png").symlink_to(outside / "photos" / "secret.png")
    (inside / "photos" / "none.png").symlink_to(outside / "photos" / "nothing.png")
    (inside / "photos" / "folder").symlink_to(outside / "photos")
    source = open_source(str(inside / "photos"))
    assert [photo.id for photo in source.photos] == ["ant"]
    reasons = {item.path.name: item.reason for item in source.skipped}
    assert reasons["file.png"] == reasons["none.png"]
    assert "secret" not in str(source.skipped)


def test_a_link_that_is_swapped_after_the_photo_was_found(open_to):
    inside, outside = open_to
    (inside / "photos" / "bee").mkdir()
    draw(inside / "photos" / "bee" / "secret.png")
    photo = next(photo for photo in open_source(str(inside / "photos")).photos if photo.id == "bee/secret")
    shutil.rmtree(inside / "photos" / "bee")
    (inside / "photos" / "bee").symlink_to(outside / "photos")
    with pytest.raises(DatasetError, match="server may use"):
        read_photo(photo)


def test_a_link_that_is_swapped_between_the_look_and_the_opening(open_to, monkeypatch):
    inside, outside = open_to
    photo, secret = inside / "photos" / "ant.png", outside / "photos" / "secret.png"
    with roots.open_inside(photo) as file:
        assert file.read() == photo.read_bytes()
    real, looks = roots.os.path.realpath, []

    def look(path: str | Path) -> str:
        """The file is swapped right after its first look."""
        found = real(path)
        if str(path) == str(photo):
            looks.append(found)
            if len(looks) == 2:
                photo.unlink()
                photo.symlink_to(secret)
        return found

    monkeypatch.setattr(roots.os.path, "realpath", look)
    with pytest.raises(roots.OutsideRootsError):
        roots.open_inside(photo)


@pytest.fixture
def coco(open_to) -> Path:
    """A COCO folder whose json names files outside, one by a path and one by a link."""
    inside, outside = open_to
    root = inside / "coco"
    draw(root / "images" / "ant.png")
    (root / "images" / "link.png").symlink_to(outside / "photos" / "secret.png")
    named = ["ant.png", "link.png", "../../../outside/photos/secret.png", str(outside / "photos" / "secret.png")]
    named += ["../../../outside/photos/nothing.png", str(outside / "photos" / "nothing.png")]
    images = [{"id": i, "file_name": name, "width": 32, "height": 24} for i, name in enumerate(named)]
    (root / "annotations").mkdir()
    content = {"images": images, "annotations": [], "categories": []}
    (root / "annotations" / "instances.json").write_text(json.dumps(content))
    return root


def test_coco_file_that_names_files_outside(coco):
    source = open_source(str(coco))
    assert [photo.id for photo in source.photos] == ["ant"]
    assert len(source.skipped) >= 1
    assert len({item.reason for item in source.skipped if "outside" in str(item.path)}) <= 1


def test_coco_file_that_is_a_link(open_to, coco):
    moved = shutil.move(coco / "annotations" / "instances.json", open_to[1] / "instances.json")
    (coco / "annotations" / "instances.json").symlink_to(moved)
    assert "link" not in names(coco)  # a plain folder of pictures then
    with pytest.raises(DatasetError, match="server may use"):
        open_source(str(coco / "annotations" / "instances.json"))


@pytest.fixture
def voc(open_to) -> Path:
    root = open_to[0] / "voc"
    draw(root / "JPEGImages" / "ant.png")
    draw(root / "SegmentationClass" / "ant.png", "L")
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    return root


def test_voc_texts_and_labels_that_are_links(open_to, voc):
    secret = open_to[1] / "secret.txt"
    secret.write_text("password\n")
    listed = voc / "ImageSets" / "Segmentation" / "train.txt"
    listed.symlink_to(secret)
    with pytest.raises(DatasetError, match="server may use") as caught:
        open_source(str(voc))
    assert "password" not in str(caught.value)
    listed.unlink()
    source = open_source(str(voc))
    label = voc / "SegmentationClass" / "ant.png"
    moved = shutil.move(label, open_to[1] / "ant.png")
    label.symlink_to(moved)
    with pytest.raises(DatasetError, match="server may use"):
        read_label(source, source.photos[0])
    assert "server may use" in str(open_source(str(voc)).skipped)


def test_voc_classes_that_are_a_link(open_to, voc):
    secret = open_to[1] / "secret.txt"
    secret.write_text("password\n")
    (voc / "classes.txt").symlink_to(secret)
    try:
        shown = open_source(str(voc)).classes
    except DatasetError as error:
        shown = (str(error),)
    assert not any("password" in name for name in shown)


def test_voc_folders_that_are_links(open_to, voc):
    outside = open_to[1]
    for name in ("SegmentationClass", "ImageSets"):
        shutil.move(voc / name, outside / name)
        (voc / name).symlink_to(outside / name)
    (outside / "ImageSets" / "Segmentation" / "train.txt").write_text("password\n")
    with pytest.raises(DatasetError) as caught:
        open_source(str(voc))
    assert "train" not in str(caught.value)
    (voc / "ImageSets").unlink()
    assert not open_source(str(voc)).has_labels
    shutil.move(voc / "JPEGImages", outside / "JPEGImages")
    (voc / "JPEGImages").symlink_to(outside / "JPEGImages")
    with pytest.raises(DatasetError) as caught:
        open_source(str(voc))
    assert "ant.png" not in str(caught.value)


def test_weights(open_to):
    inside, outside = open_to
    torch.save({"a": torch.zeros(1)}, outside / "net.pth")
    (inside / "net.pth").symlink_to(outside / "net.pth")
    told = set()
    for path in (outside / "net.pth", inside / "net.pth", outside / "none.pth"):
        with pytest.raises(CheckpointError, match="server may use") as caught:
            read_state_dict(path)
        told.add(str(caught.value).replace(str(path), "PATH"))
        with pytest.raises(ConfigError, match="server may use"):
            choose_backbone(str(path), "vit_small_patch16_224")
        with pytest.raises(JobError, match="server may use"):
            read_command(inside / "runs" / "a", ["run", "--data", "sample", "--set", f"stage2.weights={path}"])
    assert len(told) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "--images", "{outside}", "--out", "{inside}/maps"],
        ["predict", "--images", "{inside}", "--out", "{outside}/maps"],
        ["export", "--format", "coco", "--out", "{outside}/new"],
        ["decisions", "--csv", "{outside}/new.csv"],
        ["run", "--data", "sample", "--set", "features.backbone={outside}/x.pth"],
    ],
)
def test_jobs_that_lead_out_are_not_started(open_to, arguments):
    inside, outside = open_to
    typed = [part.format(inside=inside, outside=outside) for part in arguments]
    with pytest.raises((JobError, ConfigError, DatasetError)) as caught:
        read_command(inside / "runs" / "a", typed)
    assert "server may use" in str(caught.value)


@pytest.mark.parametrize("run", ["{outside}/run", "{inside}/runs/link", "{inside}/runs/../../outside/run"])
def test_job_in_a_run_folder_that_leads_out(open_to, run):
    inside, outside = open_to
    (outside / "run").mkdir()
    (inside / "runs").mkdir()
    (inside / "runs" / "link").symlink_to(outside / "run")
    with pytest.raises(JobError, match="server may use"):
        read_command(Path(run.format(inside=inside, outside=outside)), ["run", "--data", "sample"])


def make_run(folder: Path) -> Path:
    (folder / "logs").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    return folder


def test_runs_that_are_links_or_hold_links_to_outside_are_not_listed(open_to):
    inside, outside = open_to
    runs = inside / "runs"
    make_run(runs / "good")
    make_run(outside / "foreign")
    (runs / "linked").symlink_to(outside / "foreign")
    (runs / "near").symlink_to(runs / "good")
    (make_run(runs / "log") / "logs" / "job-1.log").symlink_to("/etc/passwd")
    (make_run(runs / "table") / "masks.parquet").symlink_to(outside / "photos" / "secret.png")
    (make_run(runs / "thumbs") / "thumbs").symlink_to(outside)
    assert {run.name for run in list_runs(runs)} == {"good", "near"}


def test_a_typed_command_has_the_rights_of_the_account(open_to, capsys, monkeypatch):
    out = open_to[1] / "run"
    assert main(["status", "--run", str(out)]) == 2
    assert "server may use" not in capsys.readouterr().err


def test_home_that_nobody_knows_is_a_folder_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv(roots.VARIABLE, f"~nobody-of-this-name/x{os.pathsep}{tmp_path}")
    assert roots.is_inside(tmp_path / "a")
    assert not roots.is_inside("/etc/passwd")
