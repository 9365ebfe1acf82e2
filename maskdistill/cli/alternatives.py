"""``maskdistill try``: other clusterings of a run's masks, for people without a browser and for background jobs."""

import argparse

from maskdistill.clustering.alternatives import AlternativeKey, make_alternatives, make_curve
from maskdistill.clustering.compare_clusterings import compare_clusterings
from maskdistill.storage.progress import Reporter
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_lock import hold_run


def try_command(options: argparse.Namespace) -> str:
    """Make the clusterings, or the curve; the run's own clusters stay as they are."""
    run = Run(options.run)
    run.info()  # says what is wrong if this is no run
    with hold_run(run.path):
        return _try(run, options)


def _try(run: Run, options: argparse.Namespace) -> str:
    if options.curve:
        with Reporter(run.progress_path, "curve", 100, unit="percent", quiet=options.quiet) as reporter:
            curve = make_curve(run, lambda done, total: reporter.reach(100 * done // total))
        return f"{curve.suggested} classes are suggested; {curve.plateau[0]} to {curve.plateau[1]} are as good."
    keys = [AlternativeKey(num_classes, options.seed) for num_classes in options.num_classes]
    with Reporter(run.progress_path, "alternatives", len(keys) + 1, unit="steps", quiet=options.quiet) as reporter:
        alternatives = make_alternatives(run, keys, lambda done, _total: reporter.reach(done))
    own = run.clusters()["cluster"].to_numpy()
    return "\n".join(
        f"{item.key.num_classes} classes, seed {item.key.seed}: stability "
        f"{'unknown' if item.stability is None else f'{item.stability:.2f}'}, agreement with the run's own clusters "
        f"{compare_clusterings(own, item.cluster).agreement:.2f}"
        for item in alternatives
    )
