"""``maskdistill app``: the pages, with the settings passed to the server whatever folder it is started in."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from maskdistill.errors import ConfigError
from maskdistill.roots import RUNS_VARIABLE, VARIABLE

# Flags win over every file, also over one in the folder where this is typed; those of the user come after them.
SETTINGS = (
    "--browser.gatherUsageStats=false",
    "--server.enableCORS=true",
    "--server.enableXsrfProtection=true",
    "--server.enableAgentApi=false",
    "--server.enableStaticServing=false",
    "--server.maxUploadSize=50",
    "--server.fileWatcherType=none",
    "--server.headless=true",
    "--logger.hideWelcomeMessage=true",
)


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
    flags = [*SETTINGS, f"--server.address={options.address}", f"--server.port={options.port}"]
    flags += [f"--server.allowedHosts={name}" for name in options.allow_host]
    return [sys.executable, "-m", "streamlit", "run", str(_script()), *flags, *options.streamlit]


def _variables(options: argparse.Namespace) -> dict[str, str]:
    found = {RUNS_VARIABLE: str(options.runs.absolute())} if options.runs else {}
    return {**found, VARIABLE: _joined(options.roots)} if options.roots else found


def _joined(roots: Sequence[Path]) -> str:
    for root in roots:
        if not root.is_dir():
            raise ConfigError(f"--roots: '{root}' is no folder. Give folders that exist.")
    return os.pathsep.join(str(root.resolve()) for root in roots)


def _script() -> Path:
    package = find_spec("app")
    script = Path(package.origin).with_name("main.py") if package and package.origin else Path("app/main.py")
    if not (script.is_file() and (script.parents[1] / "pages").is_dir()):
        raise ConfigError(
            "The pages are not installed. Start the command from a copy of the project: pip install -e FOLDER there."
        )
    return script
