"""The command line: progress on standard error, results on standard output, exit codes 0, 1, 2 and 130.

Parsing imports neither numpy nor any stage: what a command does stands in a module that is imported when it is called.
"""

import argparse
import difflib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from maskdistill import __version__, roots
from maskdistill.cli import flags
from maskdistill.cli.streams import drop_output, settle_streams, write_output
from maskdistill.errors import MaskDistillError, RunError
from maskdistill.files import describe_file_error, is_disk_full
from maskdistill.machine import explain_lack_of_memory
from maskdistill.stages.stage_list import BY_NAME
from maskdistill.storage.user_folders import cache_dir, redirect_caches

EXIT_FILE_ERROR = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
_HEAD, _TAIL = 1500, 500  # characters of a message; it may repeat a value of any length
STAGE_COMMANDS = {
    "propose": ("proposals",),
    "foreground": ("foreground",),
    "repairs": ("repairs",),
    "embed": ("embeddings",),
    "cluster": ("clusters", "classes"),
    "project": ("projection",),
    "train-stage1": ("stage1", "candidates"),
    "instances": ("instances",),
    "filter": ("filter",),
    "pseudo-label": ("pseudo_labels",),
    "train-stage2": ("stage2",),
}
_MAKING = ("stages", "serve")  # modules of commands that may make their folder


class UsageError(Exception):
    """A command line that cannot be read."""

    def __init__(self, parser: argparse.ArgumentParser, message: str) -> None:
        super().__init__(message)
        self.parser = parser


class Parser(argparse.ArgumentParser):
    """Raises an error where argparse would end the process: a server checks command lines too."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse.

        Raises:
            UsageError: Always.
        """
        raise UsageError(self, message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    settle_streams()
    _take_signals(_interrupt)
    try:
        options = parse(arguments)
        logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s")
        sys.excepthook = partial(_tell_fault, options.verbose)
        if options.command != "app":  # who types has the account's rights; jobs that the app starts stay confined
            os.environ.pop(roots.VARIABLE, None)
        text = call(options)
        write_output(f"{text}\n" if text else "")
    except UsageError as error:
        argparse.ArgumentParser.error(error.parser, _in_short(error))
    except SystemExit:  # it printed help, perhaps for a reader that has gone
        write_output("")
        raise
    except MaskDistillError as error:
        sys.stderr.write(f"maskdistill: {_in_short(error)}\n")
        return EXIT_BAD_INPUT
    except BrokenPipeError:  # whoever read the output has seen enough
        drop_output()
    except OSError as error:
        kept = "" if is_disk_full(error) else " What is finished is kept."  # which that sentence says itself
        sys.stderr.write(f"maskdistill: {describe_file_error(error, options.run)}{kept}\n")
        return EXIT_FILE_ERROR
    except KeyboardInterrupt:
        _take_signals(signal.SIG_IGN)
        sys.stderr.write("\nmaskdistill: stopped; what is finished is kept. Start the same command again to go on.\n")
        return EXIT_INTERRUPTED
    return 0


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """A command line as options, for ``call``.

    Raises:
        UsageError: If it cannot be read; the message names the argument that was probably meant.
        SystemExit: If it asks for help or the version, after printing that.
    """
    parser = build_parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        options.parser.error(_unknown_flag(unknown[0], options.parser))
    if options.run is None and options.run_needed:  # after the typos: --rum should be named
        options.parser.error(f"{options.parser.prog.partition(' ')[2]} needs --run FOLDER")
    return options


def call(options: argparse.Namespace) -> str:
    """Do what a command line asks for; returns what belongs on standard output.

    Raises:
        MaskDistillError: If it cannot be done.
        OSError: If a file cannot be read or written.
        KeyboardInterrupt: On Ctrl-C, with all that was finished kept.
    """
    module, _, function = options.call.partition(":")
    run = options.run or Path()  # of a guide without one
    makes_run = module in _MAKING or (run / "run.json").is_file()  # who only looks leaves no folder behind
    redirect_caches(run / "cache" if makes_run else None)
    with explain_lack_of_memory():
        return getattr(import_module(f"maskdistill.cli.{module}"), function)(options)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = Parser(
        prog="maskdistill", description="Unsupervised semantic segmentation: MaskDistill, arXiv 2206.06363."
    )
    parser.add_argument("--version", action="version", version=f"maskdistill {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add(commands, "run", "every stage in order, resuming", "stages:run_command", flags.stage, flags.until)
    for name, stages in STAGE_COMMANDS.items():
        summary = " and ".join(BY_NAME[stage].summary for stage in stages)
        _add(commands, name, summary, "stages:stage_command", flags.stage, stages=stages)
    summary = "masks made elsewhere become a run's masks: COCO, SAM, YOLO, PNG, VOC, FiftyOne"
    _add(commands, "import", summary, "import_masks:import_command", flags.given_masks)
    summary = "compare a run's label maps with ground truth"
    _add(commands, "evaluate", summary, "results:evaluate_command", flags.evaluate)
    _add(commands, "predict", "label maps of new photos, palette PNG", "results:predict_command", flags.predict)
    _add(commands, "export", "masks, label maps or the model for other tools", "results:export_command", flags.export)
    summary = "one photo's way in eight steps as one HTML file, for a class"
    _add(commands, "guide", summary, "handouts:guide_command", flags.guide, run_needed=False)
    summary = "what each stage of a run brought, with pictures, as one HTML file"
    _add(commands, "report", summary, "handouts:report_command", flags.report)
    summary = "what people decided: a summary, or all as CSV"
    _add(commands, "decisions", summary, "results:decisions_command", flags.decisions)
    _add(commands, "status", "what is done, stale or missing, and the jobs that run or wait", "status:status_command")
    summary = "other clusterings of a run's masks, to compare with its own"
    _add(commands, "try", summary, "alternatives:try_command", flags.alternatives)
    summary = "which block and kind of feature to take for a transformer, on some photos"
    _add_without_run(commands, "probe-features", summary, "probe_features:probe_features_command", flags.probe_features)
    summary = "a published experiment: files, runs for three seeds, our figures beside the paper's"
    _add_without_run(commands, "reproduce", summary, "reproduce:reproduce_command", flags.reproduce)
    _add_jobs(commands)
    _add_app(commands)
    return parser


def _add_without_run(
    commands: "argparse._SubParsersAction[Any]",
    name: str,
    summary: str,
    call: str,
    add_flags: Callable[[argparse.ArgumentParser], None],
) -> None:
    """Add a command that works on no run."""
    command = commands.add_parser(name, help=summary, description=_sentence(summary))
    command.add_argument("-v", "--verbose", action="store_true", help="print more on standard error")
    add_flags(command)
    command.set_defaults(call=call, parser=command, run=Path(), on_stage=None)


def _add_jobs(commands: "argparse._SubParsersAction[Any]") -> None:
    summary = "background jobs of a run: list, show, stop, resume, logs"
    jobs = commands.add_parser("jobs", help=summary, description=_sentence(summary))
    actions = jobs.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add(actions, "list", "every job, newest first", "jobs:list_command", flags.as_json)
    _add(actions, "show", "all that is known of a job", "jobs:show_command", flags.job_id, flags.as_json)
    summary = "stop a job and wait until it has ended; what is finished is kept"
    _add(actions, "stop", summary, "jobs:stop_command", flags.job_id)
    summary = "continue a job from its last checkpoint, in the background"
    _add(actions, "resume", summary, "jobs:resume_command", flags.job_id)
    _add(actions, "logs", "what a job printed", "jobs:logs_command", flags.job_id, flags.log)


def _add_app(commands: "argparse._SubParsersAction[Any]") -> None:
    summary = "the pages in a browser, for this machine only unless --address says otherwise"
    command = commands.add_parser("app", help=summary, description=_sentence(summary))
    flags.app(command)
    command.set_defaults(call="serve:app_command", parser=command, run=Path(), run_needed=False, verbose=False)


def _add(
    commands: "argparse._SubParsersAction[Any]",
    name: str,
    summary: str,
    call: str,
    *add_flags: Callable[[argparse.ArgumentParser], None],
    **defaults: Any,
) -> None:
    """Add a command that does ``call``, a "module:function" of this package."""
    command = commands.add_parser(name, help=summary, description=_sentence(summary))
    command.add_argument("--run", type=flags.path, help="run folder; made if missing")
    command.add_argument("-v", "--verbose", action="store_true", help="print more on standard error")
    for add in add_flags:
        add(command)
    command.set_defaults(**{"call": call, "parser": command, "on_stage": None, "run_needed": True, **defaults})


def _in_short(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]} … {text[-_TAIL:]}"


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _unknown_flag(flag: str, parser: argparse.ArgumentParser) -> str:
    near = difflib.get_close_matches(flag.split("=")[0], list(parser._option_string_actions), n=1)
    hint = f" Did you mean {near[0]}?" if near else f" See: {parser.prog} --help."
    return f"unknown argument '{flag}'.{hint}"


def _take_signals(handler: Callable[[int, Any], None] | signal.Handlers) -> None:
    """A scheduler's stop and a closed terminal keep what is finished, as Ctrl-C does; ``nohup`` stays in force."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and (name == "SIGTERM" or signal.getsignal(number) is not signal.SIG_IGN):
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    _take_signals(_wait)
    raise KeyboardInterrupt


def _wait(_number: int, _frame: object) -> None:
    """What is finished is being written, which takes a moment; whoever asks a third time wants no moment."""
    _take_signals(lambda _number, _frame: os._exit(EXIT_INTERRUPTED))


def _tell_fault(verbose: bool, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A fault of the program in one line; where it lies goes into a file, or to a person who asked for more."""
    text = "".join(traceback.format_exception(kind, error, trace))
    try:
        path = cache_dir() / "fault.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
        where = f"{path} says where."
    except (OSError, RunError):
        where = "The same command with --verbose says where."
    first = (str(error).strip() or kind.__name__).splitlines()[0]
    sys.stderr.write(text if verbose else "")
    sys.stderr.write(f"maskdistill: {kind.__name__}: {first}. This is a fault of the program. {where}\n")
