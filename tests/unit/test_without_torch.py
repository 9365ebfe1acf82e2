import subprocess
import sys

READ = """
import sys
import maskdistill.evaluation.confusion, maskdistill.stages.evaluate
from maskdistill.stages.samples import read_samples
from maskdistill.storage.run_folder import Run

print(read_samples(Run(sys.argv[1]), "stage2").epochs, {"torch", "timm"} & set(sys.modules))
"""


def test_what_pages_and_reports_read_loads_no_torch(finished):
    """It takes seconds to load; one process asks for all of it."""
    command = [sys.executable, "-c", READ, finished[0].path]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[0, 1, 2, 3] set()"
