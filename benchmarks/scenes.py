"""How well the masks find single objects in photos of many: box CorLoc, AP50, AP and AR regardless of class, by size.

    python -m benchmarks.scenes --data ../shared/data/scenes [--set proposals.num_objects=5] [--run R]

Ground truth, a COCO file with instances, is read here, after everything was made, and nowhere else.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import print_table, write_report
from maskdistill.config import load_preset
from maskdistill.datasets import PhotoSource, open_source
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.evaluation.mask_ap import box_corloc, instances_from, mask_ap
from maskdistill.stages.context import annotations_by_photo
from maskdistill.stages.propose import hold_masks
from maskdistill.storage.run_folder import Run

MEASURES = ("box_corloc", "ap50", "ap", "ar", "ar_small", "ar_medium", "ar_large")


def main() -> None:
    """Make the masks of a folder, then measure them."""
    options = _parse()
    source = open_source(options.data)
    config = load_preset(options.preset).with_overrides(options.set)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(options.run or Path(folder) / "run")
        with hold_masks(run, source, config, preset=options.preset, num_workers=options.workers) as summary:
            pass
        result: dict[str, Any] = {"benchmark": "scenes", "data": source.spec, "config": config.to_dict()}
        result["photos_per_second"] = summary.num_new / summary.seconds if summary.num_new else None
        result["masks"] = measure(run, source)
    print_table(
        f"Masks of {result['masks']['num_photos']} photos, regardless of class", MEASURES, [_row(result["masks"])]
    )
    write_report(options.json, result)


def measure(run: Run, source: PhotoSource) -> dict[str, Any]:
    """``num_photos``, masks a photo, and the measures in [0, 1] of a run's proposals."""
    truth, found = GroundTruth(source), annotations_by_photo(run)
    truths, predictions = [], []
    for number, photo in enumerate(source.photos):
        objects = truth.read_objects(photo)
        if objects is not None:
            truths.append(instances_from(objects))
            predictions.append(found.get(number, []))
    masks = sum(map(len, predictions)) / max(1, len(truths))
    counts = {"num_photos": len(truths), "masks_per_photo": masks}
    return counts | {"box_corloc": box_corloc(truths, predictions)} | mask_ap(truths, predictions)


def _row(found: dict[str, Any]) -> list[str]:
    return ["-" if found[name] is None else f"{100 * found[name]:.1f} %" for name in MEASURES]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="COCO folder or json with instances")
    parser.add_argument("--run", type=Path, help="keep the run here (and reuse it)")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
