"""Commands that give out what a run has made: ``evaluate``, ``predict``, ``export``, ``decisions``."""

import argparse
import json
from pathlib import Path

from maskdistill.evaluation import report
from maskdistill.exports import run as exports
from maskdistill.files import check_place, write_atomically
from maskdistill.machine import num_gpus
from maskdistill.review.decisions import summarise, to_csv
from maskdistill.stages import predict_new
from maskdistill.stages.pool import Workers
from maskdistill.stages.shards import Shard
from maskdistill.storage.run_folder import Run


def evaluate_command(options: argparse.Namespace) -> str:
    """Measures against ground truth, as text or as one JSON object."""
    found = report.evaluate(Run(options.run), options.data, split=options.split, crf=options.crf, stage=options.stage)
    return json.dumps(found) if options.json else report.describe_report(found)


def predict_command(options: argparse.Namespace) -> str:
    """One palette PNG a photo."""
    here = options.engine == "local" and num_gpus() < 2  # most often a few photos: one process has them done sooner
    return predict_new.predict_folder(
        Run(options.run),
        options.images,
        options.out,
        crf=options.crf,
        stage=options.stage,
        workers=Workers(options.workers or int(here), options.engine, options.address),
        shard=Shard.parse(options.shard) if options.shard else None,
        quiet=options.quiet,
    )


def export_command(options: argparse.Namespace) -> str:
    """Masks and label maps in another tool's format."""
    how = {"kept_only": options.kept_only, "what": options.what, "stage": options.stage}
    return exports.export_run(Run(options.run), options.format, options.out, **how)


def decisions_command(options: argparse.Namespace) -> str:
    """A summary of people's decisions, or every mark as CSV."""
    run = Run(options.run)
    run.info()  # says what is wrong if this is no run
    if options.csv is None:
        return summarise(run)
    if options.csv != Path("-"):
        check_place(options.csv, "file")
    text = to_csv(run)
    if options.csv == Path("-"):
        return text.rstrip("\n")
    write_atomically(options.csv, text)
    return f"All marks in {options.csv}."
