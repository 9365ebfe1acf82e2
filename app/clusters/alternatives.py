"""Alternative clusterings of a run, read again when one is made or deleted."""

from pathlib import Path

from app import cache
from app.run_view import RunView
from maskdistill.clustering.alternatives import FOLDER, Alternative, list_alternatives
from maskdistill.storage.run_folder import Run


def alternatives_of(run_view: RunView) -> dict[str, Alternative]:
    """The alternative clusterings of a run by name, by number of clusters and seed; not to be changed.

    Raises:
        RunError: If the run has no finished clusters.
    """
    return _alternatives(run_view.run.path, (run_view.stamp, alternatives_stamp(run_view)))


def alternatives_stamp(run_view: RunView) -> str:
    """Names this state of the alternatives, a key for caches; empty if there are none."""
    files = sorted((run_view.run.path / FOLDER).glob("k*.npz"))
    return cache.stamp(files) if files else ""


def alternative_title(alternative: Alternative) -> str:
    """What people read in place of its name."""
    seed = f", seed {alternative.key.seed}" if alternative.key.seed else ""
    return f"{alternative.key.num_classes} clusters{seed}"


@cache.newest(4)
def _alternatives(path: Path, key: tuple[str, str]) -> dict[str, Alternative]:
    return {item.key.name: item for item in list_alternatives(Run(path))} if key[1] else {}
