"""The command line: progress on standard error, results on standard output, exit codes 0, 2 and 130."""

import argparse
import difflib
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from maskdistill import __version__
from maskdistill.config import RunConfig, load_preset, preset_names, setting_names
from maskdistill.datasets import open_source
from maskdistill.errors import ConfigError, MaskDistillError
from maskdistill.store import Run

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
STAGES = ("proposals",)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = build_parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(_unknown_flag(unknown[0], parser, options.command))
    if options.run is None:  # checked after the typos: --rum should be named, not "--run is missing"
        parser.error(f"{options.command} needs --run FOLDER")
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s")
    signal.signal(signal.SIGTERM, _interrupt)  # a scheduler's stop keeps what is finished, as Ctrl-C does
    try:
        options.call(options)
    except MaskDistillError as error:
        sys.stderr.write(f"maskdistill: {error}\n")
        return EXIT_BAD_INPUT
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        sys.stderr.write(f"maskdistill: {error.strerror or error}{where}. Finished photos are kept.\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nmaskdistill: stopped; what is finished is kept. Start the same command again to go on.\n")
        return EXIT_INTERRUPTED
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="maskdistill", description="Unsupervised semantic segmentation: MaskDistill, arXiv 2206.06363."
    )
    parser.add_argument("--version", action="version", version=f"maskdistill {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add(commands, "run", "every stage in order, resuming", run_command, _stage_flags, _until_flag)
    _add(commands, "propose", "object masks of every photo", propose_command, _stage_flags)
    _add(commands, "status", "what is done, stale or missing", status_command)
    return parser


def run_command(options: argparse.Namespace) -> None:
    """Every stage up to ``--until``."""
    propose_command(options)


def propose_command(options: argparse.Namespace) -> None:
    """Stage proposals."""
    from maskdistill.stages.propose import Shard, propose_photos  # imports torch: not for --help or a typo

    run = Run(options.run)
    shard = Shard.parse(options.shard) if options.shard else None
    config, preset = read_settings(options, run)
    data = options.data or (run.info()["data"] if run.exists else None)
    if data is None:
        raise ConfigError("--data is needed for a new run: a folder of photos, a VOC or COCO folder, or sample.")
    source = open_source(data)
    if options.limit:
        source = source.limited(options.limit)
    summary = propose_photos(
        run, source, config, preset=preset, shard=shard, num_workers=options.workers, quiet=options.quiet
    )
    backbone = run.info()["backbone"]
    sys.stderr.write(f"Weights: {backbone['name']}, because {backbone['reason']}. {backbone['weights']}\n")
    sys.stdout.write(f"{summary.sentence} {run.proposals_path if summary.complete else run.path}\n")


def status_command(options: argparse.Namespace) -> None:
    """Stages of a run, and what is stale."""
    from maskdistill.stages.status import describe_run

    sys.stdout.write(describe_run(Run(options.run)) + "\n")


def read_settings(options: argparse.Namespace, run: Run) -> tuple[RunConfig, str]:
    """Settings of a command, and the name of their preset.

    ``--preset`` starts from that preset; without it an existing run keeps its own settings, and a new one takes
    ``quick``. ``--backbone``, ``--seed`` and ``--set`` change single values of that.
    """
    if options.preset is None and run.exists:
        info = run.info()
        config, preset = RunConfig.from_dict(info["config"]), info["preset"]
    else:
        preset = options.preset or "quick"
        config = load_preset(preset)
    overrides = list(options.set)
    if options.seed is not None:
        overrides.insert(0, f"seed={options.seed}")
    known = run.info().get("backbone", {}) if run.exists else {}
    if options.backbone is not None and options.backbone not in (known.get("requested"), known.get("name")):
        overrides[:0] = [f"features.backbone={options.backbone}", "features.shorter_side=0"]
    return config.with_overrides(overrides), preset


def _add(
    commands: argparse._SubParsersAction,
    name: str,
    summary: str,
    call: Callable[[argparse.Namespace], None],
    *flags: Callable[[argparse.ArgumentParser], None],
) -> None:
    command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    command.add_argument("--run", type=Path, help="run folder; made if missing")
    command.add_argument("-v", "--verbose", action="store_true", help="say more on standard error")
    for add_flags in flags:
        add_flags(command)
    command.set_defaults(call=call)


def _stage_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", help="folder of photos, VOC folder, COCO folder or json, sample, sample-views")
    command.add_argument("--preset", choices=preset_names(), help="settings to start from (quick)")
    command.add_argument("--backbone", help="auto, focus_vits14, dino_vits16, ..., a timm name, or a file of weights")
    command.add_argument("--seed", type=int, help="seed of every random choice (0)")
    command.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help=f"one setting: {', '.join(setting_names())}"
    )
    command.add_argument("--limit", type=_positive, help="at most so many photos, spread over the source")
    command.add_argument("--shard", metavar="I/N", help="do the i-th of n parts; the last to finish merges")
    command.add_argument("--workers", type=_not_negative, default=0, help="processes (0: one per core)")
    command.add_argument("--quiet", action="store_true", help="no progress")


def _until_flag(command: argparse.ArgumentParser) -> None:
    command.add_argument("--until", choices=STAGES, default=STAGES[-1], help="last stage to do")


def _positive(text: str) -> int:
    value = _not_negative(text)
    if value == 0:
        raise argparse.ArgumentTypeError("must be at least 1, got 0")
    return value


def _not_negative(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a whole number, got '{text}'")
    return int(text)


def _unknown_flag(flag: str, parser: argparse.ArgumentParser, command: str) -> str:
    subparsers = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    known = list(subparsers.choices[command]._option_string_actions)
    near = difflib.get_close_matches(flag.split("=")[0], known, n=1)
    hint = f" Did you mean {near[0]}?" if near else f" See: maskdistill {command} --help."
    return f"unknown argument '{flag}'.{hint}"


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
