"""Jobs that are killed, starved and raced for: nothing is lost, nothing is done twice, nothing is left behind.

Most of it does the whole method with a small transformer of random weights on drawn photos.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import timm
import torch
from disks import fill, free, small_disk
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from maskdistill.cli.job_command import submit_command
from maskdistill.jobs import JobState, get_job, list_jobs, log_tail, read_events, resume_job, wait_until_ended
from maskdistill.jobs.processes import MARK
from maskdistill.models.training.checkpoint import read_tensors
from maskdistill.stages.stage_list import OF_EVERY_RUN
from maskdistill.storage.progress import read_progress_file

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="Unix signals")]

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
PATIENCE = 600.0  # seconds for a job, on a machine that does much else
KILLS = 20
TRIES = 50
NUM_PHOTOS, NUM_TRAIN = 12, 8
EPOCHS = 6
SETTINGS = {
    "features.architecture": "vit_tiny_patch16_224",
    "features.precision": "float32",
    "features.device": "cpu",
    "features.shorter_side": 64,
    "proposals.feature": "tokens",
    "proposals.num_objects": 2,
    "proposals.min_area": 0,
    "embeddings.crop_side": 64,
    "embeddings.blocks": 2,
    "clusters.num_classes": 3,
    "clusters.num_rounds": 6,
    "clusters.num_spaces": 2,
    "clusters.dimensions": 4,
    "filter.min_score": 0,
    "crf.max_pixels": 1000,
    "evaluation.num_seeds": 1,
    **{
        f"{stage}.{name}": value
        for stage in ("stage1", "stage2")
        for name, value in {"epochs": EPOCHS, "batch_size": 4, "hidden": 16, "checkpoint_seconds": 0}.items()
    },
}
# Files that hold times or processes, or that are there for going on only.
LEFT_OUT = (
    "progress.json",
    "source.parquet",
    "run.sqlite",
    "run.sqlite-wal",
    "run.sqlite-shm",
    "history.jsonl",
    "checkpoint.safetensors",
)


def draw_photos(folder):
    """A VOC folder of pictures with one disc or square each."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(NUM_PHOTOS):
        photo = Image.fromarray(generator.integers(90, 130, (64, 64, 3), dtype=np.uint8))
        labels = Image.new("L", photo.size)
        x, y = (int(value) for value in generator.integers(4, 24, 2))
        for image, colour in ((photo, [(220, 30, 30), (40, 60, 230)][number % 2]), (labels, number % 2 + 1)):
            shape = ImageDraw.Draw(image).ellipse if number % 2 else ImageDraw.Draw(image).rectangle
            shape((x, y, x + 32, y + 32), fill=colour)
        photo.save(folder / "JPEGImages" / f"{number:02d}.png")
        labels.save(folder / "SegmentationClass" / f"{number:02d}.png")
    ids = [f"{number:02d}" for number in range(NUM_PHOTOS)]
    (folder / "classes.txt").write_text("disc\nsquare")
    (folder / "ImageSets/Segmentation/train.txt").write_text("\n".join(ids[:NUM_TRAIN]))
    (folder / "ImageSets/Segmentation/val.txt").write_text("\n".join(ids[NUM_TRAIN:]))


@pytest.fixture(scope="module", autouse=True)
def own_slots(tmp_path_factory):
    """Jobs of these tests do not wait for those of the person at this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASKDISTILL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """The whole method on drawn photos."""
    folder = tmp_path_factory.mktemp("scene")
    draw_photos(folder / "voc")
    model = timm.create_model(SETTINGS["features.architecture"], num_classes=0)
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.randn(value.shape, generator=generator) * 0.1 for name, value in model.state_dict().items()}
    save_file(state, folder / "tiny.safetensors")
    settings = {"features.backbone": folder / "tiny.safetensors", **SETTINGS}
    flags = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    return ["run", "--data", str(folder / "voc"), "--until", "evaluation", "--workers", "2", *flags]


def start(run, command):
    return submit_command(run, command, title="All").job


def finish(job):
    ended = wait_until_ended(job, PATIENCE)
    assert ended.state is JobState.DONE, f"{ended.message}\n{log_tail(ended.run, ended.id)}"
    return ended


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, command):
    job = start(tmp_path_factory.mktemp("undisturbed") / "run", command)
    return finish(job)


def artifacts(run):
    """Every file that a run is made for: bytes, or of weights the tensors."""
    paths = (path for path in run.rglob("*") if path.is_file() and path.suffix not in (".lock", ".log", ".arrow"))
    return {
        str(path.relative_to(run)): weights(path) if path.suffix == ".safetensors" else path.read_bytes()
        for path in paths
        if path.name not in LEFT_OUT
    }


def weights(path):
    return {name: value.numpy().tobytes() for name, value in read_tensors(path)[0].items()}


def assert_same(job, other):
    found, wanted = artifacts(job.run), artifacts(other.run)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []
    assert {"metrics.json", "stage2/model.safetensors", "kept.parquet"} <= found.keys()


def epochs_of(job):
    events = [event.value for event in read_events(job.run, job.id) if event.kind == "epoch"]
    return [(event["stage"], event["epoch"]) for event in events], [event["losses"] for event in events]


def marked(token):
    """Processes that an attempt has left."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == token and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def wait_for(condition, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, "It did not happen."
        time.sleep(0.005)
    return value


def has_reported(job):
    """Whether the command of this attempt has begun a stage."""
    progress = read_progress_file(job.run / "progress.json")
    return progress is not None and progress.pid == job.pid


def test_killed_at_random_moments_and_resumed_it_ends_the_same(undisturbed, command, tmp_path):
    moments = random.Random(0)
    job = start(tmp_path / "run", command)
    for number in range(KILLS):
        if number % 4:  # at work; the others while it starts
            wait_for(lambda job=job: has_reported(job) or not get_job(job.run, 1).state.is_active)
        time.sleep(moments.uniform(0, 0.5))
        job = get_job(job.run, 1)
        assert job.state.is_active, f"It was killed {number} times only: {job.message}"
        os.kill(job.pid, signal.SIGKILL)
        job = wait_until_ended(job, PATIENCE)
        assert job.state is JobState.LOST
        wait_for(lambda job=job: not marked(job.token), 10)
        job = resume_job(job.run, 1).job
    job = finish(job)
    assert (job.attempts, len(list_jobs(job.run))) == (KILLS + 1, 1)
    assert_same(job, undisturbed)
    assert list(job.run.rglob(".*.tmp")) == []
    places, losses = epochs_of(job)
    assert sorted(places) == [(stage, epoch) for stage in ("stage1", "stage2") for epoch in range(1, EPOCHS + 1)]
    assert places == epochs_of(undisturbed)[0]
    assert losses == epochs_of(undisturbed)[1]


def test_killed_in_each_stage_and_started_again_every_file_is_the_same(command, tmp_path):
    """As a command that a person types, the map by UMAP too."""
    words = [
        "-m",
        "benchmarks.kills",
        "--data",
        command[2],
        "--num-classes",
        "3",
        *command[7:],
        "--json",
        str(tmp_path / "k.json"),
    ]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    kills = json.loads((tmp_path / "k.json").read_text())["kills"]
    assert [kill["stage"] for kill in kills] == list(OF_EVERY_RUN)


def test_damaged_checkpoint_falls_back_to_the_one_before(undisturbed, command, tmp_path):
    job = start(tmp_path / "run", command)
    wait_for(lambda: (job.run / "stage1" / "checkpoint.previous.safetensors").is_file())
    os.kill(get_job(job.run, 1).pid, signal.SIGKILL)  # a stop would come after the last epoch of so short a training
    job = wait_until_ended(job, PATIENCE)
    assert job.state is JobState.LOST
    assert not (job.run / "stages" / "stage1.json").exists()
    checkpoint = job.run / "stage1" / "checkpoint.safetensors"
    content = bytearray(checkpoint.read_bytes())
    content[-100] ^= 0xFF
    checkpoint.write_bytes(content)
    job = finish(resume_job(job.run, 1).job)
    assert "is not used" in log_tail(job.run, 1)
    assert_same(job, undisturbed)


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", 48) as folder:
        yield folder


def wait_until_at(job, stage):
    """Until this attempt of the job is at a stage, or at a later one if that is over before anyone looks."""
    later = OF_EVERY_RUN[OF_EVERY_RUN.index(stage) :]
    progress = wait_for(lambda: has_reported(job) and read_progress_file(job.run / "progress.json"))
    while progress.stage not in later:
        assert get_job(job.run, 1).state.is_active
        progress = read_progress_file(job.run / "progress.json") or progress
        time.sleep(0.005)


def test_full_disk_ends_in_a_sentence_and_is_resumed_once_there_is_space(undisturbed, command, disk):
    job = start(disk / "run", command)
    for number, stage in enumerate(("proposals", "embeddings", "stage1", "stage2"), 1):
        wait_until_at(job, stage)
        fill(disk)
        job = wait_until_ended(job, PATIENCE)
        assert job.state is JobState.FAILED, f"{stage}: {job.message}\n{log_tail(job.run, 1)}"
        assert "is full (" in job.message
        assert job.message.endswith("free some space, then resume.")
        assert list_jobs(job.run)[0].attempts == number  # read while it is full
        free(disk)
        job = resume_job(job.run, 1).job
    assert_same(finish(job), undisturbed)


def test_killed_on_a_full_disk_its_end_is_told_and_it_can_be_resumed(undisturbed, command, disk):
    job = start(disk / "run", command)
    wait_until_at(job, "stage1")
    os.kill(job.pid, signal.SIGSTOP)  # or it would find the disk full before it is killed
    fill(disk)
    os.kill(job.pid, signal.SIGKILL)
    job = wait_until_ended(job, PATIENCE)
    assert job.state is JobState.LOST
    assert read_events(job.run, 1)
    free(disk)
    assert_same(finish(resume_job(job.run, 1).job), undisturbed)


def test_two_servers_that_race_for_a_job_do_its_work_once(tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    servers = [subprocess.Popen([sys.executable, str(DATA / "rival.py"), "start", "count"], **pipes) for _ in range(2)]
    assert [server.stdout.readline() for server in servers] == ["ready\n", "ready\n"]
    runs = [tmp_path / str(number) for number in range(TRIES)]
    for run in runs:
        for server in servers:
            server.stdin.write(f"submit {run}\n")
        assert sorted(server.stdout.readline().strip() for server in servers) == ["1 False", "1 True"]
    for run in runs:
        job = wait_until_ended(get_job(run, 1), PATIENCE)
        assert (job.state, job.attempts, len(list_jobs(run))) == (JobState.DONE, 1, 1)
        assert (run / "works").read_text() == "worked\n"
        wait_for(lambda job=job: not marked(job.token), 10)
    for server in servers:
        assert psutil.Process(server.pid).children() == []  # no zombie either
        server.communicate()


@pytest.fixture
def memory_limit():
    """A control group of 300 MB without swap."""
    root = Path("/sys/fs/cgroup")
    older = (root / "memory").is_dir()
    group = (root / "memory" if older else root) / f"maskdistill-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if older else "memory.max")).write_text("300M")
    except OSError as error:
        pytest.skip(f"No control group can be made here: {error}")
    yield group
    group.rmdir()


def test_out_of_memory_is_named(memory_limit, tmp_path):
    """The kernel ends the process; nobody is left to say why."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    server = subprocess.Popen([sys.executable, str(DATA / "rival.py"), "start", "eat"], **pipes)
    run = tmp_path / "run"
    server.stdin.write(f"submit {run}\n")
    wait_for((run / "ready").exists)
    (memory_limit / "cgroup.procs").write_text(str(get_job(run, 1).pid))
    (run / "go").touch()
    job = wait_until_ended(get_job(run, 1), PATIENCE)
    assert job.state is JobState.LOST
    assert job.message.startswith("The system ended it for lack of memory. Lower stage1.batch_size")
    server.communicate()
    wait_for(lambda: not marked(job.token), 10)
