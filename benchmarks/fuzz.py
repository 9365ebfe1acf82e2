"""Input that a fuzzer finds by what it reaches in our code (atheris, libFuzzer): COCO files, VOC folders, run folders.

    python -m benchmarks.fuzz [--targets coco voc run] [--seconds 60] [--seed 0] [--corpus FOLDER]

Whatever the bytes, a reader returns or raises a MaskDistillError; labels fit their photo and its classes. Each target
runs in a process of its own, as many at once as there are cores. Exit code 1 if one fails: the bytes are kept, and the
command that tries them again is printed. Without atheris (requirements-fuzz.txt) it says so and does nothing.
"""

import argparse
import contextlib
import importlib
import importlib.util
import io
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("coco", "voc", "run")
PART = b"\n--part--\n"  # between the files of a VOC folder
LIMITS = ("-timeout=30", "-rss_limit_mb=6000", "-max_len=20000", "-print_final_stats=1")

Target = tuple[Callable[[bytes], None], Sequence[bytes]]  # what is done with an input, and sound inputs to begin with


def main() -> int:
    """Fuzz each target for some seconds; returns the exit code."""
    options = _parse()
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed (pip install -r requirements-fuzz.txt): nothing is fuzzed.")
        return 0
    if options.only:
        return fuzz_here(options.only, options.rest)
    from maskdistill.machine import usable_cores  # not above: the process of a target imports it instrumented

    with ThreadPoolExecutor(usable_cores()) as pool:
        sound = list(pool.map(lambda target: fuzz(target, options), options.targets))
    return 0 if all(sound) else 1


def fuzz(target: str, options: argparse.Namespace) -> bool:
    """Whether nothing was found."""
    corpus = (options.corpus or Path(tempfile.mkdtemp(prefix="maskdistill-fuzz-"))) / target
    corpus.mkdir(parents=True, exist_ok=True)
    words = [
        str(corpus),
        f"-runs={options.inputs}" if options.inputs else f"-max_total_time={options.seconds}",
        f"-seed={options.seed or 1}",
        f"-artifact_prefix={corpus.parent}/",
        *LIMITS,
    ]
    command = [sys.executable, "-m", "benchmarks.fuzz", "--only", target, "--", *words]
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests/data", ROOT / "tests/faults")))
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    count = next((line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line), "?")
    ending = "FAILED" if done.returncode else "nothing found"
    print(f"{target}: {count} inputs, {len(list(corpus.iterdir()))} of them kept, {ending}")
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        print("\n".join(line for line in lines if not line.startswith(("INFO", "stat::", "WARNING", "#")))[-4000:])
        print(f"again: PYTHONPATH={paths} python -m benchmarks.fuzz --only {target} -- FILE (the one named above)")
    return done.returncode == 0


def fuzz_here(target: str, words: list[str]) -> int:
    """Run libFuzzer in this process, which it ends itself."""
    import atheris

    with atheris.instrument_imports(include=["maskdistill"]):
        for name in ("cli.status", "datasets", "review.decisions", "storage.mask_store"):
            importlib.import_module(f"maskdistill.{name}")
    with tempfile.TemporaryDirectory() as folder:
        one_input, sound = {"coco": coco, "voc": voc, "run": run}[target](Path(folder))
        if Path(words[0]).is_dir():
            for number, content in enumerate(sound):
                (Path(words[0]) / f"sound-{number}").write_bytes(content)
        mutate = {"coco": change_json, "run": change_json_of_file}
        atheris.Setup(
            [sys.argv[0], *words], one_input, **({"custom_mutator": mutate[target]} if target in mutate else {})
        )
        atheris.Fuzz()
    return 0


def coco(folder: Path) -> Target:
    """The bytes are a COCO file beside three photos."""
    from benchmarks.fault_cases.coco_files import save, sound_document

    data = save(folder, "{}", layout="json")

    def one_input(content: bytes) -> None:
        data.write_bytes(content)
        read_all(data)

    return one_input, [json.dumps(sound_document()).encode()]


def voc(folder: Path) -> Target:
    """The bytes are a list, the class list and a label map, with ``PART`` between them."""
    from benchmarks.fault_cases.voc_folders import Voc

    data = Voc(folder)
    paths = (data.list("train"), data.classes, data.label("one"))
    sound = PART.join(path.read_bytes() for path in paths)

    def one_input(content: bytes) -> None:
        for path, part in zip(paths, content.split(PART, 2), strict=False):
            path.write_bytes(part)
        read_all(data.path)

    return one_input, [sound]


def run(folder: Path) -> Target:
    """The first byte chooses a file of a finished run, the rest takes its place; then all is read."""
    from run_damage import files_of, make_run

    from maskdistill.cli.status import describe_run
    from maskdistill.errors import MaskDistillError
    from maskdistill.review.decisions import summarise
    from maskdistill.storage.mask_store import MaskCodes

    with contextlib.redirect_stderr(io.StringIO()):
        made = make_run(folder, projection=False)
    files = [name for name in files_of(made.path) if not name.endswith((".jpg", ".png", ".safetensors"))]
    readers = (
        describe_run,
        summarise,
        type(made).images,
        type(made).masks,
        type(made).classes,
        type(made).kept,
        MaskCodes.open,
    )

    def one_input(content: bytes) -> None:
        if not content:
            return
        path = made.path / files[content[0] % len(files)]
        sound = path.read_bytes()
        path.write_bytes(content[1:])
        try:
            for read in readers:
                with contextlib.suppress(MaskDistillError):
                    read(made)
        finally:
            path.write_bytes(sound)

    return one_input, [bytes([number]) + (made.path / name).read_bytes() for number, name in enumerate(files)]


def read_all(data: Path) -> None:
    """Every label of a source; whatever is refused must be refused by an error of ours."""
    from maskdistill.datasets import open_source, read_label
    from maskdistill.errors import MaskDistillError

    try:
        source = open_source(data)
    except MaskDistillError:
        return
    for photo in source.photos:
        with contextlib.suppress(MaskDistillError):
            label = read_label(source, photo)
            assert label is None or label.shape == (photo.height, photo.width)
            assert label is None or label[label != 255].max(initial=np.uint8(0)) <= len(source.classes)


def change_json(content: bytes, max_size: int, seed: int) -> bytes:
    """Another JSON value in place of some, so that most inputs get past the parser."""
    import atheris

    from benchmarks.fault_cases.coco_files import other_value, places

    rng = random.Random(seed)
    try:
        value = json.loads(content)
        for _ in range(rng.choice((1, 1, 2, 4))):
            *above, key = rng.choice(places(value))
            inside = value
            for step in above:
                inside = inside[step]
            inside[key] = other_value(rng)
        changed = json.dumps(value).encode()
    except (ValueError, TypeError, RecursionError):
        return atheris.Mutate(content, max_size)
    return changed if len(changed) <= max_size and rng.random() < 0.95 else atheris.Mutate(content, max_size)


def change_json_of_file(content: bytes, max_size: int, seed: int) -> bytes:
    """``change_json`` behind the byte that chooses the file."""
    return content[:1] + change_json(content[1:], max_size - 1, seed)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", default=TARGETS, choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--inputs", type=int, default=0, help="so many for each target, however long that takes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", type=Path, help="keep what was found here, and go on from it the next time")
    parser.add_argument("--only", choices=TARGETS, help=argparse.SUPPRESS)
    words = sys.argv[1:]
    place = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:place])
    options.rest = words[place + 1 :]
    return options


if __name__ == "__main__":
    sys.exit(main())
