"""Whether the cost of a photo and of a mask stays flat, and whether a cluster and shards end with the same bytes.

    python -m benchmarks.scale photos  --data ../shared/data/msrc [--sizes 100 1000 5000]
    python -m benchmarks.scale engines --data ../shared/data/msrc [--sizes 64 256]   # needs ray, docs/cluster.md
    python -m benchmarks.scale kills   --data ../shared/data/msrc [--sizes 96] [--kills 10]  # needs ray
    python -m benchmarks.scale shards  --data ../shared/data/msrc [--sizes 96]
    python -m benchmarks.scale tables  [--sizes 10000 100000 1000000] [--folder FOLDER]

Photos are those of the data, again and again under names of their own. ``photos`` runs every stage at each size and
tells the time of a core that a photo took, and the most memory that the process and its workers held. ``engines`` runs
two workers here and two on a Ray cluster of this machine, in turn; what both need to start is left out by the
difference of the two sizes. ``kills`` ends a worker, a node, or the command itself, in turn, at random moments of a run
on two nodes of this machine, and compares the end with an undisturbed local run. ``shards`` does that with a run
whose every stage over photos was shared by two, single objects and two rounds among them. ``tables`` filters the masks
of generated runs by another threshold, and groups as many vectors as they have masks. Exit code 1 where files differ.
"""

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from benchmarks.generated_run import kept_run
from benchmarks.kills import compare
from benchmarks.report import print_table, write_report
from maskdistill.datasets import open_source
from maskdistill.stages.stage_list import OF_EVERY_RUN, SHARED
from maskdistill.storage.run_folder import Run

CHEAP = ("features.shorter_side=98", "predictions.crf=false", "clusters.num_classes=14")  # so that sizes can be large
ALL_STAGES = ("instances.enabled=on", "proposals.pool=on", "rounds.count=2", "rounds.stop_at=1", "rounds.crf=false")
PERIOD = 0.25  # seconds between two looks at the memory
GCS_PORT = 6389
RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": f"127.0.0.1:{GCS_PORT}"}
# The filter of a run, as its stage does it.
_FILTER = """
import sys
from maskdistill.stages.select import write_kept
from maskdistill.storage.run_folder import Run
run = Run(sys.argv[1])
kept = write_kept(run, run, run.config().with_overrides(["filter.min_score=0.55"]).filter)
sys.stderr.write(f"filter: {int(kept.kept.sum())} of {len(kept.kept)} kept\\n")
"""
# Consensus of vectors around 20 places in three spaces, as the stage does it once these are found.
_GROUP = """
import sys
import numpy as np
from maskdistill.clustering.find_clusters import cluster_views
from maskdistill.config import ClusterConfig
generator = np.random.default_rng(0)
places = generator.normal(size=(20, 24)).astype(np.float32)
of = generator.integers(20, size=int(sys.argv[1]))
views = [places[of] + 0.5 * generator.normal(size=(len(of), 24)).astype(np.float32) for _ in range(3)]
found = cluster_views(views, 20, len(of), ClusterConfig(num_classes=20), 0)[0]
sys.stderr.write(f"clusters: {found.num_classes}, agreement {found.agreement:.2f}\\n")
"""
_TOLD = re.compile(rf"({'|'.join(OF_EVERY_RUN)}): (?!\d+/\d+ )")  # how the command tells that a stage is done


@dataclass
class Timing:
    """One run: when each stage ended, and what it held."""

    ends: dict[str, float] = field(default_factory=dict)  # seconds from the start
    cores: dict[str, float] = field(default_factory=dict)  # seconds of a core, by stage: what others do counts little
    peak: dict[str, float] = field(default_factory=dict)  # MB of the process and its children, by stage
    seconds: float = 0.0


def main() -> int:
    """Do one of the measurements; returns the exit code."""
    options = _parse()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="maskdistill-scale-")))
        os.environ["MASKDISTILL_RUNS"] = str(folder / "runs")
        measurements = {
            "photos": of_photos,
            "engines": of_engines,
            "kills": of_kills,
            "shards": of_shards,
            "tables": of_tables,
        }
        result = measurements[options.what](options, folder)
    write_report(options.json, {"benchmark": f"scale {options.what}", "data": options.data, **result})
    return int(bool(result.get("differences")))


def of_photos(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Seconds a photo and memory, by stage and number of photos."""
    timings = {}
    for size in options.sizes:
        photos, run = repeat_photos(options.data, folder / f"{size}", size), Run(folder / f"run-{size}")
        timings[size] = run_timed(command(options, photos, run))
        shutil.rmtree(run.path)
        each = ", ".join(f"{name} {cores / size * 1000:.1f}" for name, cores in timings[size].cores.items())
        print(f"{size} photos: {timings[size].seconds:.0f} s; core-ms a photo: {each}", flush=True)
    largest, one_smaller = options.sizes[-1], options.sizes[-2] if len(options.sizes) > 1 else options.sizes[-1]
    rows = []
    for name in timings[largest].cores:
        each = {size: timing.cores.get(name, 0.0) / size * 1000 for size, timing in timings.items()}
        ratio = each[largest] / each[one_smaller] if each[one_smaller] else float("nan")
        memory = [f"{timing.peak.get(name, 0):.0f}" for timing in timings.values()]
        rows.append([name, *(f"{value:.1f}" for value in each.values()), f"{ratio:.2f}", *memory])
    sizes = [f"{size:,}" for size in timings]
    header = [
        "stage",
        *(f"core-ms a photo, {size}" for size in sizes),
        "last / before",
        *(f"MB, {size}" for size in sizes),
    ]
    print_table("Cost of a photo", header, rows)
    return {"timings": {size: asdict(timing) for size, timing in timings.items()}}


def of_engines(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Two workers here and two on a cluster: the same bytes, and seconds a photo without what both need to start."""
    first, last = options.sizes[0], options.sizes[-1]
    seconds: dict[str, dict[int, Timing]] = {"local": {}, "ray": {}}
    differences: list[str] = []
    with ray_node(2, head=True):
        for size in (first, last):
            photos = repeat_photos(options.data, folder / f"{size}", size)
            runs = {engine: Run(folder / f"{engine}-{size}") for engine in seconds}
            if size == first:  # what is read for the first time comes from a cold disk
                run_timed([*command(options, photos, Run(folder / "first")), "--workers", "2"])
            for engine, run in runs.items():
                words = [*command(options, photos, run), "--workers", "2", "--engine", engine]
                seconds[engine][size] = run_timed(words)
                print(f"{size} photos, {engine}: {seconds[engine][size].seconds:.1f} s", flush=True)
            differences += compare(runs["local"], runs["ray"])
    rows, slopes = [], {}
    for engine, timing in seconds.items():
        slopes[engine] = (timing[last].seconds - timing[first].seconds) / (last - first)
        rows.append(
            [engine, *(f"{timing[size].seconds:.1f}" for size in (first, last)), f"{slopes[engine] * 1000:.0f}"]
        )
    print_table(
        "Two workers, all stages", ["engine", f"{first} photos (s)", f"{last} photos (s)", "ms a photo more"], rows
    )
    print(f"\n  ray / local beyond the start: {slopes['ray'] / slopes['local']:.2f}")
    return {"seconds_per_photo": slopes, "differences": differences}


def of_kills(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Ends of a worker, a node and the command, in turn, against an undisturbed local run."""
    photos = repeat_photos(options.data, folder / "photos", options.sizes[0])
    whole, broken = Run(folder / "undisturbed"), Run(folder / "killed")
    usual = run_timed([*command(options, photos, whole), "--workers", "2"]).seconds
    generator, rows = random.Random(options.seed), []
    words = [*command(options, photos, broken), "--workers", "2", "--engine", "ray"]
    with ray_node(1, head=True), contextlib.ExitStack() as nodes:
        second = nodes.enter_context(ray_node(1, head=False))
        process = subprocess.Popen(words, env=os.environ | RAY, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for number in range(options.kills):
            wait = generator.uniform(0.3, 1) * usual / max(1, options.kills)
            time.sleep(wait)
            what = ("worker", "node", "command")[number % 3]
            if process.poll() is not None:
                if process.returncode:
                    raise SystemExit(f"The run ended with {process.returncode} before kill {number + 1}.")
                what = "nothing: it was finished"
            elif what == "worker":
                while not (killed := _kill_one("ray::PhotoActor")) and process.poll() is None:
                    time.sleep(0.1)  # between two stages nobody is at work
                what = "worker" if killed else "nothing: it was finished"
            elif what == "node":
                nodes.close()
                second = nodes.enter_context(ray_node(1, head=False))
            else:
                process.kill()
                process.wait()
                process = subprocess.Popen(
                    words, env=os.environ | RAY, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
                )
            rows.append([number + 1, f"{wait:.1f}", what])
            print(*rows[-1], flush=True)
        del second
        if process.wait():
            raise SystemExit(f"The run ended with {process.returncode}.")
    print_table("Kills", ["", "after (s)", "of"], rows)
    return {"kills": rows, "differences": compare(whole, broken)}


def of_shards(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Every stage over photos by two shards, against one process."""
    photos = repeat_photos(options.data, folder / "photos", options.sizes[0])
    options.set = [*ALL_STAGES, *options.set]
    whole, shared = Run(folder / "whole"), Run(folder / "shared")
    run_timed(command(options, photos, whole))
    for stage in OF_EVERY_RUN:
        by = (["--shard", "2/2"], ["--shard", "1/2"]) if stage in ("proposals", *SHARED) else ([],)
        while not shared.stage_path(stage).is_file():  # of several rounds, each is shared
            for shard in by:
                run_timed([*command(options, photos, shared), "--until", stage, *shard])
    return {"differences": compare(whole, shared)}


def of_tables(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Time of a core and memory of stages that read no photo, by number of masks."""
    found: dict[int, dict[str, tuple[float, float]]] = {}
    for size in options.sizes:
        run = kept_run(folder / f"masks-{size}", size)
        filtered = run_timed([sys.executable, "-c", _FILTER, str(run.path)])
        grouped = run_timed([sys.executable, "-c", _GROUP, str(size)])
        found[size] = {
            "filter": (filtered.cores["filter"], filtered.peak["filter"]),
            "clusters": (grouped.cores["clusters"], grouped.peak["clusters"]),
        }
        print(f"{size:,} masks: {found[size]}", flush=True)
    rows = [
        [stage, *(f"{found[size][stage][0] / size * 1000:.3f}" for size in found)]
        + [f"{found[size][stage][1]:.0f}" for size in found]
        for stage in ("filter", "clusters")
    ]
    sizes = [f"{size:,}" for size in found]
    header = ["stage", *(f"core-ms a mask, {size}" for size in sizes), *(f"MB, {size}" for size in sizes)]
    print_table("Cost of a mask", header, rows)
    return {"tables": found}


def command(options: argparse.Namespace, photos: Path, run: Run) -> list[str]:
    """The command of a whole run."""
    words = [sys.executable, "-m", "maskdistill", "run", "--data", str(photos), "--run", str(run.path)]
    words += ["--preset", "quick", "--set", f"features.backbone={options.backbone}"]
    return words + [part for setting in (*CHEAP, *options.set) for part in ("--set", setting)]


def repeat_photos(data: str, folder: Path, size: int) -> Path:
    """A folder of so many photos: those of the data, again and again under other names."""
    photos = open_source(data).photos
    folder.mkdir(parents=True)
    for number in range(size):
        path = photos[number % len(photos)].path
        os.symlink(path.resolve(), folder / f"{number:07d}{path.suffix}")
    return folder


def run_timed(words: Sequence[str]) -> Timing:
    """Run a command to its end; when each stage was done, and the most memory during it."""
    timing, began, stage = Timing(), time.monotonic(), [""]
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ | RAY
    )
    seen: list[tuple[float, float, float]] = []  # moment, MB held, seconds of a core so far
    watcher = threading.Thread(target=_watch, args=(process.pid, began, seen), daemon=True)
    watcher.start()
    said = []
    for line in process.stderr or ():
        said.append(line)
        if match := _TOLD.match(line):
            stage[0] = match[1]
            timing.ends[match[1]] = time.monotonic() - began
    if process.wait():
        raise SystemExit("".join(said[-20:]))
    timing.seconds, before, spent = time.monotonic() - began, 0.0, 0.0
    for name, end in timing.ends.items():
        during = [(memory, cores) for moment, memory, cores in seen if before <= moment <= end]
        timing.peak[name] = max((memory for memory, _ in during), default=0.0)
        until = max((cores for _, cores in during), default=spent)
        timing.cores[name], before, spent = until - spent, end, until
    return timing


def _watch(pid: int, began: float, seen: list[tuple[float, float, float]]) -> None:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            memory, cores = 0, 0.0
            for item in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    times = item.cpu_times()
                    memory += item.memory_info().rss
                    cores += times.user + times.system + times.children_user + times.children_system
            seen.append((time.monotonic() - began, memory / 2**20, cores))
            time.sleep(PERIOD)


@contextlib.contextmanager
def ray_node(cores: int, *, head: bool) -> Iterator[None]:
    """A node of a Ray cluster on this machine, killed at the end."""
    place = (
        ["--head", f"--port={GCS_PORT}", "--include-dashboard=false"] if head else [f"--address=127.0.0.1:{GCS_PORT}"]
    )
    words = [sys.executable, "-m", "ray.scripts.scripts", "start", *place, f"--num-cpus={cores}", "--block"]
    words += (
        ["--object-store-memory=200000000", "--disable-usage-stats"] if head else ["--object-store-memory=200000000"]
    )
    environment = {name: value for name, value in (os.environ | RAY).items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _wait_for_nodes(process)
        yield
    finally:
        with contextlib.suppress(psutil.Error):  # it may have ended by itself
            family = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            for item in family:
                with contextlib.suppress(psutil.Error):
                    item.kill()
        process.wait()


def _wait_for_nodes(process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        names = [item.name() for item in psutil.Process(process.pid).children(recursive=True)]
        if "raylet" in names:
            time.sleep(3)  # until it has told the head of itself
            return
        time.sleep(0.3)
    raise SystemExit("No Ray node could be started here: pip install -r requirements-cluster.txt")


def _kill_one(title: str) -> bool:
    """SIGKILL to one process of that title; whether there was one."""
    for process in psutil.process_iter(["cmdline"]):
        if title in " ".join(process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
                return True
    return False


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("photos", "engines", "kills", "shards", "tables"))
    parser.add_argument("--data", default="sample", help="folder of photos, VOC or COCO folder, sample")
    parser.add_argument("--sizes", type=int, nargs="+", help="numbers of photos")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--backbone", default="focus_vits14")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary one, removed at the end")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    sizes: Mapping[str, list[int]] = {
        "photos": [100, 1000, 5000],
        "engines": [64, 256],
        "tables": [10_000, 100_000, 1_000_000],
    }
    options.sizes = options.sizes or sizes.get(options.what, [96])
    return options


if __name__ == "__main__":
    sys.exit(main())
