"""The engine ``ray``. What needs ray and a cluster of this machine is slow, and skips where there is no ray."""

import importlib.util
import os
import socket
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
from tiny_run import assert_same_artifacts

from maskdistill.config import RunConfig, load_preset
from maskdistill.datasets import Photo
from maskdistill.errors import ConfigError, RunError
from maskdistill.stages import ray_pool
from maskdistill.stages.chain import Options, run_stages
from maskdistill.stages.pool import Workers, map_photos
from maskdistill.stages.tasks import WorkerSpec
from maskdistill.storage.run_folder import Run

TASKS = tuple((number,) for number in range(12))
CORES = 3
ON_RAY = Workers(2, "ray")


@pytest.fixture
def echo(tmp_path):
    return WorkerSpec("echo_worker:make_echo", tmp_path, RunConfig(), torch=False)


class TestConnect:
    def test_without_the_library_it_is_said_how_to_install_it(self, echo, monkeypatch):
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(ConfigError, match=r"pip install 'maskdistill\[ray\]'"):
            list(map_photos(echo, TASKS, ON_RAY))

    @pytest.mark.parametrize("address", ["nowhere", "host:", ":6379", "host:port", "host:99999", "ray://host"])
    def test_what_is_no_address_is_named(self, address):
        with pytest.raises(ConfigError, match=r"HOST:PORT .* got '"):
            ray_pool._require_answer(address)

    @pytest.mark.parametrize("form", ["{}", "ray://{}"])
    def test_where_nothing_answers_that_is_said_at_once(self, form):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            address = form.format(f"127.0.0.1:{unused.getsockname()[1]}")
            with pytest.raises(ConfigError, match=f"Nothing answers at '{address}'"):
                ray_pool._require_answer(address)

    @pytest.mark.parametrize("address", ["", "auto", "local"])
    def test_what_ray_finds_itself_is_left_to_it(self, address):
        ray_pool._require_answer(address)


@pytest.mark.parametrize(
    ("there", "device", "expected"),
    [
        ({"CPU": 8.0}, "auto", 0),
        ({"CPU": 2.0, "GPU": 1.0}, "auto", 1 / 2),
        ({"CPU": 64.0, "GPU": 4.0}, "cuda", 1 / 8),
        ({"CPU": 1.0, "GPU": 2.0}, "auto", 1),
        ({"CPU": 64.0, "GPU": 4.0}, "cpu", 0),
    ],
)
def test_processes_share_a_gpu_as_far_as_there_are_cores(there, device, expected):
    ray = SimpleNamespace(cluster_resources=lambda: there)
    assert ray_pool._gpu_share(ray, True, device) == expected
    assert ray_pool._gpu_share(ray, False, device) == 0


@pytest.mark.parametrize(
    ("there", "given", "expected"),
    [(False, {}, None), (True, {}, "token"), (True, {"RAY_AUTH_MODE": "disabled"}, "disabled")],
)
def test_a_token_that_lies_here_is_sent(tmp_path, monkeypatch, there, given, expected):
    path = tmp_path / "auth_token"
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    environment = {"RAY_AUTH_TOKEN_PATH": str(path), **given}
    monkeypatch.setattr(os, "environ", environment)
    if there:
        path.write_text("0123")
    ray_pool._take_token()
    assert environment.get("RAY_AUTH_MODE") == expected


def test_folder_that_a_node_does_not_see_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_pool, "PATIENCE", 0)
    photo = Photo("a", tmp_path / "photos" / "a.png", 4, 4, digest="")
    spec = WorkerSpec("echo_worker:make_echo", tmp_path, RunConfig(), torch=False)
    assert ray_pool._seen_from_here(spec, (0, photo)) == (tmp_path,)  # what is not here either is no fault of a node
    (tmp_path / "photos").mkdir()
    wanted = ray_pool._seen_from_here(spec, (0, photo))
    assert wanted == (tmp_path, tmp_path / "photos")
    assert ray_pool._what_is_missing(wanted) == ""
    (tmp_path / "photos").rmdir()
    with pytest.raises(ConfigError, match=f"{socket.gethostname()} does not see .*photos"):
        ray_pool.PhotoActor(spec, wanted).work((0,))


@pytest.fixture(scope="module")
def cluster():
    """Ray on this machine, two cores of it, as long as the tests of this module take."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("no ray: pip install -r requirements-cluster.txt")
    if psutil.virtual_memory().available < 4 * 2**30:
        pytest.skip("Ray needs 4 GiB of free memory")
    import ray

    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "RAY_ADDRESS")}
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    os.environ.pop("RAY_ADDRESS", None)
    ray.init(
        "local", num_cpus=CORES, object_store_memory=ray_pool.OBJECT_STORE, include_dashboard=False, log_to_driver=False
    )
    yield ray
    ray.shutdown()
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


@pytest.mark.slow
class TestOnACluster:
    def test_every_task_is_answered_once(self, cluster, echo):
        assert sorted(map_photos(echo, TASKS, ON_RAY)) == list(range(12))
        assert list(map_photos(echo, iter(()), ON_RAY)) == []

    def test_process_that_dies_costs_no_task(self, cluster, tmp_path):
        options = {"how": "SIGKILL", "times": 1}
        spec = WorkerSpec("echo_worker:make_fragile", tmp_path, RunConfig(), options, torch=False)
        assert sorted(map_photos(spec, TASKS, ON_RAY)) == list(range(12))

    @pytest.mark.parametrize("on_crash", [None, lambda task, reason: (task[0], reason)])
    def test_task_that_always_crashes_costs_only_itself(self, cluster, tmp_path, on_crash):
        options = {"how": "SIGKILL", "times": 9}
        spec = WorkerSpec("echo_worker:make_fragile", tmp_path, RunConfig(), options, torch=False)
        work = map_photos(spec, TASKS, ON_RAY, on_crash=on_crash)
        if on_crash is None:
            with pytest.raises(RunError, match="photo 3: It crashed"):
                list(work)
            return
        answers = list(work)
        (crashed,) = (answer for answer in answers if isinstance(answer, tuple))
        assert crashed[0] == 3
        assert sorted(answer for answer in answers if answer != crashed) == [n for n in range(12) if n != 3]

    def test_worker_that_cannot_start_says_why(self, cluster, tmp_path):
        spec = WorkerSpec("echo_worker:make_none", tmp_path, RunConfig(), torch=False)
        with pytest.raises(RuntimeError, match=r"^There is no device\.$"):
            list(map_photos(spec, TASKS, ON_RAY))

    def test_whoever_leaves_early_leaves_no_actor(self, cluster, echo):
        work = map_photos(echo, TASKS, ON_RAY)
        next(work)
        work.close()
        until = time.monotonic() + 30
        while cluster.available_resources().get("CPU", 0) < CORES and time.monotonic() < until:
            time.sleep(0.2)
        assert cluster.available_resources()["CPU"] == CORES

    def test_run_ends_with_the_same_bytes_as_on_this_machine(self, cluster, tmp_path):
        """Every stage over photos; vectors and masks come from real weights."""
        smaller = ["features.backbone=focus_vits14", "features.shorter_side=98", "clusters.num_classes=3"]
        config = load_preset("quick").with_overrides([*smaller, "predictions.crf=false", "stage1.epochs=2"])
        for name, engine in (("here", "local"), ("there", "ray")):
            how = Options(num_workers=2, engine=engine, limit=9, quiet=True)
            run_stages(Run(tmp_path / name), "sample", config, wanted=("predictions",), options=how)
        assert_same_artifacts(Run(tmp_path / "there"), Run(tmp_path / "here"))
