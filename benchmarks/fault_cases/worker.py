"""Cases tried in a process of their own: a crash, a hang or a lack of memory is a result and not the end.

As a program it reads ``["kind", "variety", seed]`` from standard input, a line each, and answers each with a line.
"""

import contextlib
import json
import os
import random
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from benchmarks.fault_cases.attempt import Result, try_attempt

ROOT = Path(__file__).resolve().parents[2]
KINDS = {
    "pictures": "pictures",
    "COCO": "coco_files",
    "VOC": "voc_folders",
    "tool exports": "tool_exports",
    "run folders": "run_folders",
    "settings": "settings",
    "command lines": "command_lines",
    "weights": "weights",
    "whole runs": "whole_runs",
}  # kind -> module
SECONDS = 60.0  # that a case may take
MEMORY = 6 * 2**30  # bytes of addresses that the process may have
_STARTING = 60.0  # more seconds for the first case, which imports


@dataclass(frozen=True)
class Case:
    """What is drawn, by name and seed."""

    kind: str
    variety: str
    seed: int


def varieties(kind: str) -> list[str]:
    """The names of a kind's varieties."""
    return list(_module(kind).VARIETIES)


class Worker:
    """A process that tries cases, started again whenever one has ended it."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder = folder / f"worker {number}"
        self._folder.mkdir()
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def attempt(self, case: Case) -> Result:
        """Try a case and say how it ended, whatever that is."""
        new = self._process is None
        process = self._process or self._start()
        try:
            process.stdin.write(json.dumps([case.kind, case.variety, case.seed]).encode() + b"\n")
            process.stdin.flush()
            line = self._answer(process, SECONDS + (_STARTING if new else 0))
        except BrokenPipeError:
            line = b""
        if line is None:
            self._end()
            return Result("unhandled", f"not done after {SECONDS:.0f} s")
        if not line:
            code = process.wait()
            self._process = None
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return Result("unhandled", f"the process ended: {name}")
        return Result(**json.loads(line))

    def _start(self) -> subprocess.Popen:
        paths = [str(ROOT), str(ROOT / "tests" / "data"), str(ROOT / "tests" / "faults")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": "1",
            "MASKDISTILL_CACHE": str(self._folder / "cache"),
            "MASKDISTILL_RUNS": str(self._folder / "runs"),
            "TMPDIR": str(self._folder),
        }
        command = [sys.executable, "-m", "benchmarks.fault_cases.worker"]
        with (self._folder / "stderr").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                cwd=ROOT,
                start_new_session=True,
            )
        return self._process

    def _answer(self, process: subprocess.Popen, seconds: float) -> bytes | None:
        """The line that it answers; empty if it has ended, None if it takes too long."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([process.stdout], [], [], left)[0]:
                return process.stdout.readline()
        return None

    def _end(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def try_case(case: Case) -> Result:
    """Make a case in a folder of its own and try it; whatever is raised and not meant is a result too."""
    make = _module(case.kind).VARIETIES[case.variety]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, contextlib.chdir(name):
        attempt = make(random.Random(f"{case.variety} {case.seed}"), Path(name))
        try:
            return try_attempt(attempt, Path(name))
        except (Exception, SystemExit) as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {str(error)[:300]} ({Path(place.filename).name}:{place.lineno})"
            return Result("unhandled", text, attempt.what)


def _module(kind: str) -> Any:
    return import_module(f"benchmarks.fault_cases.{KINDS[kind]}")


def _serve() -> None:
    """Answer on what was standard output; whatever the library prints there goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        answers.write(json.dumps(asdict(try_case(Case(*json.loads(line))))) + "\n")


if __name__ == "__main__":
    _serve()
