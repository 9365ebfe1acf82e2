"""``maskdistill try``: other clusterings of a run's masks, for people without a browser and for background jobs."""

import argparse
from collections.abc import Callable

from maskdistill.cli.flags import not_negative
from maskdistill.storage.progress import Reporter
from maskdistill.storage.run_folder import Run


def add_try_command(commands: argparse._SubParsersAction, add: Callable[..., None]) -> None:
    """``try`` and its flags.

    Args:
        commands: Commands of the whole parser.
        add: Adds one with --run: (where, name, summary, function, *functions that add flags).
    """
    add(commands, "try", "other clusterings of a run's masks, to compare with its own", try_command, _flags)


def try_command(options: argparse.Namespace) -> str:
    """Make the trials, or the curve; the run's own clusters stay as they are."""
    from maskdistill.clustering.alternatives import AlternativeKey, make_alternatives, make_curve
    from maskdistill.clustering.compare_clusterings import compare_clusterings

    run = Run(options.run)
    if options.curve:
        with Reporter(run.progress_path, "curve", 100, unit="percent", quiet=options.quiet) as reporter:
            curve = make_curve(run, lambda done, total: reporter.reach(100 * done // total))
        return f"{curve.suggested} classes are suggested; {curve.plateau[0]} to {curve.plateau[1]} are as good."
    keys = [AlternativeKey(num_classes, options.seed) for num_classes in options.num_classes]
    with Reporter(run.progress_path, "trials", len(keys) + 1, unit="steps", quiet=options.quiet) as reporter:
        trials = make_alternatives(run, keys, lambda done, _total: reporter.reach(done))
    own = run.clusters()["cluster"].to_numpy()
    return "\n".join(
        f"{trial.key.num_classes} classes, seed {trial.key.seed}: stability "
        f"{'unknown' if trial.stability is None else f'{trial.stability:.2f}'}, agreement with the run's own clusters "
        f"{compare_clusterings(own, trial.cluster).agreement:.2f}"
        for trial in trials
    )


def _flags(command: argparse.ArgumentParser) -> None:
    wanted = command.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--num-classes", type=not_negative, nargs="+", metavar="K", help="numbers of classes to try")
    wanted.add_argument("--curve", action="store_true", help="find out which number of classes is stable")
    command.add_argument("--seed", type=not_negative, default=0, help="seed of the clusterings (0)")
    command.add_argument("--quiet", action="store_true", help="no progress")
