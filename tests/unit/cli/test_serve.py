"""``maskdistill app``: which files it serves, and what the server's process is given."""

import argparse
import sys
from pathlib import Path

import pytest

from maskdistill.cli import serve
from maskdistill.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def options():
    """What the parser gives without a flag."""
    return argparse.Namespace(address="127.0.0.1", port=8501, allow_host=[], streamlit=[], runs=None, roots=[])


def lay(root):
    """An app below that folder, as far as the command looks at it."""
    (root / "pages").mkdir(parents=True)
    (root / "app" / ".streamlit").mkdir(parents=True)
    for name in ("main.py", ".streamlit/config.toml"):
        (root / "app" / name).write_bytes((ROOT / "app" / name).read_bytes())
    return root


@pytest.fixture
def library(tmp_path, monkeypatch):
    """The folder of a library without an app, from which the command is run."""
    folder = tmp_path / "site-packages" / "maskdistill"
    monkeypatch.setattr(serve, "__file__", str(folder / "cli" / "serve.py"))
    return folder


def test_a_clone_serves_its_own_files(options):
    assert str(ROOT / "app" / "main.py") in serve.server_command(options)


@pytest.mark.parametrize("place", [".", "maskdistill/_explorer"], ids=["clone", "wheel"])
def test_the_app_is_found_beside_the_library_or_within_it(library, options, place):
    root = lay(library.parent / place)
    assert str(root / "app" / "main.py") in serve.server_command(options)
    assert serve._variables(options)["PYTHONPATH"].split(":")[0] == str(root)


def test_a_library_without_the_app_says_so(library, options):
    with pytest.raises(ConfigError, match="wheel"):
        serve.server_command(options)


def test_the_folder_where_it_is_typed_does_not_count(options, monkeypatch):
    """A file app.py there would be imported in place of the app."""
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    assert serve.server_command(options)[:2] == [sys.executable, "-P"]
    assert serve._variables(options)["PYTHONPATH"] == f"{ROOT}:/elsewhere"
