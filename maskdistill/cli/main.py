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
from maskdistill.cli.alternatives import add_try_command
from maskdistill.cli.flags import decisions_flags, evaluate_flags, export_flags, predict_flags, stage_flags, until_flag
from maskdistill.cli.jobs import add_jobs_command
from maskdistill.config import RunConfig, load_preset
from maskdistill.errors import ConfigError, MaskDistillError
from maskdistill.stages.chain import Options, run_stages
from maskdistill.stages.propose import Shard
from maskdistill.stages.stage_list import BY_NAME, NAMES
from maskdistill.storage.run_folder import Run

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
STAGE_COMMANDS = {
    "propose": ("proposals",),
    "embed": ("embeddings",),
    "cluster": ("clusters", "classes"),
    "project": ("projection",),
    "train-stage1": ("stage1", "candidates"),
    "filter": ("filter",),
    "pseudo-label": ("pseudo_labels",),
    "train-stage2": ("stage2",),
}


class UsageError(Exception):
    """A command line that cannot be read."""

    def __init__(self, parser: argparse.ArgumentParser, message: str) -> None:
        super().__init__(message)
        self.parser = parser


class Parser(argparse.ArgumentParser):
    """Raises what is wrong: a server that checks a command line must not be ended by it."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse.

        Raises:
            UsageError: Always.
        """
        raise UsageError(self, message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    try:
        options = parse(arguments)
    except UsageError as error:
        argparse.ArgumentParser.error(error.parser, str(error))
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s")
    signal.signal(signal.SIGTERM, _interrupt)  # a scheduler's stop keeps what is finished, as Ctrl-C does
    try:
        text = call(options)
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
    if text:
        sys.stdout.write(f"{text}\n")
    return 0


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """A command line as options, for ``call``.

    Raises:
        UsageError: If it cannot be read; the message names what was meant.
        SystemExit: If it asks for help or the version, after printing that.
    """
    parser = build_parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        options.parser.error(_unknown_flag(unknown[0], options.parser))
    if options.run is None:  # checked after the typos: --rum should be named, not "--run is missing"
        options.parser.error(f"{options.parser.prog.partition(' ')[2]} needs --run FOLDER")
    return options


def call(options: argparse.Namespace) -> str:
    """Do what a command line says; returns what belongs on standard output.

    Raises:
        MaskDistillError: If it cannot be done.
        OSError: If a file cannot be read or written.
        KeyboardInterrupt: On Ctrl-C, with all that was finished kept.
    """
    return options.call(options)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = Parser(
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
    _add(commands, "decisions", "what people decided: a summary, or all as CSV", decisions_command, decisions_flags)
    _add(commands, "status", "what is done, stale or missing, and jobs at work", status_command)
    add_try_command(commands, _add)
    add_jobs_command(commands, _add)
    return parser


def run_command(options: argparse.Namespace) -> str:
    """Every stage up to ``--until``."""
    last = NAMES.index(options.until)
    return _run(options, NAMES[: last + 1])


def stage_command(options: argparse.Namespace) -> str:
    """One stage, and what it needs."""
    return _run(options, STAGE_COMMANDS[options.command])


def _run(options: argparse.Namespace, wanted: Sequence[str]) -> str:
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
        if options.on_stage is not None:
            options.on_stage(name, sentence)
        if not options.quiet:
            sys.stderr.write(f"{name}: {sentence}\n")

    run_stages(run, data, config, preset=preset, wanted=wanted, options=how, on_stage=note)
    backbone = run.info()["backbone"]
    sys.stderr.write(f"Weights: {backbone['name']}, because {backbone['reason']}. {backbone['weights']}\n")
    busy = [name for name, sentence in sentences.items() if not sentence.startswith("Nothing to do")]
    if not busy:
        return f"Nothing to do: {len(sentences)} stages of {run.path} are up to date."
    told = "evaluation" if "evaluation" in busy else busy[-1]
    return f"{sentences[told]} {run.path}"


def _known_limit(run: Run, data: str | None) -> int:
    """The limit that a run was made with, unless other data is named."""
    return run.info().get("limit", 0) if data is None and run.exists else 0


def evaluate_command(options: argparse.Namespace) -> str:
    """Measures against ground truth, as text or as one JSON object."""
    from maskdistill.evaluation.report import describe_report, evaluate  # numpy and more: not for --help or a typo

    found = evaluate(Run(options.run), options.data, split=options.split, crf=options.crf, stage=options.stage)
    return json.dumps(found) if options.json else describe_report(found)


def predict_command(options: argparse.Namespace) -> str:
    """One palette PNG a photo."""
    from maskdistill.evaluation.report import predict_folder

    return predict_folder(
        Run(options.run), options.images, options.out, crf=options.crf, stage=options.stage, quiet=options.quiet
    )


def export_command(options: argparse.Namespace) -> str:
    """Masks and label maps in another tool's format."""
    from maskdistill.exports.run import export_run

    return export_run(Run(options.run), options.format, options.out, kept_only=options.kept_only)


def decisions_command(options: argparse.Namespace) -> str:
    """A summary of people's decisions, or every mark as CSV."""
    from maskdistill.files import write_atomically
    from maskdistill.review.decisions import summarise, to_csv

    run = Run(options.run)
    run.info()  # says what is wrong if this is no run
    if options.csv is None:
        return summarise(run)
    text = to_csv(run)
    if options.csv == "-":
        return text.rstrip("\n")
    write_atomically(Path(options.csv), text)
    return f"All marks in {options.csv}."


def status_command(options: argparse.Namespace) -> str:
    """Stages of a run, and what is stale."""
    from maskdistill.stages.status import describe_run

    return describe_run(Run(options.run))


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
    call: Callable[[argparse.Namespace], str],
    *flags: Callable[[argparse.ArgumentParser], None],
) -> None:
    command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    command.add_argument("--run", type=Path, help="run folder; made if missing")
    command.add_argument("-v", "--verbose", action="store_true", help="say more on standard error")
    for add_flags in flags:
        add_flags(command)
    command.set_defaults(call=call, parser=command, on_stage=None)


def _unknown_flag(flag: str, parser: argparse.ArgumentParser) -> str:
    near = difflib.get_close_matches(flag.split("=")[0], list(parser._option_string_actions), n=1)
    hint = f" Did you mean {near[0]}?" if near else f" See: {parser.prog} --help."
    return f"unknown argument '{flag}'.{hint}"


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
