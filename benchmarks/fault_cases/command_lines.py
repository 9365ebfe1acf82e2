"""Commands as people mistype them, on a sound run or on none."""

import os
import random
from pathlib import Path

from benchmarks.fault_cases.attempt import Attempt, Make
from benchmarks.fault_cases.run_folders import call, copy_of_run

COMMANDS = (
    "run", "propose", "embed", "cluster", "project", "train-stage1", "filter", "pseudo-label", "train-stage2",
    "evaluate", "predict", "export", "decisions",
    "status", "try", "jobs", "jobs list", "jobs show", "jobs stop", "jobs resume", "jobs logs", "", "runn", "help",
    "-", "--",
)  # fmt: skip
FLAGS = (
    "--run", "--data", "--preset", "--backbone", "--num-classes", "--seed", "--set", "--limit", "--shard",
    "--workers", "--quiet", "--until", "--split",
    "--stage", "--crf", "--json", "--images", "--out", "--format", "--kept-only", "--csv", "--curve", "--follow",
    "--lines", "--verbose", "-v", "--version",
    "--help", "--rum", "--dat", "-x", "--", "---run",
)  # fmt: skip
_FORMATS = ("coco", "voc", "yolo", "huggingface", "atlas")
VALUES = (
    "", " ", "0", "-1", "1", "3", "1.5", "nan", "1e9", "9" * 30, "two", "1/2", "2/1", "0/0", "1/0", "a/b",
    "1/999999999", "quick", "sample", "auto", "coco",
    "yolo", "final", "val", "all", "seed=5", "seed=x", "help", "help=filter", "help=nothing", "/", "/dev/null",
    "/dev/full", "/proc/nothing/x", "x" * 300, "é\n",
    "--run", "\ud800", "*", "~", "~nobody/x", ".", "..",
)  # fmt: skip
NAMES = ("maskdistill",)  # every refusal begins with it


def any_words(rng: random.Random, folder: Path) -> Attempt:
    """Words in any order."""
    words = rng.choice(COMMANDS).split()
    for _ in range(rng.randrange(6)):
        words.append(rng.choice(FLAGS))
        if rng.random() < 0.7:
            words.append(rng.choice(VALUES))
    return Attempt(lambda: call(words), NAMES, repeat(words))


def one_value_wrong(rng: random.Random, folder: Path) -> Attempt:
    """A sound command on a sound run, with one odd value for one flag."""
    run = copy_of_run(folder)
    sound = rng.choice(
        (
            ["run", "--until", "classes", "--quiet"], ["evaluate"],
            ["export", "--format", "coco", "--out", str(folder / "out")], ["decisions"], ["status"],
            ["predict", "--images", str(folder / "photos"), "--out", str(folder / "out"), "--quiet"],
            ["jobs", "list"], ["jobs", "show"], ["jobs", "logs"],
            ["jobs", "stop"], ["jobs", "resume"], ["try", "--num-classes", "2", "--quiet"], ["propose", "--quiet"],
            ["filter", "--quiet"],
        )
    )  # fmt: skip
    known = {"jobs": ("",), "decisions": ("--csv",), "status": ("--run",), "try": ("--num-classes", "--seed")}.get(
        sound[0],
        {"export": ("--format", "--out"), "predict": ("--images", "--out", "--stage"),
        "evaluate": ("--split", "--stage", "--data")}.get(
            sound[0],
            ("--limit", "--shard", "--workers", "--until", "--preset", "--num-classes", "--seed", "--set",
            "--backbone", "--data")
        )
    )  # fmt: skip
    flag, value = (
        rng.choice(known),
        rng.choice(
            [value for value in VALUES if value not in ("auto", "sample", "quick", "/", "9" * 30, "~", ".", "..", "*")]
        ),
    )
    words = [*sound, "--run", str(run), *([flag] if flag else []), value]
    return Attempt(lambda: call(words), NAMES, repeat(words), may_change=lambda name: "sqlite" not in name)


def odd_places(rng: random.Random, folder: Path) -> Attempt:
    """Output and run folders that are files, pipes, links, devices, or inside of each other."""
    run = copy_of_run(folder)
    (folder / "file").write_text("mine")
    (folder / "full").mkdir()
    (folder / "full" / "mine.txt").write_text("mine")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    place = rng.choice(
        (
            folder / "file",
            folder / "full",
            folder / "loop",
            folder / "pipe",
            Path("/dev/null"),
            Path("/proc/x"),
            run,
            run / "stage1",
            folder / "file/x",
            Path("x" * 300),
        )
    )
    words = rng.choice(
        (
            [
                "export",
                "--run",
                str(run),
                "--format",
                rng.choice(_FORMATS),
                "--out",
                str(place),
            ],
            ["predict", "--run", str(run), "--images", str(run.parent / "full"), "--out", str(place), "--quiet"],
            ["decisions", "--run", str(run), "--csv", str(place)],
            ["status", "--run", str(place)],
            ["run", "--run", str(place), "--data", str(folder / "full"), "--quiet"],
            ["jobs", "list", "--run", str(place)],
            ["evaluate", "--run", str(place)],
        )
    )
    return Attempt(
        lambda: call(words),
        NAMES,
        repeat(words),
        may_change=lambda name: name == "file" if "--csv" in words else "mine" not in name and "sqlite" not in name,
    )


def repeat(words: list[str]) -> str:
    """The command, for people."""
    return " ".join(f"{word[:40]!r}" if not word.isascii() or " " in word or not word else word[-40:] for word in words)


VARIETIES: dict[str, Make] = {"any words": any_words, "one value odd": one_value_wrong, "odd places": odd_places}
