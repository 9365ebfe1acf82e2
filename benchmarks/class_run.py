"""How long the Guide's class run takes, from the button to the final model.

    python -m benchmarks.class_run [--backbone focus_vits14]

Started as the page starts it: a background job, at a lower priority than the pages. Nothing else should be at work.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from app.guide import reference
from benchmarks.report import print_table, write_report
from maskdistill.config import FeatureConfig
from maskdistill.jobs import JobState, list_jobs, wait_until_ended

PATIENCE = 1200.0  # seconds


def main() -> None:
    """Make the class run in a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="focus_vits14")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MASKDISTILL_RUNS"] = folder
        features = FeatureConfig(backbone=options.backbone)
        expected = reference.seconds_needed(features)
        start = time.perf_counter()
        reference.prepare(features)
        run = reference.class_folder()
        job = wait_until_ended(list_jobs(run)[0], PATIENCE)
        seconds = time.perf_counter() - start
        if job.state is not JobState.DONE:
            raise RuntimeError(f"The class run ended as {job.state}: {job.message}")
    row = [reference.NUM_PHOTOS, f"{seconds:.0f}", expected]
    print_table("The class run", ["photos", "seconds", "estimated"], [row])
    write_report(options.json, {"benchmark": "class_run", "seconds": seconds, "estimated": expected})


if __name__ == "__main__":
    main()
