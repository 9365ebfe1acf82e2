"""Commands that write a page to give away: ``guide`` and ``report``."""

import argparse
from dataclasses import replace
from pathlib import Path

from maskdistill.config import RunConfig, load_preset
from maskdistill.datasets import open_source
from maskdistill.errors import ConfigError, RunError
from maskdistill.files import check_place, require_writable, write_atomically
from maskdistill.handouts.photo_on_run import used_config
from maskdistill.storage.run_folder import Run


def guide_command(options: argparse.Namespace) -> str:
    """The eight steps of one photo."""
    run = None if options.run is None else Run(options.run)
    config = _guide_config(run, options)
    _check_out(options.html)
    if not options.photo.is_file():
        raise ConfigError(f"--photo wants one file of a picture, got '{options.photo}', which is none.")
    photo = open_source(options.photo).photos[0]
    # What follows loads torch, which takes seconds.
    from maskdistill.features.backbone import load_backbone
    from maskdistill.handouts.guide import guide_page
    from maskdistill.handouts.guide_subject import GuideSubject

    subject = GuideSubject.of(photo, config, load_backbone(config.features), run)
    return _write(options.html, guide_page(subject))


def report_command(options: argparse.Namespace) -> str:
    """What each stage of a run brought."""
    from maskdistill.handouts.report import report_page

    _check_out(options.html)
    return _write(options.html, report_page(Run(options.run)))


def _guide_config(run: Run | None, options: argparse.Namespace) -> RunConfig:
    """Settings of the run or the preset, with those typed on top; the run's models need its own features."""
    if run is None:
        config = load_preset(options.preset or "quick")
    else:
        found = used_config(run)
        config = found if options.preset is None else replace(load_preset(options.preset), features=found.features)
        if options.backbone and options.backbone != found.features.backbone:
            raise RunError(
                f"The run was made with the backbone {found.features.backbone}, whose features its models read. "
                "Leave out --backbone, or --run."
            )
    typed = [*options.set, *([f"features.backbone={options.backbone}"] if options.backbone else [])]
    changed = config.with_overrides(typed)
    if run is not None and changed.features != config.features:
        raise RunError("The run's models read the features that it was made with. Leave such settings out.")
    return changed


def _check_out(out: Path) -> None:
    check_place(out, "file")
    require_writable(out.absolute().parent)


def _write(out: Path, content: str) -> str:
    write_atomically(out, content)
    return f"{out} ({len(content.encode()) / 2**20:.1f} MB); open it in any browser."
