"""What a run has done, in words."""

from maskdistill.datasets import open_source
from maskdistill.errors import ConfigError, DatasetError
from maskdistill.progress import format_duration, read_progress_file
from maskdistill.store import Run, read_json


def describe_run(run: Run) -> str:
    """A few lines: photos, backbone, and each stage with its state.

    Raises:
        RunError: If the folder holds no run.
    """
    info = run.info()
    lines = [
        f"Run       {run.path}",
        f"Data      {info['data']}",
        f"Backbone  {info['backbone']['name']}: {info['backbone']['weights']}",
        f"proposals {_proposals_state(run)}",
    ]
    return "\n".join(lines)


def _proposals_state(run: Run) -> str:
    progress = read_progress_file(run.progress_path)
    if progress is not None and progress.state == "running":
        left = "" if progress.seconds_left is None else f", {format_duration(progress.seconds_left)} left"
        return f"running: {progress.done} of {progress.total} photos{left}"
    path = run.stage_path("proposals")
    if not path.is_file() or not run.masks_path.is_file():
        state = f" ({progress.state}: {progress.message})" if progress is not None else ""
        return f"not finished{state}"
    stale = _why_stale(run, read_json(path)["made_from"])
    masks, images = run.masks(), run.images()
    counts = f"{len(masks)} masks of {int(images['readable'].sum())} photos"
    return f"stale: {stale}; {counts} are of the old state" if stale else f"done: {counts}"


def _why_stale(run: Run, made_from: dict) -> str:
    """What differs between what the masks were made from and what the run says now; empty if nothing does."""
    info = run.info()
    for section in ("features", "proposals", "crf"):
        old = made_from[section]
        if old is None:  # a CRF that was off
            if info["config"][section]["enabled"]:
                return f"{section}.enabled was changed"
            continue
        changed = [name for name, value in old.items() if info["config"][section].get(name) != value]
        if changed:
            return f"{section}.{changed[0]} was changed"
    try:
        source = open_source(info["data"])
    except (DatasetError, ConfigError) as error:
        return f"the photos cannot be found ({error})"
    limited = source.limited(made_from["num_photos"]) if made_from.get("num_photos") else source
    same = made_from["photos"] in (source.fingerprint, limited.fingerprint)
    return "" if same else "photos were added, removed or changed"
