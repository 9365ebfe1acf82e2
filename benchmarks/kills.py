"""Whether a run that is killed in each of its stages ends as an undisturbed one does.

    python -m benchmarks.kills --data ../shared/data/msrc --num-classes 14 [--kills 1] [--seed 0] [--limit N]

One run is left alone; when each stage ended is written down. Another run gets the same command; a random part of the
first stage's time after its start SIGKILL ends its whole process group. It is started again, and ended a random part of
the second stage's time after the first one's end, and so on through all stages. At last it may finish, and every file
that it made is compared with the undisturbed run's. Exit code 1 if one differs; both runs are kept then.
"""

import argparse
import contextlib
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.report import print_table, write_report
from maskdistill.models.training.checkpoint import read_tensors
from maskdistill.stages.stage_list import OF_EVERY_RUN
from maskdistill.storage.run_folder import Run

FINISHED = "finished by itself"
# What holds times or processes, is there for going on only, or is made again when it is needed.
LEFT_OUT = re.compile(
    r"progress\.json|history\.jsonl|checkpoint(\.previous)?\.safetensors|.*\.(lock|log|arrow)|run\.sqlite.*"
    r"|source\.parquet"
)
_ENDED = re.compile(rf"({'|'.join(OF_EVERY_RUN)}): (?!\d+/\d+ )")  # how the command tells that a stage is done


@dataclass(frozen=True)
class Kill:
    """How one start of the disturbed run ended."""

    stage: str
    part: float  # of the stage's time, after the end of the stage before
    seconds: float  # the same in seconds
    lived: float  # seconds from this start to its end
    died: str  # the last stage that it told as done


def main() -> int:
    """Run undisturbed, run disturbed, compare; returns the exit code."""
    options = _parse()
    folder = Path(tempfile.mkdtemp(prefix="maskdistill-kills-"))
    whole, broken = Run(folder / "undisturbed"), Run(folder / "killed")
    ends = run_undisturbed(command(options, whole), whole)
    seconds = ends[OF_EVERY_RUN[-1]]
    print(f"undisturbed: {seconds:.0f} s", flush=True)
    generator = random.Random(options.seed)
    kills = []
    for stage, before in zip(OF_EVERY_RUN, ("", *OF_EVERY_RUN), strict=False):
        for part in sorted(generator.random() for _ in range(options.kills)):
            wait = part * (ends[stage] - ends.get(before, 0))
            kills.append(run_and_kill(command(options, broken), broken, Kill(stage, part, wait, 0, ""), before))
            print(f"{part:.0%} into {stage}: {kills[-1].died}", flush=True)
    with started(command(options, broken), broken) as process:
        finish(process, broken)
    rows = [[kill.stage, f"{kill.part:.0%}", f"{kill.seconds:.2f}", f"{kill.lived:.1f}", kill.died] for kill in kills]
    print_table("Kills", ["in", "part of its time", "(s)", "lived (s)", "told as done"], rows)
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
    words = [sys.executable, "-m", "maskdistill", "run", "--data", options.data, "--run", str(run.path)]
    words += ["--preset", options.preset, "--num-classes", str(options.num_classes)]
    words += ["--limit", str(options.limit)] if options.limit else []
    return words + [part for setting in options.set for part in ("--set", setting)]


@contextlib.contextmanager
def started(words: Sequence[str], run: Run) -> Iterator[subprocess.Popen[str]]:
    """The command in a process group of its own, which SIGKILL ends if it is still at work when the block is left."""
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        with log_of(run).open("a") as log:
            log.write(process.stderr.read())
        process.stderr.close()


def log_of(run: Run) -> Path:
    """What the command said, beside the run."""
    return run.path.with_suffix(".log")


def stages_told(process: subprocess.Popen[str], run: Run) -> Iterator[str]:
    """The name of each stage when the command says that it is done, until the command ends."""
    with log_of(run).open("a") as log:
        for line in process.stderr:
            log.write(line)
            if match := _ENDED.match(line):
                yield match[1]


def finish(process: subprocess.Popen[str], run: Run) -> None:
    """Wait for the end, which must be a good one."""
    for _ in stages_told(process, run):
        pass
    if process.wait():
        raise SystemExit(f"The run ended with {process.returncode}:\n{log_of(run).read_text()}")


def run_undisturbed(words: Sequence[str], run: Run) -> dict[str, float]:
    """Seconds from the start to the end of each stage."""
    began = time.monotonic()
    with started(words, run) as process:
        ends = {stage: time.monotonic() - began for stage in stages_told(process, run)}
        finish(process, run)
    return ends


def run_and_kill(words: Sequence[str], run: Run, plan: Kill, before: str) -> Kill:
    """Go on until the stage before is told as done and ``plan.seconds`` have passed, then end the process group."""
    began = time.monotonic()
    told = "start"
    with started(words, run) as process:
        if before:
            told = next((stage for stage in stages_told(process, run) if stage == before), told)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(plan.seconds)
    lived = time.monotonic() - began
    if process.returncode == -signal.SIGKILL:
        return Kill(plan.stage, plan.part, plan.seconds, lived, told)
    if process.returncode:
        raise SystemExit(f"The run ended with {process.returncode}:\n{log_of(run).read_text()}")
    return Kill(plan.stage, plan.part, plan.seconds, lived, FINISHED)


def compare(whole: Run, broken: Run) -> list[str]:
    """Print how much was compared; returns the names of the files that differ or that only one run has."""
    first, second = digests(whole), digests(broken)
    differences = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    rows = [["files", len(first), len(differences)]]
    rows += [
        [kind, sum(name.startswith(kind) for name in first), sum(name.startswith(kind) for name in differences)]
        for kind in ("stage1", "stage2", "pseudo_labels/", "predictions/", "thumbs/", "features/")
    ]
    print_table("Undisturbed and killed run compared", ["what", "files", "different"], rows)
    return differences


def digests(run: Run) -> Mapping[str, str]:
    """Digest of every file that the run made, by path inside it; of weights of the tensors, whose order in the file is
    no part of them.
    """
    files = [path for path in run.path.rglob("*") if path.is_file() and not LEFT_OUT.fullmatch(path.name)]
    return {path.relative_to(run.path).as_posix(): _digest(path) for path in files}


def _digest(path: Path) -> str:
    if path.suffix != ".safetensors":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    tensors, values = read_tensors(path)
    state = hashlib.sha256(repr(values).encode())
    for name in sorted(tensors):
        state.update(name.encode() + tensors[name].contiguous().view(-1).numpy().tobytes())
    return state.hexdigest()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of photos, VOC or COCO folder, sample, sample-views")
    parser.add_argument("--num-classes", type=int, required=True, help="K; 0 lets the curve suggest it")
    parser.add_argument("--kills", type=int, default=1, help="in each stage")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--limit", type=int, default=0, help="at most so many photos, 0 for all")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
