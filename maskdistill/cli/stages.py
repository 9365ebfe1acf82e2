"""``maskdistill run`` and the commands of single stages."""

import argparse
import sys
import time
from collections.abc import Sequence

from maskdistill.cli.settings import read_settings
from maskdistill.datasets import ProgressCallback
from maskdistill.errors import ConfigError
from maskdistill.files import require_writable
from maskdistill.stages.chain import Options, run_stages
from maskdistill.stages.shards import Shard
from maskdistill.stages.stage_list import NAMES
from maskdistill.stages.time_estimates import record_speed
from maskdistill.storage.run_folder import Run

SEARCH_INTERVAL = 5.0  # seconds between two lines about the search for photos


def run_command(options: argparse.Namespace) -> str:
    """Every stage up to ``--until``."""
    return _run(options, NAMES[: NAMES.index(options.until) + 1])


def stage_command(options: argparse.Namespace) -> str:
    """One stage, and what it needs."""
    return _run(options, options.stages)


def _run(options: argparse.Namespace, wanted: Sequence[str]) -> str:
    run = Run(options.run)
    require_writable(run.path, depth=3)
    run.restore_info(started_anew=options.data is not None)
    config, preset = read_settings(options, run)
    data = options.data or (run.info()["data"] if run.exists else None)
    if data is None:
        raise ConfigError("--data is needed for a new run: a folder of photos, a VOC or COCO folder, or sample.")
    how = Options(
        shard=Shard.parse(options.shard) if options.shard else None,
        limit=options.limit or known_limit(run, options.data),
        num_workers=options.workers,
        engine=options.engine,
        address=options.address,
        quiet=options.quiet,
        on_finished=record_speed,
        on_search=None if options.quiet else tell_search(),
        on_disk=Options.on_disk if options.quiet else _say,
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
    return _result(run, sentences)


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


def tell_search() -> ProgressCallback:
    """Says every few seconds how far the search for photos is, so that a whole disk given by mistake is noticed."""
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= SEARCH_INTERVAL:
            last = time.monotonic()
            sys.stderr.write(f"photos: {done:,} of {total:,} read\n" if total else f"photos: {done:,} files seen\n")

    return tell


def _result(run: Run, sentences: dict[str, str]) -> str:
    """The line for standard output: the report if there is a new one, else what was made last."""
    made = [name for name, sentence in sentences.items() if not sentence.startswith("Nothing to do")]
    if not made:
        return f"Nothing to do: {len(sentences)} stages of {run.path} are up to date."
    return f"{sentences['evaluation' if 'evaluation' in made else made[-1]]} {run.path}"


def known_limit(run: Run, data: str | None) -> int:
    """The limit that a run was made with, unless other data is named."""
    return run.info().get("limit", 0) if data is None and run.exists else 0
