"""How well the masks find single objects in photos of many: box CorLoc, AP50, AP and AR regardless of class, by size.

    python -m benchmarks.scenes --data ../shared/data/scenes [--set proposals.num_objects=5] [--run R]

Ground truth, a COCO file with instances, is read here, after everything was made, and nowhere else.
"""

from typing import Any

from benchmarks.masks import made_masks, parse_options
from benchmarks.report import print_table, write_report
from maskdistill.datasets import PhotoSource
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.evaluation.mask_ap import box_corloc, instances_from, mask_ap
from maskdistill.stages.context import annotations_by_photo
from maskdistill.storage.run_folder import Run

MEASURES = ("box_corloc", "ap50", "ap", "ar", "ar_small", "ar_medium", "ar_large")


def main() -> None:
    """Make the masks of a folder, then measure them."""
    options = parse_options(__doc__, data="COCO folder or json with instances")
    with made_masks(options) as (run, source, about):
        result: dict[str, Any] = {"benchmark": "scenes", **about, "masks": measure(run, source)}
    print_table(
        f"Masks of {result['masks']['num_photos']} photos, regardless of class", MEASURES, [_row(result["masks"])]
    )
    write_report(options.json, result)


def measure(run: Run, source: PhotoSource) -> dict[str, Any]:
    """``num_photos``, masks a photo, and the measures in [0, 1] of a run's proposals."""
    truth, found = GroundTruth(source), annotations_by_photo(run.codes_path)
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


if __name__ == "__main__":
    main()
