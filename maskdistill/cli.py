"""The command line: progress on standard error, results on standard output, exit codes 0, 2 and 130."""

import argparse
import difflib
import json
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from maskdistill import __version__
from maskdistill.cli_flags import evaluate_flags, export_flags, predict_flags, stage_flags, until_flag
from maskdistill.config import RunConfig, load_preset
from maskdistill.errors import ConfigError, MaskDistillError
from maskdistill.stages.chain import BY_NAME, NAMES, Options, run_stages
from maskdistill.stages.propose import Shard
from maskdistill.store import Run

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
STAGE_COMMANDS = {
    "propose": ("proposals",),
    "embed": ("embeddings",),
    "cluster": ("clusters",),
    "project": ("projection",),
    "train-stage1": ("stage1", "candidates"),
    "filter": ("filter",),
    "pseudo-label": ("pseudo_labels",),
    "train-stage2": ("stage2",),
}


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
    _add(commands, "run", "every stage in order, resuming", run_command, stage_flags, until_flag)
    for name, stages in STAGE_COMMANDS.items():
        summary = " and ".join(BY_NAME[stage].summary for stage in stages)
        _add(commands, name, summary, stage_command, stage_flags)
    _add(commands, "evaluate", "compare a run's label maps with ground truth", evaluate_command, evaluate_flags)
    _add(commands, "predict", "label maps of new photos, palette PNG", predict_command, predict_flags)
    _add(commands, "export", "masks and label maps for other tools", export_command, export_flags)
    _add(commands, "status", "what is done, stale or missing", status_command)
    return parser


def run_command(options: argparse.Namespace) -> None:
    """Every stage up to ``--until``."""
    last = NAMES.index(options.until)
    _run(options, NAMES[: last + 1])


def stage_command(options: argparse.Namespace) -> None:
    """One stage, and what it needs."""
    _run(options, STAGE_COMMANDS[options.command])


def _run(options: argparse.Namespace, wanted: Sequence[str]) -> None:
    run = Run(options.run)
    config, preset = read_settings(options, run)
    data = options.data or (run.info()["data"] if run.exists else None)
    if data is None:
        raise ConfigError("--data is needed for a new run: a folder of photos, a VOC or COCO folder, or sample.")
    how = Options(
        shard=Shard.parse(options.shard) if options.shard else None,
        limit=options.limit or _known_limit(run, options.data),
        num_workers=options.workers,
        quiet=options.quiet,
    )
    sentences: dict[str, str] = {}

    def note(name: str, sentence: str) -> None:
        sentences[name] = sentence
        if not options.quiet:
            sys.stderr.write(f"{name}: {sentence}\n")

    run_stages(run, data, config, preset=preset, wanted=wanted, options=how, on_stage=note)
    backbone = run.info()["backbone"]
    sys.stderr.write(f"Weights: {backbone['name']}, because {backbone['reason']}. {backbone['weights']}\n")
    busy = [name for name, sentence in sentences.items() if not sentence.startswith("Nothing to do")]
    if not busy:
        sys.stdout.write(f"Nothing to do: {len(sentences)} stages of {run.path} are up to date.\n")
    else:
        told = "evaluation" if "evaluation" in busy else busy[-1]
        sys.stdout.write(f"{sentences[told]} {run.path}\n")


def _known_limit(run: Run, data: str | None) -> int:
    """The limit that a run was made with, unless other data is named."""
    return run.info().get("limit", 0) if data is None and run.exists else 0


def evaluate_command(options: argparse.Namespace) -> None:
    """Measures against ground truth, as text or as one JSON object."""
    from maskdistill.reporting import describe_report, evaluate  # numpy and more: not for --help or a typo

    found = evaluate(Run(options.run), options.data, split=options.split, crf=options.crf, stage=options.stage)
    text = json.dumps(found) if options.json else describe_report(found)
    sys.stdout.write(text + "\n")


def predict_command(options: argparse.Namespace) -> None:
    """One palette PNG a photo."""
    from maskdistill.reporting import predict_folder

    sentence = predict_folder(
        Run(options.run), options.images, options.out, crf=options.crf, stage=options.stage, quiet=options.quiet
    )
    sys.stdout.write(sentence + "\n")


def export_command(options: argparse.Namespace) -> None:
    """Masks and label maps in another tool's format."""
    from maskdistill.exports.run import export_run

    sentence = export_run(Run(options.run), options.format, options.out, kept_only=options.kept_only)
    sys.stdout.write(sentence + "\n")


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
    if options.num_classes is not None:
        overrides.insert(0, f"clusters.num_classes={options.num_classes}")
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


def _unknown_flag(flag: str, parser: argparse.ArgumentParser, command: str) -> str:
    subparsers = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    known = list(subparsers.choices[command]._option_string_actions)
    near = difflib.get_close_matches(flag.split("=")[0], known, n=1)
    hint = f" Did you mean {near[0]}?" if near else f" See: maskdistill {command} --help."
    return f"unknown argument '{flag}'.{hint}"


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
