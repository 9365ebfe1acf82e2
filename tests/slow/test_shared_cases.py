"""Cases that lie beside the checkout, not in it: each is a program that prints PASS or FAIL."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CASES = sorted((ROOT.parent / "shared" / "cases").glob("*.py"))
PATIENCE = 600.0  # seconds

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not CASES, reason="There is no folder ../shared/cases beside this checkout.")
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_passes(case, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MASKDISTILL_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(case)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout.startswith("PASS"), done.stdout + done.stderr
