"""The command line of a job, checked before anything is started."""

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskdistill.errors import JobError


@dataclass(frozen=True)
class Command:
    """A command that can be called."""

    options: argparse.Namespace
    settings: dict[str, Any]  # RunConfig as plain values; empty for a run that does not exist yet
    device: str  # features.device


def read_command(run: Path, arguments: Sequence[str]) -> Command:
    """Parse what a person would type after ``maskdistill``.

    Args:
        run: Run folder.
        arguments: Command and flags, without ``--run``.

    Raises:
        JobError: If it is no command, or one that makes no sense in the background.
        ConfigError: If a setting cannot work.
    """
    from maskdistill import cli  # half of the library: a job that waits in the queue does without
    from maskdistill.store import Run

    typed = shlex.join(("maskdistill", *arguments))
    if not arguments or arguments[0] == "jobs" or any(part.partition("=")[0] == "--run" for part in arguments):
        raise JobError(f"'{typed}' cannot be a job: it wants a command other than 'jobs', without --run.")
    try:
        options = cli.parse([*arguments, "--run", str(run)])
    except (cli.UsageError, SystemExit) as error:  # SystemExit: it only asks for help
        raise JobError(f"'{typed}' cannot be a job: {error}") from error
    if hasattr(options, "preset"):
        settings = cli.read_settings(options, Run(run))[0].to_dict()
    else:
        settings = Run(run).info()["config"]
    return Command(options, settings, settings["features"]["device"])
