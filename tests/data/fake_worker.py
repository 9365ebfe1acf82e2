"""The process of a job whose command does what its ``--data`` says, and nothing of what the library would.

The worker is the real one. The command line and the run folder, which would load half of the library, are stand-ins.
"""

import argparse
import faulthandler
import json
import os
import subprocess
import sys
import time
import types
from pathlib import Path

from maskdistill.cli import job_command, job_worker
from maskdistill.errors import ConfigError
from maskdistill.jobs import heartbeat
from maskdistill.storage.progress import Reporter

LONG = 60.0  # seconds
SETTINGS = {"features": {"device": "cpu"}, "seed": 0}


class Run:
    """Just run.json."""

    def __init__(self, path):
        self.path = Path(path)

    @property
    def exists(self):
        return (self.path / "run.json").is_file()

    def info(self):
        return json.loads((self.path / "run.json").read_text()) if self.exists else {"config": SETTINGS}


def parse(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    for flag in ("data", "until", "run"):
        parser.add_argument(f"--{flag}")
    return parser.parse_args(arguments)


def call(options):
    run = Path(options.run)
    with Reporter(run / "progress.json", "proposals", 4, quiet=True) as reporter:
        reporter.advance(2)
        text = COMMANDS[options.data](run) or "Made it."
        reporter.advance(2)
    options.on_stage("stage1" if options.data == "train" else "proposals", text)
    return text


def sleep(run):
    """Keeps what is finished when it is interrupted."""
    (run / "ready").touch()
    try:
        time.sleep(LONG)
    except KeyboardInterrupt:
        (run / "kept").touch()
        raise


def stubborn(run):
    """Neither stops nor lets go of its child."""
    have_child(run)
    while True:
        try:
            (run / "ready").touch()
            time.sleep(LONG)
        except KeyboardInterrupt:
            continue


def have_child(run):
    """Leave a process behind."""
    child = subprocess.Popen([sys.executable, "-S", "-c", f"import time; time.sleep({LONG})"])
    (run / "child").write_text(str(child.pid))


def orphan(run):
    have_child(run)
    sleep(run)


def train(run):
    """A training that goes on where it was: three epochs of two steps each."""
    folder = run / "stage1"
    folder.mkdir(exist_ok=True)
    history = folder / "history.jsonl"
    done = len(history.read_text().splitlines()) if history.exists() else 0
    with Reporter(run / "progress.json", "stage1", 6, 2 * done, unit="steps", quiet=True) as reporter:
        for epoch in range(done + 1, 4):
            with history.open("a") as file:
                file.write(json.dumps({"epoch": epoch, "step": 2 * epoch, "losses": {"total": 1 / epoch}}) + "\n")
            reporter.advance(2)
            if epoch == 2 and not (run / "again").exists():
                (run / "again").touch()
                os._exit(9)


def count(run):
    """Leave a line that tells how often the work was done."""
    with (run / "works").open("a") as file:
        file.write("worked\n")


def set_clock(run):
    """Work on while somebody sets the clock, until there is a file that says it is enough."""
    now = time.time
    for shift in (86400, -86400):
        time.time = lambda shift=shift: now() + shift
        (run / "ready").touch()
        time.sleep(0.5)
    while not (run / "enough").exists():
        time.sleep(0.05)


def eat(run):
    """Take memory until there is none."""
    (run / "ready").touch()
    while not (run / "go").exists():
        time.sleep(0.01)
    eaten = []
    while True:
        eaten.append(b"x" * 10_000_000)


def settle(run):
    (run / "run.json").write_text(json.dumps({"config": {**SETTINGS, "seed": 5}}))


def fail(error):
    def raise_it(_run):
        raise error

    return raise_it


COMMANDS = {
    "quick": lambda run: "Made 3 masks.",
    "sleep": sleep,
    "stubborn": stubborn,
    "orphan": orphan,
    "leave": have_child,
    "train": train,
    "settle": settle,
    "count": count,
    "set clock": set_clock,
    "eat": eat,
    "bad": fail(ConfigError("No such thing. Do it so.")),
    "fault": fail(ZeroDivisionError("division by zero")),
    "vanish": lambda run: os._exit(9),
    "crash": lambda run: faulthandler._sigabrt(),
}


def main():
    job_command.parse, job_worker.call = parse, call
    store = types.ModuleType("maskdistill.storage.run_folder")
    store.Run = Run
    sys.modules["maskdistill.storage.run_folder"] = store
    heartbeat.INTERVAL, heartbeat.GRACE, job_worker.LOOK, job_worker._PAUSE = 0.05, 0.6, 0.05, 0.05
    return job_worker.main()


if __name__ == "__main__":
    sys.exit(main())
