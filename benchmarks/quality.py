"""How good the labels and models are, stage by stage, over several seeds and subsets of classes; what a run takes.

    python -m benchmarks.quality --data ../shared/data/msrc --num-classes 14 [--seeds 3] [--folder F] [--json F]
    python -m benchmarks.quality --data ... --num-classes 14 --made R --subsets 8 8 10 11 11 [--curve]

Trained on the train split, reported on val. Masks are made once: by the first run, from nothing, which is timed, or by
the run that ``--made`` names; the others start from a copy of them. Foreground and vectors depend on the seed too: the
runs on all classes make them, those on subsets take them from there. Ground truth chooses the photos of a subset, and
is read by the stage ``evaluation``, after everything was made.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.class_subsets import WHOLE, ClassSubset, make_subsets, whole_set
from benchmarks.report import print_table, write_report
from maskdistill.evaluation.confusion import mean_and_std
from maskdistill.stages.seed_copy import copy_before_clusters
from maskdistill.storage.read_files import read_json

STEPS = {
    "clusters": ("reported", "proposals"),
    "stage 1": ("reported", "stage1"),
    "stage 2": ("reported", "stage2"),
    "stage 2 + CRF": ("reported", "stage2_crf"),
    "rounds": ("reported", "rounds"),
    "train: clusters": ("training", "proposals"),
    "train: labels before the filter": ("training", "unfiltered"),
    "train: labels after it": ("training", "pseudo_labels"),
    "train: clusters of what it keeps": ("training", "proposals_on_kept"),
    "train: stage 1": ("training", "stage1"),
    "train: stage 2": ("training", "stage2"),
}
SAMPLE_SECONDS = 0.5  # between two looks at the memory


def main() -> None:
    """Run every subset under every seed, then tabulate."""
    options = _parse()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="maskdistill-quality-"))
    result: dict[str, Any] = {"benchmark": "quality", "data": options.data, "preset": options.preset}
    made, parts = options.made, [whole_set(Path(options.data))]
    if made is None:
        made = folder / f"{parts[0].name}-seed-0"
        result["first_run"] = _run(options, parts[0], made, 0, options.num_classes)
        result["second_run"] = _run(options, parts[0], made, 0, options.num_classes)
        first, second = result["first_run"], result["second_run"]
        print(f"whole run from nothing {first['seconds']:.0f} s, {first['gib']:.2f} GiB; again {second['seconds']:.1f}")
    parts += make_subsets(Path(options.data), options.subsets, folder / "data")
    result["sets"] = [_measure(options, part, folder, made) for part in parts]
    curves = [_measure(options, part, folder, made, curve=True) for part in parts] if options.curve else []
    result["curve"] = curves
    _print(result["sets"], "K given")
    _print(curves, "K by the curve")
    _print_classes(result["sets"])
    _print_probes(result, made)
    write_report(options.json, result)


def _measure(
    options: argparse.Namespace, part: ClassSubset, folder: Path, made: Path, *, curve: bool = False
) -> dict[str, Any]:
    """What each step brings on the photos of one set, seed by seed."""
    num_classes = 0 if curve or not options.num_classes else min(options.num_classes, len(part.classes))
    steps: dict[str, list[float]] = {name: [] for name in STEPS}
    found: dict[str, Any] = {"name": part.name, "classes": part.classes, "photos": part.num_photos, "steps": steps}
    found |= {"K": [], "iou": []}
    for seed in range(options.seeds):
        path = folder / f"{part.name}-seed-{seed}{'-curve' if curve else ''}"
        if not path.exists():
            whole = folder / f"{WHOLE}-seed-{seed}"
            copy_before_clusters(whole if whole.exists() else made, path)
        taken = _run(options, part, path, seed, num_classes)
        print(f"{path.name}: {taken['seconds']:.0f} s", flush=True)
        metrics = read_json(path / "metrics.json")
        for name, (group, kind) in STEPS.items():
            if (measured := metrics[group].get(kind)) and measured["miou"] is not None:
                steps[name].append(measured["miou"])
        final = metrics["reported"].get("rounds") or metrics["reported"]["stage2"]
        found["iou"].append({name: final["iou"][name] for name in part.classes})
        found["K"].append(read_json(path / "clusters.json")["num_classes"])
    return found


def _run(options: argparse.Namespace, part: ClassSubset, path: Path, seed: int, num_classes: int) -> dict[str, float]:
    """One ``maskdistill run``: seconds and the largest sum of resident memory of its processes."""
    command = [sys.executable, "-m", "maskdistill", "run", "--data", str(part.data), "--run", str(path), "--quiet"]
    command += ["--preset", options.preset, "--num-classes", str(num_classes), "--seed", str(seed)]
    command += ["--until", "evaluation"] if options.made is not None else []
    probed = options.probe and seed == 0 and part.data == Path(options.data)
    settings = [f"evaluation.probe={'true' if probed else 'false'}", *options.set]
    command += [word for setting in settings for word in ("--set", setting)]
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


def _print(sets: Sequence[dict[str, Any]], title: str) -> None:
    """A row for each step, a column for each set, and their mean."""
    if not sets:
        return
    names = [f"{item['name']} ({len(item['classes'])} classes, {item['photos']} photos)" for item in sets]
    rows = [["K", *(_short(item["K"]) for item in sets), ""]]
    for step in STEPS:
        if all(item["steps"][step] for item in sets):
            by_seed = [list(scores) for scores in zip(*(item["steps"][step] for item in sets), strict=True)]
            cells = [_mean(item["steps"][step]) for item in sets]
            rows.append([step, *cells, _mean([sum(scores) / len(scores) for scores in by_seed])])
    print_table(f"mIoU, clusters matched one-to-one, on val unless train is said; {title}", ["", *names, "mean"], rows)


def _print_classes(sets: Sequence[dict[str, Any]]) -> None:
    """IoU of each class by the final model, mean over seeds; and the least of them in each set."""
    names = list(dict.fromkeys(name for item in sets for name in item["classes"]))
    rows = []
    for name in names:
        values = [[found.get(name) or 0.0 for found in item["iou"]] for item in sets]
        rows.append(
            [name, *(_mean(row) if name in item["classes"] else "" for row, item in zip(values, sets, strict=True))]
        )
    print_table("IoU of each class on val, final model", ["class", *(item["name"] for item in sets)], rows)


def _mean(values: Sequence[float]) -> str:
    mean, spread = mean_and_std(values)
    return f"{mean:.3f}" if spread is None else f"{mean:.3f} ± {spread:.3f}"


def _short(values: Sequence[int]) -> str:
    return " ".join(map(str, values))


def _print_probes(result: dict[str, Any], made: Path) -> None:
    metrics = read_json(made / "metrics.json") if (made / "metrics.json").is_file() else {}
    result["masks"] = metrics.get("masks")
    if probes := metrics.get("with_labels"):
        result["with_labels"] = {name: probes[name]["miou"] for name in ("linear", "supervised") if probes[name]}
        rows = [[name, f"{value:.3f}"] for name, value in result["with_labels"].items()]
        print_table("With the labels of the training photos, for comparison", ["head", "mIoU"], rows)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="VOC folder with SegmentationClass and train and val lists")
    parser.add_argument(
        "--num-classes", type=int, required=True, help="K; 0 lets the curve suggest it; a subset has its own"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--subsets", type=int, nargs="*", default=[], help="numbers of classes of the subsets to draw")
    parser.add_argument("--made", type=Path, help="run of these photos whose masks, foreground and vectors are taken")
    parser.add_argument("--curve", action="store_true", help="all again with K as the curve suggests it")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--probe", action="store_true", help="train the heads with labels too, for comparison")
    parser.add_argument("--folder", type=Path, help="keep the runs here (and reuse them)")
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
