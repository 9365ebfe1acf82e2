"""``maskdistill app``: the pages, with the settings passed to the server whatever folder it is started in."""

import argparse
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from maskdistill.errors import ConfigError
from maskdistill.roots import RUNS_VARIABLE, VARIABLE

_SECTIONS = ("browser", "logger", "server")  # of the app's settings: who may use the server, and what it does for them


def app_command(options: argparse.Namespace) -> str:
    """Start the server in place of this process; comes back only where a process can't be replaced.

    Raises:
        ConfigError: If the pages are not installed, or a root is no folder.
    """
    command, environment = server_command(options), {**os.environ, **_variables(options)}
    if os.name == "posix":
        os.execve(command[0], command, environment)
    raise SystemExit(subprocess.call(command, env=environment))


def server_command(options: argparse.Namespace) -> list[str]:
    """What is started.

    Raises:
        ConfigError: If the pages are not installed.
    """
    script = _script(_root())
    flags = [*_settings(script), f"--server.address={options.address}", f"--server.port={options.port}"]
    flags += [f"--server.allowedHosts={name}" for name in options.allow_host]
    # -P: a file app.py or a folder app in the folder where this is typed is not taken for the app's own.
    return [sys.executable, "-P", "-m", "streamlit", "run", str(script), *flags, *options.streamlit]


def _settings(script: Path) -> list[str]:
    """The app's settings as flags: these win over variables and over files in the folder where this is typed."""
    sections = tomllib.loads((script.parent / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    values = {f"{name}.{key}": value for name in _SECTIONS for key, value in sections[name].items()}
    return [f"--{name}={str(value).lower()}" for name, value in values.items() if not isinstance(value, list)]


def _variables(options: argparse.Namespace) -> dict[str, str]:
    path = os.pathsep.join([str(_root()), *filter(None, [os.environ.get("PYTHONPATH")])])  # the pages import ``app``
    found = {"PYTHONPATH": path, **({RUNS_VARIABLE: str(options.runs.absolute())} if options.runs else {})}
    return {**found, VARIABLE: _joined(options.roots)} if options.roots else found


def _joined(roots: Sequence[Path]) -> str:
    for root in roots:
        if not root.is_dir():
            raise ConfigError(f"--roots: '{root}' is no folder. Give folders that exist.")
    return os.pathsep.join(str(root.resolve()) for root in roots)


def _script(root: Path) -> Path:
    return root / "app" / "main.py"


def _root() -> Path:
    """The folder of ``app`` and ``pages``: in a wheel within the library, else beside it."""
    library = Path(__file__).resolve().parents[1]
    for root in (library / "_explorer", library.parent):
        if _script(root).is_file() and (root / "pages").is_dir():
            return root
    raise ConfigError(
        f"The pages are not beside {library}. Install the project's wheel, or a copy of it: pip install -e FOLDER"
    )
