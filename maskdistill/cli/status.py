"""``maskdistill status``: a run in a few lines."""

import argparse

from maskdistill.jobs import list_jobs
from maskdistill.stages.stage_list import NAMES
from maskdistill.stages.status import stage_states
from maskdistill.storage.run_folder import Run


def status_command(options: argparse.Namespace) -> str:
    """The state of each stage of a run, and its jobs."""
    return describe_run(Run(options.run))


def describe_run(run: Run) -> str:
    """Photos, backbone, each stage with its state, and the jobs that run or wait, a line each.

    Raises:
        RunError: If the folder holds no run, or a file of it is damaged.
    """
    info = run.info()
    backbone = info["backbone"]
    rows = [
        ("Run", run.path),
        ("Data", info["data"]),
        ("Backbone", f"{backbone['name']}: {backbone.get('weights', '')}"),
    ]
    rows += [(state.name, state.text) for state in stage_states(run)]
    rows += [("Job", job.text) for job in reversed(list_jobs(run.path)) if job.state.is_active]
    width = max(map(len, NAMES))
    return "\n".join(f"{name:{width}} {text}" for name, text in rows)
