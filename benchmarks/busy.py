"""How much slower the pages answer while a job trains, compared with a machine at rest.

    python -m benchmarks.busy [--data sample] [--num-classes 3] [--repeats 15]

A small run is made up to its clusters. Then the same interactions are timed through Streamlit's own test client, in
turn: with nothing else at work, while a job (stage 1, started as the app starts it) trains, and so on, so that both
states meet the same weather on a shared machine. The last column is the ratio of the medians.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from streamlit.testing.v1 import AppTest

from app import session
from benchmarks.report import print_table, write_report
from maskdistill.jobs import get_job, stop_job, submit, wait_until_ended

ROOT = Path(__file__).resolve().parents[1]
ENDLESS = 100_000  # epochs: the job is stopped when the measuring is done
ROUNDS = 3  # of idle and busy, in turn
STARTING = 180.0  # seconds that a job may take until it trains


def main() -> None:
    """Make a run, time the interactions idle and busy, print the ratios."""
    options = _parse()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MASKDISTILL_RUNS"] = folder
        run = Path(folder) / "busy"
        _make_run(run, options)
        interactions = {
            "proposals: tau": slider(run, options.backbone),
            "training: open the page": page(run, "training"),
            "start: open the page": page(run, "start"),
        }
        times: dict[str, dict[str, list[float]]] = {name: {"idle": [], "busy": []} for name in interactions}
        for _ in range(ROUNDS):
            measure(times, "idle", interactions, options.repeats)
            with training(run):
                measure(times, "busy", interactions, options.repeats)
    result = {name: {kind: statistics.median(values) for kind, values in item.items()} for name, item in times.items()}
    rows = [
        [name, f"{item['idle']:.0f}", f"{item['busy']:.0f}", f"{item['busy'] / item['idle']:.2f}"]
        for name, item in result.items()
    ]
    print_table("Server time, median of all repeats", ["interaction", "idle (ms)", "training (ms)", "ratio"], rows)
    write_report(options.json, {"benchmark": "busy", "repeats": ROUNDS * options.repeats, "server_ms": result})


def measure(
    times: dict[str, dict[str, list[float]]], kind: str, interactions: dict[str, Callable[[], float]], repeats: int
) -> None:
    """Add ``repeats`` times of every interaction; the first of each is left out, since it may fill a cache."""
    for name, interact in interactions.items():
        times[name][kind] += [interact() for _ in range(repeats + 1)][1:]


def slider(run: Path, backbone: str) -> Callable[[], float]:
    """Release the slider of tau on a photo of the run; the call returns milliseconds."""
    app = AppTest.from_file(ROOT / "app" / "main.py", default_timeout=120).run().switch_page("../pages/proposals.py")
    app.query_params.update({"run": run.name, "set": [f"features.backbone={backbone}"]})
    app.run()
    places = iter(range(10**6))

    def release() -> float:
        tau = round(0.1 + 0.01 * (next(places) % 40), 2)
        return _timed(app, app.slider(key=session.control_key("proposals.tau")).set_value(tau).run)

    return release


def page(run: Path, name: str) -> Callable[[], float]:
    """Run a whole page again; the call returns milliseconds."""
    app = AppTest.from_file(ROOT / "app" / "main.py", default_timeout=120).run()
    app.switch_page(f"../pages/{name}.py")
    app.query_params.update({"run": run.name})
    app.run()
    return lambda: _timed(app, app.run)


@contextlib.contextmanager
def training(run: Path) -> Iterator[None]:
    """While inside, a job trains stage 1."""
    arguments = ["train-stage1", "--set", f"stage1.epochs={ENDLESS}"]
    job = submit(run, arguments, title="Stage 1", device="cpu", settings={}).job
    deadline = time.monotonic() + STARTING
    while get_job(run, job.id).done < 2:
        current = get_job(run, job.id)
        if not current.state.is_active or time.monotonic() > deadline:
            raise RuntimeError(f"The job did not come to train: {current.state}, {current.message}")
        time.sleep(0.5)
    try:
        yield
        if get_job(run, job.id).stage != "stage1":
            raise RuntimeError("The job no longer trained when the measuring was done.")
    finally:
        stop_job(run, job.id)
        wait_until_ended(job, 60)


def _timed(app: AppTest, act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    milliseconds = 1000 * (time.perf_counter() - start)
    if app.exception:
        raise RuntimeError(app.exception[0].value)
    return milliseconds


def _make_run(run: Path, options: argparse.Namespace) -> None:
    command = [sys.executable, "-m", "maskdistill", "run", "--data", options.data, "--run", str(run)]
    command += ["--num-classes", str(options.num_classes), "--backbone", options.backbone, "--until", "clusters"]
    subprocess.run(command, cwd=ROOT, check=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="sample")
    parser.add_argument("--num-classes", type=int, default=3)
    parser.add_argument("--backbone", default="focus_vits14")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
