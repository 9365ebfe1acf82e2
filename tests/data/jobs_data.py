"""Jobs for tests: rows made by hand, processes that have ended, and waiting for what is about to happen."""

import json
import subprocess
import sys
import time
from pathlib import Path

from maskdistill.jobs.processes import ProcessId
from maskdistill.jobs.table import load_job
from maskdistill.storage.database import writing

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")
PATIENCE = 30.0  # seconds on a busy machine; nothing below needs a tenth of it


def add_row(run, **values):
    """A row of a job, written by hand."""
    row = {"title": "By hand", "arguments": '["run"]', "folder": "/", "device": "cpu", "state": "running"}
    row |= {"turn": 1, "token": "secret", "created": 1.0, **values}
    if isinstance(row.get("process"), ProcessId):
        row["process"] = row["process"].to_json()
    if not isinstance(row["arguments"], str):
        row["arguments"] = json.dumps(row["arguments"])
    with writing(run) as db:
        marks = ", ".join("?" * len(row))
        number = db.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({marks})", tuple(row.values())).lastrowid
    return load_job(run, number)


def ended_process():
    """A process that is no more."""
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    known = ProcessId.of(child.pid)
    child.communicate(b"\n")
    return known


def wait_for(condition):
    """Until it holds; its last value."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, "It did not happen."
        time.sleep(0.02)
    return value
