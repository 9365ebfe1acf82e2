"""Whether a run that is killed again and again ends as an undisturbed one does.

    python -m benchmarks.kills --data ../shared/data/msrc --num-classes 14 [--kills 10] [--seed 0] [--limit N]

One run is left alone; how far it was at every moment is written down. Then moments are drawn, one in each of as many
equal parts of its time. Another run gets the same command, and when it is as far as the undisturbed one was at the
first moment, SIGKILL ends its whole process group. It is started again and ended at the second moment, and so on. At
last it may finish, and its report, its weights and its label maps are compared with the undisturbed run's. Exit code 1
if anything differs; both runs are kept then.
"""

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.report import print_table, write_report
from maskdistill.stages.stage_list import NAMES
from maskdistill.stages.status import PART_OF
from maskdistill.storage.progress import Progress, read_progress_file
from maskdistill.storage.run_folder import Run

LOOK_SECONDS = 0.02  # between two looks at the progress file
WEIGHTS = ("stage1", "stage2")
FINISHED = "finished by itself"
LABEL_MAPS = ("pseudo_labels", "predictions")


@dataclass(frozen=True)
class KillPoint:
    """When the undisturbed run was first seen at a place."""

    seconds: float  # since its start
    place: tuple[int, int]  # number of the stage, -1 before the first; photos or steps done in it


@dataclass(frozen=True)
class Kill:
    """How one start of the disturbed run ended."""

    moment: float  # seconds into the undisturbed run, which was as far then
    lived: float  # seconds from this start to its end
    died: str  # stage, and how far it was


def main() -> int:
    """Run undisturbed, run disturbed, compare; returns the exit code."""
    options = _parse()
    folder = Path(tempfile.mkdtemp(prefix="maskdistill-kills-"))
    whole, broken = Run(folder / "undisturbed"), Run(folder / "killed")
    marks = run_undisturbed(command(options, whole), whole)
    seconds = marks[-1].seconds
    print(f"undisturbed: {seconds:.0f} s", flush=True)
    kills = []
    for moment in draw_moments(seconds, options.kills, random.Random(options.seed)):
        kills.append(run_and_kill(command(options, broken), broken, marks, moment))
        print(f"as after {moment:.0f} s: {kills[-1].died}", flush=True)
    with started(command(options, broken), broken) as process:
        finish(process, broken)
    rows = [[f"{kill.moment:.1f}", f"{kill.moment / seconds:.0%}", f"{kill.lived:.1f}", kill.died] for kill in kills]
    print_table("Kills", ["moment (s)", "of the undisturbed run", "lived (s)", "died in"], rows)
    differences = compare(whole, broken)
    result = {"benchmark": "kills", "data": options.data, "limit": options.limit, "seconds": seconds}
    write_report(options.json, {**result, "kills": [asdict(kill) for kill in kills], "differences": differences})
    if differences:
        print(f"\n  DIFFERENT: {', '.join(differences[:10])}. Both runs: {folder}")
        return 1
    shutil.rmtree(folder)
    print(f"\n  the same after {sum(kill.died != FINISHED for kill in kills)} kills")
    return 0


def command(options: argparse.Namespace, run: Run) -> list[str]:
    """The command that is started again and again."""
    words = [sys.executable, "-m", "maskdistill", "run", "--data", options.data, "--run", str(run.path), "--quiet"]
    words += ["--preset", options.preset, "--num-classes", str(options.num_classes)]
    words += ["--limit", str(options.limit)] if options.limit else []
    return words + [part for setting in options.set for part in ("--set", setting)]


@contextlib.contextmanager
def started(words: Sequence[str], run: Run) -> Iterator[subprocess.Popen]:
    """The command in a process group of its own, which SIGKILL ends if it is still at work when the block is left."""
    with log_of(run).open("ab") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def log_of(run: Run) -> Path:
    """What the command said, beside the run."""
    return run.path.with_suffix(".log")


def finish(process: subprocess.Popen, run: Run) -> None:
    """Wait for the end, which must be a good one."""
    if process.wait():
        raise SystemExit(f"The run ended with {process.returncode}:\n{log_of(run).read_text()}")


def run_undisturbed(words: Sequence[str], run: Run) -> list[KillPoint]:
    """Where the run was when; the last mark is its end."""
    began = time.monotonic()
    marks = [KillPoint(0.0, (-1, 0))]
    with started(words, run) as process:
        for progress in watch(process, run):
            marks.append(KillPoint(time.monotonic() - began, place_of(progress)))
        finish(process, run)
    return [*marks, KillPoint(time.monotonic() - began, marks[-1].place)]


def draw_moments(seconds: float, count: int, generator: random.Random) -> list[float]:
    """Seconds into the undisturbed run, rising: one anywhere in each of ``count`` equal parts."""
    return [seconds * (part + generator.random()) / count for part in range(count)]


def run_and_kill(words: Sequence[str], run: Run, marks: Sequence[KillPoint], moment: float) -> Kill:
    """Go on until the run is as far as the undisturbed one was at a moment, then end its process group."""
    mark = [mark for mark in marks if mark.seconds <= moment][-1]
    began = time.monotonic()
    with started(words, run) as process:
        if mark.place > marks[0].place:
            next((progress for progress in watch(process, run) if place_of(progress) >= mark.place), None)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment - mark.seconds)
    lived = time.monotonic() - began
    if process.returncode != -signal.SIGKILL:
        finish(process, run)
        return Kill(moment, lived, FINISHED)
    return Kill(moment, lived, describe_end(process, run))


def watch(process: subprocess.Popen, run: Run) -> Iterator[Progress]:
    """This process's progress whenever it has moved, until the process ends."""
    last = None
    while process.poll() is None:
        progress = read_progress_file(run.progress_path)
        if progress is not None and progress.pid == process.pid and place_of(progress) != last:
            last = place_of(progress)
            yield progress
        time.sleep(LOOK_SECONDS)


def place_of(progress: Progress) -> tuple[int, int]:
    """Number of the stage, and how much of it is done."""
    return NAMES.index(PART_OF.get(progress.stage, progress.stage)), progress.done


def describe_end(process: subprocess.Popen, run: Run) -> str:
    """The stage that a killed process was in, as far as its last sign of life says."""
    progress = read_progress_file(run.progress_path)
    if progress is None or progress.pid != process.pid:
        return "start"
    where = f"{progress.stage}, {progress.done} of {progress.total} {progress.unit}"
    return f"after {where}" if progress.state == "done" else where


def compare(whole: Run, broken: Run) -> list[str]:
    """Print how much was compared; returns the names of the files that differ or that only one run has."""
    first, second = digests(whole), digests(broken)
    differences = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    rows = []
    for kind in ("metrics", *WEIGHTS, *LABEL_MAPS):
        names = [name for name in first if name.startswith(kind)]
        changed = [name for name in differences if name.startswith(kind)]
        rows.append([kind, len(names), len(changed)])
    print_table("Undisturbed and killed run compared", ["what", "files", "different"], rows)
    return differences


def digests(run: Run) -> dict[str, str]:
    """SHA-256 of the report, the weights and every label map, by path inside the run."""
    files = [run.path / "metrics.json", *(run.path / stage / "model.safetensors" for stage in WEIGHTS)]
    files += [path for kind in LABEL_MAPS for path in (run.path / kind).rglob("*.png")]
    return {path.relative_to(run.path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of photos, VOC or COCO folder, sample, sample-views")
    parser.add_argument("--num-classes", type=int, required=True, help="K; 0 lets the curve suggest it")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--limit", type=int, default=0, help="at most so many photos, 0 for all")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
