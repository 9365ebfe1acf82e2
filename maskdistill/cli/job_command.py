"""Background jobs by the command that a person would type, checked before anything is started."""

import argparse
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskdistill.cli.main import UsageError, parse
from maskdistill.cli.settings import read_settings
from maskdistill.errors import JobError
from maskdistill.features.registry import FILE_SUFFIXES
from maskdistill.files import expand_user
from maskdistill.jobs import Submitted, submit
from maskdistill.roots import VARIABLE, confine


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
        JobError: If it is no command, or one that makes no sense in the background, or a path leads out of the roots.
        ConfigError: If a setting cannot work.
    """
    from maskdistill.storage.run_folder import Run  # loads pandas: a job that waits in the queue does without

    typed = shlex.join(("maskdistill", *arguments))
    if not arguments or arguments[0] in ("jobs", "app") or any(part.partition("=")[0] == "--run" for part in arguments):
        raise JobError(f"'{typed}' cannot be a job: it wants a command other than 'jobs' and 'app', without --run.")
    try:
        options = parse([*arguments, "--run", str(run)])
    except (UsageError, SystemExit) as error:  # SystemExit: it only asks for help
        raise JobError(f"'{typed}' cannot be a job: {error}") from error
    _confine(_paths(options))  # before the run's settings are read
    if getattr(options, "address", "") and VARIABLE in os.environ:
        raise JobError("--address is not for visitors: a cluster runs what it is sent. Set RAY_ADDRESS for the app.")
    if hasattr(options, "preset"):
        settings = read_settings(options, Run(run))[0].to_dict()
    else:
        settings = Run(run).info()["config"]
    _confine(_weights(settings))
    return Command(options, settings, settings["features"]["device"])


def _confine(paths: Sequence[str]) -> None:
    for path in paths:
        confine(expand_user(path), JobError)


def _paths(options: argparse.Namespace) -> list[str]:
    values = [getattr(options, name, None) for name in ("run", "data", "images", "masks", "out", "csv")]
    return [str(value) for value in values if value and value not in ("sample", "sample-views", "-")]


def _weights(settings: dict[str, Any]) -> list[str]:
    sections = [section for section in settings.values() if isinstance(section, dict)]
    backbones = [section.get("backbone", "") for section in sections]
    files = [section.get("weights", "") for section in sections]  # whatever their suffix
    return [path for path in [*files, *(name for name in backbones if name.endswith(FILE_SUFFIXES))] if path]


def submit_command(run: Path, arguments: Sequence[str], *, title: str) -> Submitted:
    """Have a command of the command line done in the background, after checking it.

    Args:
        run: Run folder; made if missing.
        arguments: What a person would type after ``maskdistill``, without ``--run``.
        title: What it does, for people.

    Returns:
        The job. ``is_new`` is False if the same command was under way in this run already.

    Raises:
        JobError: If it is no command, or its process cannot be started.
        ConfigError: If a setting cannot work.
        RunError: If the run's database cannot be written.
    """
    command = read_command(run.absolute(), arguments)
    return submit(run, arguments, title=title, device=command.device, settings=command.settings)


def submit_run(
    run: Path,
    data: str,
    *,
    until: str = "proposals",
    overrides: Sequence[str] = (),
    preset: str | None = None,
    limit: int | None = None,
    title: str | None = None,
    flags: Sequence[str] = (),
) -> Submitted:
    """``submit_command`` for ``maskdistill run``.

    Args:
        run: Run folder; made if missing.
        data: Source of photos.
        until: Last stage.
        overrides: ``section.name=value`` settings.
        preset: Settings to start from; None keeps the run's own, or takes the default.
        limit: At most so many photos.
        title: What it does, for people; None names the last stage.
        flags: More of the command, as where photos are worked on.

    Raises:
        JobError: If the process cannot be started.
        ConfigError: If a setting cannot work.
        RunError: If the run's database cannot be written.
    """
    arguments = ["run", "--data", data, "--until", until]
    arguments += ["--preset", preset] if preset else []
    arguments += ["--limit", str(limit)] if limit else []
    arguments += [part for override in overrides for part in ("--set", override)]
    arguments += flags
    return submit_command(run, arguments, title=title or f"Everything up to {until}")
