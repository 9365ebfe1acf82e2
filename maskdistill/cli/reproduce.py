"""``maskdistill reproduce``: a published experiment from files to the report beside the paper; resumes."""

import argparse
import sys

from maskdistill.config import RunConfig, load_preset
from maskdistill.files import expand_user, require_writable
from maskdistill.reproduce.artifacts import DATA, PRESETS, with_weights
from maskdistill.reproduce.fetch import fetch_all
from maskdistill.reproduce.layout import Laid, folder_members, lay_out_coco, lay_out_voc, tar_members, zip_members
from maskdistill.reproduce.plan import Plan, describe_plan, make_plan


def reproduce_command(options: argparse.Namespace) -> str:
    """The plan alone, or all of it: the report as Markdown."""
    name, root = options.experiment, expand_user(options.root).absolute()
    preset = options.preset or PRESETS[name]
    config = _settings(options, preset)
    seeds = tuple(range(options.seeds))
    data, trainaug = (
        None if path is None else expand_user(path).absolute() for path in (options.data, options.trainaug)
    )
    plan = make_plan(name, root, config, seeds, data=data, trainaug=trainaug, limit=options.limit or 0)
    if options.dry_run:
        return describe_plan(plan)
    if not options.quiet:
        sys.stderr.write(f"{describe_plan(plan)}\n\n")
    require_writable(root, depth=3)
    files = fetch_all(plan.needed, root, quiet=options.quiet)
    if options.fetch_only:
        return "\n".join(files) or "Nothing to fetch."
    laid = _lay_out(plan, options.quiet)
    from maskdistill.reproduce.experiment import run_seeds  # these load torch
    from maskdistill.reproduce.report import describe_result, write_report

    config = with_weights(config, root, plan.needed)
    runs = root / "runs" / name
    how = {"preset": preset, "seeds": seeds, "limit": options.limit or 0, "num_workers": options.workers}
    found = run_seeds(laid.folder, config, runs, quiet=options.quiet, **how)
    result = write_report(runs, name, found, config, laid, preset=preset, limit=options.limit or 0, files=files)
    return f"{describe_result(result)}\nWritten: {runs / 'report.md'}, {runs / 'report.json'}."


def _settings(options: argparse.Namespace, preset: str) -> RunConfig:
    """Of the preset, with the linear evaluation; the seeds are runs of their own, so that none is in the report."""
    wanted = ["evaluation.probe=true", "evaluation.num_seeds=0"]
    return load_preset(preset).with_overrides([*wanted, *options.set])


def _lay_out(plan: Plan, quiet: bool) -> Laid:
    root, folder = plan.root, plan.root / "data" / plan.experiment
    if plan.experiment == "voc":
        if plan.data is not None:
            members = folder_members(plan.data)
        else:
            members = tar_members(DATA["voc"][0].path(root), "VOCdevkit/VOC2012")
        return lay_out_voc(members, folder, plan.trainaug, quiet=quiet)
    *archives, names = (item.path(root) for item in DATA["coco20k"])
    if plan.data is not None:
        photos = annotations = folder_members(plan.data)
    else:
        photos, annotations = (zip_members(path) for path in archives)
    return lay_out_coco(photos, annotations, names, folder, quiet=quiet)
