"""Masks as a table against the COCO file that runs of before had alone: written, read with all checks, opened again.

    python -m benchmarks.mask_files --masks 1000000

Of each form: seconds and peak memory of a process of its own, and the size of what it left.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.big_manifest import draw_results
from maskdistill.datasets import Photo, PhotoSource
from maskdistill.files import write_json
from maskdistill.stages.merge import as_coco
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.mask_tables import mask_table
from maskdistill.storage.run_folder import Run, write_table
from maskdistill.storage.run_photos import write_images

SIZE = (240, 320)  # height, width of a photo in pixels
STEPS = ("write", "open", "reopen")
NAMES = {"table": "masks.parquet", "coco": "proposals.json"}


def main() -> None:
    """Print a line a step and form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=1_000_000)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--form", choices=tuple(NAMES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(_do(options.step, options.form, options.folder, options.masks))
        return
    for form in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            for step in STEPS:
                told = ["--masks", str(options.masks), "--step", step, "--form", form, "--folder", folder]
                subprocess.run([sys.executable, "-m", "benchmarks.mask_files", *told], check=True)


def _do(step: str, form: str, folder: Path, num_masks: int) -> str:
    run = Run(folder)
    path = folder / NAMES[form]
    results = draw_results(num_masks) if step == "write" else []
    names = [f"{number:07d}" for number in range(len(results))]
    photos = tuple(Photo(name, folder / f"{name}.jpg", *SIZE, "0" * 32) for name in names)
    source = PhotoSource("folder", "", folder, photos)
    before, busy = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    if step == "write":
        if form == "table":
            write_table(path, mask_table(photos, results))
        else:
            write_json(path, as_coco(source, results), indent=None)
    else:
        MaskCodes.open(run, "proposals")
    busy = time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if step == "write":
        write_images(run, source)
    took = f"{busy:.1f} s of a core, {(peak - before) / 1024:,.0f} MB more memory"
    return f"{form} {step}: {took}; {path.stat().st_size / 1e6:,.0f} MB on disk"


if __name__ == "__main__":
    main()
