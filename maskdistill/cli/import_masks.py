"""``maskdistill import``: masks made elsewhere become the masks of a run."""

import argparse
import sys
from pathlib import Path

import pandas as pd

from maskdistill.cli.settings import read_settings
from maskdistill.cli.stages import known_limit, tell_search
from maskdistill.datasets import open_source
from maskdistill.errors import ConfigError
from maskdistill.files import require_writable
from maskdistill.imports.given_masks import read_given_masks
from maskdistill.stages.chain import Options, run_stages
from maskdistill.stages.imported import describe_import
from maskdistill.storage.imported_masks import masks_path
from maskdistill.storage.progress import Reporter
from maskdistill.storage.read_files import DamagedFileError, read_table
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_lock import refuse_if_held

_MOST_NOTES = 5  # on what of the file means nothing


def import_command(options: argparse.Namespace) -> str:
    """Read the masks, match them with the photos, and make them the run's."""
    run = Run(options.run)
    require_writable(run.path, depth=3)
    run.restore_info(started_anew=options.data is not None)
    known = run.imported
    config, preset = read_settings(options, run)
    if known is None and not any(text.startswith("clusters.fit_to=") for text in options.set):
        config = config.with_overrides(["clusters.fit_to=all"])  # the first mask of a photo means nothing there
    data, masks = _wanted(options, run)
    refuse_if_held(run.path)
    _refuse_own_masks(run)
    source = open_source(data, on_progress=None if options.quiet else tell_search())
    if limit := options.limit or known_limit(run, options.data):
        source = source.limited(limit)
    reporter = Reporter(run.progress_path, "proposals", len(source.photos), quiet=options.quiet)
    with reporter:
        how = {"format": options.format, "images": options.images, "most": options.most, "before": _before(run)}
        how["crowds"] = not options.no_crowds
        brought = read_given_masks(masks, source, **how, on_progress=lambda done, _total: reporter.reach(done))
    for note in brought.record["notes"][:_MOST_NOTES]:
        sys.stderr.write(f"{note}\n")
    sentence = f"masks: {describe_import(brought.record)}. Scores: {brought.record['scores']}."

    def tell(name: str, text: str) -> None:
        if options.on_stage is not None:
            options.on_stage(name, text)

    work = Options(limit=limit, num_workers=options.workers, quiet=options.quiet, source=source, brought=brought)
    run_stages(run, data, config, preset=preset, wanted=("proposals",), options=work, on_stage=tell)
    return f"{sentence} {run.path}"


def _wanted(options: argparse.Namespace, run: Run) -> tuple[str, str]:
    """The photos and the masks; those of the run where they are not named."""
    imported = run.imported or {}
    data = options.data or (run.info()["data"] if run.exists else None)
    masks = options.masks or imported.get("from")
    if data is None:
        raise ConfigError("--data is needed for a new run: a folder of photos, a VOC or COCO folder, or sample.")
    if masks is None:
        raise ConfigError("--masks is needed: a file or folder, such as COCO json; docs/import.md has examples.")
    return data, masks


def _refuse_own_masks(run: Run) -> None:
    """Masks that a run has made itself are not replaced: what people decided on them would be about others."""
    if run.exists and run.imported is None and run.cut_masks_path.exists():
        raise ConfigError(f"{run.path} has masks that it made itself. Give another --run for masks from elsewhere.")


def _before(run: Run) -> pd.DataFrame | None:
    """The masks of an earlier import; None if there was none, or it cannot be read any more."""
    path = masks_path(Path(run.path))
    try:
        return read_table(path) if run.imported is not None and path.is_file() else None
    except DamagedFileError:
        return None
