"""A handful of sessions at once on one server; ``benchmarks.crowd`` with its defaults is fifty for three minutes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from run_damage import make_run

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS = 30.0  # for an answer, on a machine that does much else

pytestmark = pytest.mark.slow


def test_every_session_is_answered_and_no_page_fails(tmp_path):
    make_run(tmp_path, projection=False)
    words = [
        "--runs",
        str(tmp_path / "runs"),
        "--sessions",
        "5",
        "--seconds",
        "20",
        "--json",
        str(tmp_path / "crowd.json"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.crowd", *words],
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads((tmp_path / "crowd.json").read_text())
    assert found["answers"] >= 20
    assert found["slowest"] < MOST_SECONDS
    assert {"open", "page"} <= found["actions"].keys()
