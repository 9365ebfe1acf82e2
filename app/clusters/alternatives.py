"""Other clusterings of a run that were tried, read again when one is made or let go."""

from pathlib import Path

from app import cache
from app.run_view import Explorer
from maskdistill.clustering.alternatives import FOLDER, Trial, list_trials
from maskdistill.storage.run_folder import Run


def trials_of(found: Explorer) -> dict[str, Trial]:
    """The trials of a run by name, by number of clusters and seed; not to be changed.

    Raises:
        RunError: If the run has no finished clusters.
    """
    return _trials(found.run.path, (found.stamp, trials_stamp(found)))


def trials_stamp(found: Explorer) -> str:
    """Names this state of the trials, a key for caches; empty if there are none."""
    files = sorted((found.run.path / FOLDER).glob("k*.npz"))
    return cache.stamp(files) if files else ""


def trial_title(trial: Trial) -> str:
    """A trial's name for people."""
    seed = f", seed {trial.key.seed}" if trial.key.seed else ""
    return f"{trial.key.num_classes} clusters{seed}"


@cache.newest(4)
def _trials(path: Path, key: tuple[str, str]) -> dict[str, Trial]:
    return {trial.key.name: trial for trial in list_trials(Run(path))} if key[1] else {}
