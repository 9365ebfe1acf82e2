"""How good the labels and models are, stage by stage, over several seeds; and what a whole run takes.

    python -m benchmarks.quality --data ../shared/data/msrc --num-classes 14 [--seeds 3] [--folder F] [--json F]

Trained on the train split, reported on val. The masks and their vectors do not depend on the seed: the first run makes
them from nothing and is timed, the others start from a copy of them. Ground truth is read by the stage ``evaluation``
alone, after everything was made.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.report import print_table, write_report
from maskdistill.evaluation.confusion import mean_and_std
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run

ROWS = {
    "reported": ("proposals", "stage1", "stage2", "stage2_crf", "rounds", "rounds_crf"),
    "training": ("proposals", "proposals_on_kept", "unfiltered", "pseudo_labels", "stage1", "stage2", "rounds"),
}
SAMPLE_SECONDS = 0.5  # between two looks at the memory


def main() -> None:
    """Run every seed, then tabulate."""
    options = _parse()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="maskdistill-quality-"))
    runs = [folder / f"seed-{seed}" for seed in range(options.seeds)]
    result: dict[str, Any] = {"benchmark": "quality", "data": options.data, "preset": options.preset}
    for seed, path in enumerate(runs):
        if seed and not path.exists():
            made = shutil.ignore_patterns("stage1", "stage2", "rounds", "predictions", ".*.lock")
            shutil.copytree(runs[0], path, ignore=made)
        probe = ["--set", f"evaluation.probe={'true' if seed == 0 and options.probe else 'false'}"]
        taken = _run(options, path, seed, probe)
        print(f"seed {seed}: {taken['seconds']:.0f} s, {taken['gib']:.2f} GiB at most", flush=True)
        if seed == 0:
            result["first_run"] = taken
            result["second_run"] = _run(options, path, seed, probe)
    metrics = [read_json(path / "metrics.json") for path in runs]
    result["stages"] = {part: _table(part, rows, metrics) for part, rows in ROWS.items()}
    result["clusters"] = [_clusters(Run(path)) for path in runs]
    result["masks"] = metrics[0]["masks"]
    if "with_labels" in metrics[0]:
        probes = metrics[0]["with_labels"]
        result["with_labels"] = {name: probes[name]["miou"] for name in ("linear", "supervised") if probes[name]}
        rows = [[name, f"{value:.3f}"] for name, value in result["with_labels"].items()]
        print_table("With the labels of the training photos, for comparison", ["head", "mIoU"], rows)
    first, second = result["first_run"], result["second_run"]
    print(
        f"\n  whole run from nothing {first['seconds']:.0f} s, {first['gib']:.2f} GiB; again {second['seconds']:.1f} s"
    )
    write_report(options.json, result)


def _run(options: argparse.Namespace, path: Path, seed: int, extra: list[str]) -> dict[str, float]:
    """One ``maskdistill run``: seconds and the largest sum of resident memory of its processes."""
    command = [sys.executable, "-m", "maskdistill", "run", "--data", options.data, "--run", str(path), "--quiet"]
    command += ["--preset", options.preset, "--num-classes", str(options.num_classes), "--seed", str(seed), *extra]
    command += [part for setting in options.set for part in ("--set", setting)]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = [0]
    watcher = threading.Thread(target=_watch, args=(process, peak), daemon=True)
    watcher.start()
    _, errors = process.communicate()
    watcher.join()
    if process.returncode:
        raise SystemExit(errors)
    return {"seconds": time.monotonic() - began, "gib": peak[0] / 2**30}


def _watch(process: subprocess.Popen, peak: list[int]) -> None:
    while process.poll() is None:
        try:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            peak[0] = max(peak[0], sum(member.memory_info().rss for member in family))
        except psutil.NoSuchProcess:
            pass
        time.sleep(SAMPLE_SECONDS)


def _table(part: str, rows: tuple[str, ...], metrics: list[dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for name in rows:
        measured = [item[part][name] for item in metrics if item[part].get(name)]
        values = [entry["miou"] for entry in measured if entry["miou"] is not None]
        if values:
            mean, spread = mean_and_std(values)
            found[name] = {"miou": values, "mean": mean, "std": spread}
    lines = [
        [name, f"{item['mean']:.3f}", "" if item["std"] is None else f"{item['std']:.3f}", _short(item["miou"])]
        for name, item in found.items()
    ]
    title = "Photos that nobody trained on" if part == "reported" else "Photos trained on"
    print_table(f"{title}: mIoU, clusters matched one-to-one", ["labels", "mean", "std", "seeds"], lines)
    return found


def _short(values: list[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def _clusters(run: Run) -> dict[str, Any]:
    record = read_json(run.path / "clusters.json")
    return {name: record[name] for name in ("num_classes", "embedding", "dimensions", "agreement")}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="VOC folder with SegmentationClass and train and val lists")
    parser.add_argument("--num-classes", type=int, required=True, help="K; 0 lets the curve suggest it")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--probe", action="store_true", help="train the heads with labels too, for comparison")
    parser.add_argument("--folder", type=Path, help="keep the runs here (and reuse them)")
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
