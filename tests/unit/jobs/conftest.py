"""A folder for a run, and processes of jobs that do what a test asks for."""

import subprocess
import sys

import pytest
from jobs_data import FAKE_WORKER

from maskdistill.jobs import submitting


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Jobs get the fake command line, and slots of their own; their processes are noted, and ended after the test."""
    monkeypatch.setenv("MASKDISTILL_CACHE", str(tmp_path / "cache"))
    popen, processes = subprocess.Popen, []

    def start(command, **options):
        if command[1:3] != ["-m", "maskdistill.cli.job_worker"]:
            return popen(command, **options)
        processes.append(popen([sys.executable, str(FAKE_WORKER), *command[3:]], **options))
        return processes[-1]

    monkeypatch.setattr(submitting.subprocess, "Popen", start)
    yield processes
    for process in processes:
        process.kill()
        process.wait()
