"""One model, trained by several processes. Those that start processes are slow: each of them loads torch."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import tiny_run
import torch
from tiny_run import draw_voc, run_chain, tiny_config

from maskdistill.config import TrainConfig
from maskdistill.datasets import open_source
from maskdistill.errors import ConfigError, JobError, RunError
from maskdistill.models.training.checkpoint import read_history, read_tensors
from maskdistill.stages import train_processes
from maskdistill.stages.chain import Options
from maskdistill.stages.plan import Plan, _section
from maskdistill.stages.train_processes import num_processes, train_in_processes, train_rank
from maskdistill.storage.run_folder import Run

ROOT = Path(__file__).resolve().parents[3]
# Nothing in a step depends on how its photos are shared: no photo has fewer patches, none of them is drawn.
EVEN = [f"{stage}.{name}" for stage in ("stage1", "stage2") for name in ("dropout=0", "patch_share=1", "epochs=6")]


class TestNumProcesses:
    @pytest.mark.parametrize(
        ("model", "asked", "device", "gpus", "expected"),
        [
            ("deeplabv3", 0, "auto", 4, 4),
            ("deeplabv3", 0, "cuda", 4, 4),
            ("deeplabv3", 0, "cuda:1", 4, 1),
            ("deeplabv3", 0, "cpu", 4, 1),
            ("deeplabv3", 2, "auto", 4, 2),
            ("patch_head", 0, "auto", 4, 1),
            ("patch_head", 3, "cpu", 0, 3),
        ],
    )
    def test_one_a_gpu_unless_told(self, monkeypatch, model, asked, device, gpus, expected):
        monkeypatch.setattr(
            train_processes, "choose_device", lambda name: torch.device("cuda" if name == "auto" else name)
        )
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        assert num_processes(TrainConfig(model=model, processes=asked), device) == expected

    def test_what_a_launcher_started_starts_no_more(self, monkeypatch):
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert num_processes(TrainConfig(processes=4), "cpu") == 1


def test_their_number_makes_no_other_model(scene):
    config = scene[1]
    plans = [
        Plan(Run("none"), None, item, object()) for item in (config, config.with_overrides(["stage1.processes=2"]))
    ]
    assert _section(plans[0].config, "stage1") == _section(plans[1].config, "stage1")


@pytest.fixture(scope="module")
def even(tmp_path_factory):
    """Photos of one size, settings, and a run of them whose first model one process has trained."""
    folder, before = tmp_path_factory.mktemp("even"), tiny_run.SIZES
    tiny_run.SIZES = ((64, 64),)
    try:
        data = draw_voc(folder / "voc")
    finally:
        tiny_run.SIZES = before
    config = tiny_config(folder).with_overrides(EVEN)
    run_chain(folder / "run", data, config, wanted=("stage1",))
    return Run(folder / "run"), data, config


@pytest.fixture
def untrained(even, tmp_path, processes_know_the_tiny_transformer):
    """A copy before the first model."""
    run = Run(shutil.copytree(even[0].path, tmp_path / "copy"))
    shutil.rmtree(run.path / "stage1")
    run.stage_path("stage1").unlink()
    return run


def losses_of(run):
    return [epoch.losses["total"] for epoch in read_history(run.path / "stage1")]


def assert_same_model(run, other):
    assert losses_of(run) == pytest.approx(losses_of(other), abs=1e-4)
    (found, _), (wanted, _) = (read_tensors(item.path / "stage1" / "model.safetensors") for item in (run, other))
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=1e-3, rtol=1e-3)


def test_of_a_missing_stage_before_it_is_told(finished, tmp_path):
    run = Run(shutil.copytree(finished[0].path, tmp_path / "copy"))
    run.stage_path("clusters").unlink()
    with pytest.raises(ConfigError, match="clusters has to be made before stage1: maskdistill run"):
        train_rank(str(run.path), "stage1")


def test_a_single_process_that_a_launcher_started_trains_alone(even, untrained):
    train_rank(str(untrained.path), "stage1")
    assert losses_of(untrained) == losses_of(even[0])
    assert untrained.fingerprint_of("stage1") == even[0].fingerprint_of("stage1")


@pytest.mark.slow
class TestTogether:
    def test_two_share_the_batch_of_one(self, even, untrained):
        said = run_chain(untrained.path, even[1], even[2].with_overrides(["stage1.processes=2"]), wanted=("stage1",))
        assert "epochs on 8 photos" in said["stage1"]
        assert_same_model(untrained, even[0])

    def test_of_several_one_that_is_killed_ends_all_and_the_next_start_goes_on(self, even, untrained):
        config = even[2].with_overrides(["stage1.processes=2", "stage1.epochs=400", "stage1.checkpoint_seconds=0"])
        context = Plan(untrained, *self.opened(even, config)).context("stage1", Options(quiet=True))
        killer = threading.Thread(target=self.kill_one, args=(untrained, 20))
        killer.start()
        with pytest.raises(RunError, match=r"was ended \(SIGKILL\)"):
            train_in_processes(context, "stage1", 2)
        killer.join()
        assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
        done = len(read_history(untrained.path / "stage1"))
        assert 20 <= done < 400
        train_in_processes(context, "stage1", 2)
        assert len(losses_of(untrained)) == 400

    @staticmethod
    def opened(even, config):
        return open_source(str(even[1])), config

    @staticmethod
    def kill_one(run, epochs):
        while len(read_history(run.path / "stage1") if (run.path / "stage1").is_dir() else ()) < epochs:
            time.sleep(0.1)
        children = [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
        children[-1].send_signal(signal.SIGKILL)

    def test_what_one_of_them_says_is_raised(self, even, untrained):
        config = even[2].with_overrides(["stage1.processes=2", "stage1.learning_rate=100", "stage1.clip_norm=0"])
        config = config.with_overrides(["stage1.optimizer=sgd", "stage1.momentum=1", "stage1.epochs=300"])
        with pytest.raises(JobError, match="The training diverged"):
            run_chain(untrained.path, even[1], config, wanted=("stage1",))

    @pytest.mark.parametrize(
        "launcher",
        [
            ["accelerate.commands.launch", "--multi_gpu", "--num_processes"],
            ["torch.distributed.run", "--nproc-per-node"],
        ],
    )
    def test_a_launcher_starts_them(self, even, untrained, launcher):
        module = "maskdistill.stages.train_processes"
        words = [sys.executable, "-m", *launcher, "2", "-m", module, str(untrained.path), "stage1"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr
        assert_same_model(untrained, even[0])
        assert untrained.fingerprint_of("stage1") == even[0].fingerprint_of("stage1")

    def test_ray_train_starts_them(self, even, untrained, tmp_path):
        if importlib.util.find_spec("ray") is None or importlib.util.find_spec("pyarrow") is None:
            pytest.skip("no ray: pip install -r requirements-cluster.txt")
        environment = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "120"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # Ray's own processes load no torch
        script = tmp_path / "train.py"
        script.write_text(
            "import sys, ray, tiny_vit\n"
            "from ray.train import RunConfig, ScalingConfig\n"
            "from ray.train.torch import TorchTrainer\n"
            "from maskdistill.stages.train_processes import train_rank\n"
            "ray.init('local', num_cpus=3, object_store_memory=200 * 2**20, include_dashboard=False)\n"
            "def loop(config):\n"
            "    import tiny_vit\n"
            "    train_rank(config['run'], 'stage1')\n"
            "workers = ScalingConfig(num_workers=2)\n"
            "settings = {'run': sys.argv[1]}\n"
            "where = RunConfig(storage_path=sys.argv[2])\n"
            "TorchTrainer(loop, train_loop_config=settings, scaling_config=workers, run_config=where).fit()\n"
        )
        done = subprocess.run(
            [sys.executable, str(script), str(untrained.path), str(tmp_path / "ray")],
            capture_output=True,
            text=True,
            timeout=400,
            cwd=ROOT,
            check=False,
            env=os.environ | environment,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        assert_same_model(untrained, even[0])
