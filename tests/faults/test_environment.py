"""Machines unlike the developer's: no home, no shared memory, poor terminals, a share of the cores, closed pipes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from maskdistill import machine
from maskdistill.cli.main import main
from maskdistill.errors import RunError
from maskdistill.machine import usable_cores
from maskdistill.storage import user_folders
from maskdistill.storage.user_folders import cache_dir, find_cached, redirect_caches

ROOT = Path(__file__).resolve().parents[2]
VARIABLES = ("MASKDISTILL_CACHE", "XDG_CACHE_HOME", "HOME", "HF_HOME", "NUMBA_CACHE_DIR")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """No folder is known but one for temporary files; a user without a name."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # noted, so that what a test sets is undone
        monkeypatch.delenv(name)
    monkeypatch.setattr(user_folders, "_home", lambda: Path(os.environ["HOME"]) if "HOME" in os.environ else None)
    monkeypatch.setattr(user_folders.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path


class TestCacheFolder:
    def test_without_a_home_it_lies_among_the_temporary_files_and_is_the_users_alone(self, places):
        folder = cache_dir()
        assert folder.parent == places / "temporary"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert cache_dir() == folder

    @pytest.mark.parametrize("name", ["MASKDISTILL_CACHE", "XDG_CACHE_HOME", "HOME"])
    def test_place_that_cannot_be_written_is_passed_over(self, places, monkeypatch, name):
        blocked = places / "a file"
        blocked.write_text("in the way")
        monkeypatch.setenv(name, str(blocked / "below"))
        assert cache_dir().parent == places / "temporary"

    @pytest.mark.parametrize("mode", [0o777, 0o770])
    def test_folder_that_others_may_write_is_not_trusted(self, places, mode):
        cache_dir().chmod(mode)
        with pytest.raises(RunError, match="MASKDISTILL_CACHE"):
            cache_dir()
        assert find_cached("speeds.json") is None

    def test_link_of_somebody_else_is_not_followed(self, places):
        cache_dir().rmdir()
        (places / "elsewhere").mkdir()
        (places / "temporary" / f"maskdistill-{os.getuid()}").symlink_to(places / "elsewhere")
        with pytest.raises(RunError, match="MASKDISTILL_CACHE"):
            cache_dir()

    def test_cache_that_can_only_be_read_is_read(self, places, monkeypatch):
        monkeypatch.setenv("MASKDISTILL_CACHE", str(places / "image"))
        (places / "image").mkdir()
        (places / "image" / "speeds.json").write_text("{}")
        monkeypatch.setattr(user_folders, "is_writable", lambda folder: "image" not in folder.parts)
        assert cache_dir().parent == places / "temporary"
        assert find_cached("speeds.json") == places / "image" / "speeds.json"

    def test_libraries_are_sent_to_a_place_that_can_be_written(self, places, monkeypatch):
        monkeypatch.setattr(user_folders, "is_writable", lambda folder: folder.is_relative_to(places))
        redirect_caches(places / "run" / "cache")
        for name in ("HOME", "HF_HOME", "NUMBA_CACHE_DIR"):
            assert Path(os.environ[name]).is_relative_to(places / "temporary"), name

    def test_last_resort_is_the_run(self, places, monkeypatch):
        (places / "temporary").rmdir()
        monkeypatch.setattr(user_folders, "is_writable", lambda folder: folder.is_relative_to(places))
        redirect_caches(places / "run" / "cache")
        assert cache_dir() == places / "run" / "cache"

    @pytest.mark.parametrize("command", ["status", "decisions --csv out.csv", "jobs list", "evaluate"])
    def test_command_that_only_looks_makes_no_run_for_it(self, places, monkeypatch, capsys, command):
        (places / "temporary").rmdir()
        monkeypatch.setattr(user_folders, "is_writable", lambda folder: folder.is_relative_to(places))
        monkeypatch.chdir(places)
        assert main([*command.split(), "--run", str(places / "no run")]) == 2
        assert "no run" in capsys.readouterr().err
        with pytest.raises(RunError, match="MASKDISTILL_CACHE"):  # whoever writes there would make the folder
            cache_dir()
        assert sorted(path.name for path in places.iterdir()) == []

    def test_what_the_user_set_stays(self, places, monkeypatch):
        monkeypatch.setenv("HOME", str(places / "home"))
        monkeypatch.setenv("NUMBA_CACHE_DIR", "mine")
        redirect_caches(places / "run" / "cache")
        assert os.environ["NUMBA_CACHE_DIR"] == "mine"
        assert os.environ["HOME"] == str(places / "home")
        assert "HF_HOME" not in os.environ


class TestCores:
    @pytest.mark.parametrize(
        ("files", "cores"),
        [
            ({}, 6),
            ({"cpu.max": "max 100000\n"}, 6),
            ({"cpu.max": "200000 100000\n"}, 2),
            ({"cpu.max": "50000 100000\n"}, 1),
            ({"cpu.max": "9900000 100000\n"}, 6),
            ({"cpu.max": ""}, 6),
            ({"cpu.max": "1 0"}, 6),
            ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
            ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 6),
        ],
    )
    def test_share_of_a_container(self, tmp_path, monkeypatch, files, cores):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        monkeypatch.setattr(machine, "_CGROUP", tmp_path)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(6)), raising=False)
        assert usable_cores() == cores


def call(command, cwd=ROOT, **environment):
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(cwd), "HF_HUB_OFFLINE": "1"}
    command = command.replace("maskdistill", f"{sys.executable} $FLAGS -m maskdistill")
    return subprocess.run(
        command, shell=True, cwd=cwd, env={**variables, **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("maskdistill run --set help | head -1", 0),
        ("maskdistill --help | true", 0),
        ("maskdistill run --set help >&-", 0),
        ("maskdistill jobs list --run /nowhere 2>&-", 2),
        ("maskdistill jobs list --run /nowhere 2>/dev/full", 2),
        ("maskdistill jobs list --run /nowhere </dev/null", 2),
        ("maskdistill jobs list --run /nowhere <&-", 2),
    ],
)
def test_streams(command, code):
    done = call(command)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"COLUMNS": "0"},
        {"COLUMNS": "1"},
        {"COLUMNS": "-7"},
        {"COLUMNS": "many"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"FLAGS": "-O"},
        {"FLAGS": "-OO"},
        {"FLAGS": "-W error::DeprecationWarning"},
        {"FLAGS": "-s -B", "PYTHONNOUSERSITE": "1"},
        {"TMPDIR": "/nowhere"},
        {"HOME": ""},
        {"HOME": "/nowhere"},
    ],
    ids=str,
)
def test_terminals_and_interpreters(environment):
    done = call("maskdistill run --set help=crf && maskdistill jobs list --run /nowhere/é×", **environment)
    assert "crf.enabled" in done.stdout
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_folder_that_was_deleted_while_somebody_stood_in_it(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    done = call(f"rmdir {gone}; maskdistill jobs list --run runs/a; maskdistill jobs list --run /nowhere", cwd=gone)
    assert "Traceback" not in done.stderr
    assert done.returncode == 2
