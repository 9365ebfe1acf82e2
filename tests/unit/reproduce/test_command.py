"""The whole command on the published data sets in small: from archives on a server to the report."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from small_published import coco_files, published, serving, tiny_sets, voc_files, write_tar, write_trainaug, write_zip
from torchvision.models import resnet50

from maskdistill.cli.main import main
from maskdistill.config import load_preset
from maskdistill.evaluation.confusion import mean_and_std
from maskdistill.reproduce import artifacts
from maskdistill.reproduce.artifacts import DINO_RESNET, DINO_VIT, MOCO_RESNET, weights_of, with_weights
from maskdistill.reproduce.report import FIGURES, make_rows
from maskdistill.storage.run_folder import Run


def run(arguments, sets=(), preset="quick"):
    words = [*arguments, "--preset", preset, "--quiet", "--workers", "1"]
    return main(["reproduce", *words, *(word for value in sets for word in ("--set", value))])


@pytest.fixture
def voc(tmp_path, monkeypatch):
    """A server with the archive, and the folder of trainaug."""
    write_tar(tmp_path / "voc.tar", voc_files())
    content = (tmp_path / "voc.tar").read_bytes()
    name = "VOCtrainval_11-May-2012.tar"
    with serving({name: content}) as server:
        published(monkeypatch, "voc", server.address, [hashlib.md5(content).hexdigest()])
        yield server, write_trainaug(tmp_path / "aug", True)


@pytest.fixture
def coco(tmp_path, monkeypatch):
    photos, annotations, names = coco_files()
    write_zip(tmp_path / "photos.zip", photos)
    write_zip(tmp_path / "annotations.zip", annotations)
    files = {
        "train2014.zip": (tmp_path / "photos.zip").read_bytes(),
        "annotations_trainval2014.zip": (tmp_path / "annotations.zip").read_bytes(),
        "coco_20k_filenames.txt": names.encode(),
    }
    with serving(files) as server:
        published(monkeypatch, "coco20k", server.address)
        yield server


@pytest.mark.slow
def test_voc_from_the_archive_to_the_report(voc, tmp_path, capsys):
    server, trainaug = voc
    root = tmp_path / "root"
    arguments = ["voc", "--root", str(root), "--trainaug", str(trainaug), "--seeds", "2"]
    sets = tiny_sets(tmp_path)
    assert run(arguments, sets) == 0
    printed = capsys.readouterr().out
    result = json.loads((root / "runs/voc/report.json").read_text())
    assert (root / "runs/voc/report.md").read_text().strip() in printed
    assert (result["data"]["train"], result["data"]["val"], result["seeds"]) == (8, 3, [0, 1])
    by_name = {row["name"]: row for row in result["figures"]}
    metrics = [json.loads((root / f"runs/voc/seed-{seed}/metrics.json").read_text()) for seed in (0, 1)]
    scores = [100 * item["reported"]["stage2"]["miou"] for item in metrics]
    row = by_name["clustering mIoU"]
    assert row["values"] == pytest.approx(scores)
    assert (row["mean"], row["std"]) == pytest.approx(mean_and_std(scores))
    assert by_name["linear mIoU"]["mean"] is not None
    assert by_name["mask AP50, several masks, first model"]["mean"] is None  # these settings have no detector
    assert by_name["mask AP50, proposals"]["mean"] is not None
    assert any("8 photos here, 10,582 as published" in text for text in result["differences"])
    assert result["changed_settings"]["stage1.model"] == "patch_head"
    # Masks and vectors were made once.
    folders = [Run(root / f"runs/voc/seed-{seed}") for seed in (0, 1)]
    first, second = (item.codes_path.stat() for item in folders)
    assert (first.st_ino, first.st_mtime_ns) == (second.st_ino, second.st_mtime_ns)
    assert metrics[0]["reported"] != metrics[1]["reported"] or metrics[0]["training"] != metrics[1]["training"]
    # The same command again fetches and makes nothing.
    server.asked.clear()
    weights = root / "runs/voc/seed-1/stage2/model.safetensors"
    before = weights.stat().st_mtime_ns
    assert run(arguments, sets) == 0
    assert server.asked == []
    assert weights.stat().st_mtime_ns == before


def test_coco_from_the_archives_to_the_report(coco, tmp_path, capsys):
    root = tmp_path / "root"
    sets = [*tiny_sets(tmp_path), "evaluation.probe=false"]
    assert run(["coco20k", "--root", str(root), "--seeds", "1", "--limit", "6"], sets) == 0
    capsys.readouterr()
    result = json.loads((root / "runs/coco20k/report.json").read_text())
    by_name = {row["name"]: row for row in result["figures"]}
    assert (by_name["mask AP50, proposals"]["published"], by_name["mask AP50, proposals"]["std"]) == (8.0, None)
    assert 0 <= by_name['mask AP50 "single", proposals']["mean"] <= 100
    text = (root / "runs/coco20k/report.md").read_text()
    assert "At most 6 photos were used." in text
    assert "One seed says nothing about the spread." in text
    assert len(Run(root / "runs/coco20k/seed-0").images()) == 6
    assert len(coco.asked) == 3


def test_dry_run_says_what_is_missing_and_touches_nothing(voc, tmp_path, capsys):
    server, trainaug = voc
    root = tmp_path / "root"
    assert main(["reproduce", "voc", "--root", str(root), "--trainaug", str(trainaug), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    for item in (*artifacts.DATA["voc"], DINO_VIT, DINO_RESNET, MOCO_RESNET):
        assert f"missing: {item.name}" in printed
        assert str(item.path(root)) in printed
        assert item.url in printed
    assert "10,582 to train on, 1,449 of val" in printed
    assert "not known here: written down at the first fetch" in printed
    assert not root.exists()
    assert server.asked == []


def test_dry_run_of_data_that_is_unpacked_asks_for_weights_only(tmp_path, capsys):
    (tmp_path / "VOC2012").mkdir()
    place = DINO_RESNET.path(tmp_path / "root")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"x")
    data = str(tmp_path / "VOC2012")
    assert main(["reproduce", "voc", "--root", str(tmp_path / "root"), "--data", data, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert f"have: {DINO_RESNET.name}" in printed
    assert "PASCAL VOC 2012, train" not in printed


def test_without_a_network_the_command_says_where_files_go(tmp_path, capsys, monkeypatch):
    published(monkeypatch, "voc", "http://127.0.0.1:9")
    assert run(["voc", "--root", str(tmp_path / "root")]) == 2
    told = capsys.readouterr().err
    assert "http://127.0.0.1:9/VOCtrainval_11-May-2012.tar" in told
    assert str(tmp_path / "root/downloads/VOCtrainval_11-May-2012.tar") in told


def test_weights_go_where_the_published_settings_leave_them_open(tmp_path):
    config = load_preset("paper-voc")
    found = weights_of(config)
    assert found == (DINO_VIT, DINO_RESNET, MOCO_RESNET)
    ready = with_weights(config, tmp_path, found)
    assert ready.features.backbone == str(DINO_VIT.path(tmp_path))
    assert ready.features.architecture == "vit_small_patch16_224.dino"
    assert (ready.stage1.weights, ready.stage2.weights) == (
        str(DINO_RESNET.path(tmp_path)),
        str(MOCO_RESNET.path(tmp_path)),
    )
    assert weights_of(ready) == ()
    assert weights_of(load_preset("quick")) == ()


def test_published_figures_are_those_of_the_paper():
    voc = {figure.name: figure.published for figure in FIGURES["voc"]}
    assert list(voc.values())[:4] == [45.8, 48.9, 58.7, 62.8]
    assert {figure.published for figure in FIGURES["voc"][4:]} == {35.5, 26.0}
    assert {figure.published for figure in FIGURES["coco20k"]} == {15.3, 8.0}


def test_figures_of_rounds_win_over_stage_2():
    measured = {"stage2": {"miou": 0.4}, "rounds": {"miou": 0.5}, "rounds_crf": {"miou": 0.6}}
    rows = make_rows("voc", [{"metrics": {"reported": measured}, "detector": None}])
    assert [row.mean for row in rows[:3]] == [50.0, 60.0, None]


@pytest.mark.slow
def test_published_models_in_small(voc, tmp_path, capsys, monkeypatch):
    """Mask R-CNN and DeepLab from files of weights where DINO's and MoCo's go, the detector and the linear layer."""
    _, trainaug = voc
    root = tmp_path / "root"
    (root / "weights").mkdir(parents=True)
    torch.manual_seed(0)
    state = resnet50(weights=None).state_dict()
    torch.save(state, DINO_RESNET.path(root))
    names = {f"module.encoder_q.{name}": value for name, value in state.items()}
    torch.save({"state_dict": names}, MOCO_RESNET.path(root))
    monkeypatch.setattr(artifacts, "MOCO_RESNET", replace(MOCO_RESNET, md5=None))
    sets = [*tiny_sets(tmp_path), "features.head_blocks=[2]", "clusters.embedding=CLS 2"]
    sets += ["filter.min_score=0", "filter.min_iou=0", "filter.empty_photos=best"]  # after one epoch nothing is sure
    for stage, model in (("stage1", "mask_rcnn"), ("stage2", "deeplabv3")):
        sets += [f"{stage}.model={model}", f"{stage}.image_side=64", f"{stage}.epochs=1", f"{stage}.batch_size=4"]
    arguments = ["voc", "--root", str(root), "--trainaug", str(trainaug), "--seeds", "1"]
    assert run(arguments, sets, preset="paper-voc") == 0
    capsys.readouterr()
    result = json.loads((root / "runs/voc/report.json").read_text())
    by_name = {row["name"]: row["mean"] for row in result["figures"]}
    assert all(value is not None and 0 <= value <= 100 for value in by_name.values())
    assert result["settings"]["stage1"]["weights"] == str(DINO_RESNET.path(root))
