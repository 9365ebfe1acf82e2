"""How well the masks find single objects in photos of many: box CorLoc, AP50, AP and AR regardless of class, by size.

    python -m benchmarks.scenes --data ../shared/data/scenes [--with ../shared/data/bsds] [--seeds 3] [--run R]

Ground truth, a COCO file with instances, is read here, after everything was made, and nowhere else. The photos of
``--with`` are learnt from too, and not measured.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.masks import add_options, make_stage
from benchmarks.report import print_table, write_report
from maskdistill.config import load_preset
from maskdistill.datasets import Photo, PhotoSource, open_source, read_photo
from maskdistill.evaluation.confusion import mean_and_std
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.evaluation.mask_ap import box_corloc, instances_from, mask_ap
from maskdistill.masks import encode_mask
from maskdistill.proposals.pool import Pool, common_grid, shapes_on, suppress
from maskdistill.proposals.pool_masks import score_views, sharpen
from maskdistill.proposals.tree import pairwise_iou
from maskdistill.stages.context import annotations_by_photo
from maskdistill.stages.foreground import as_cut
from maskdistill.stages.pool import Workers
from maskdistill.stages.propose import hold_masks
from maskdistill.storage.photo_arrays import ArrayStore, PoolStore
from maskdistill.storage.run_folder import Run

MEASURES = ("box_corloc", "ap50", "ap", "ar", "ar_small", "ar_medium", "ar_large")
MOST_OVERLAP = 0.7  # IoU of two candidates of the pool that both count
MOST_CANDIDATES = 100  # of a photo, as COCO's evaluation reads

Found = dict[int, list[dict[str, Any]]]  # number of the photo -> masks with their scores


def main() -> None:
    """Make the masks of a folder once for each seed, then measure them."""
    options = _parse()
    truth = open_source(options.data)
    result: dict[str, Any] = {"benchmark": "scenes", "data": options.data, "with": options.others}
    with _photos(truth, options.others) as data, tempfile.TemporaryDirectory() as folder:
        run, seeds = Run(options.run or Path(folder) / "run"), []
        for seed in range(options.seeds):
            options.set = [*options.set, f"seed={seed}"]
            kinds, result["photos_per_second"] = _make(run, data, options, len(truth.photos))
            seeds.append({name: measure(run, truth, found) for name, found in kinds.items()})
    rows = {name: {key: _gather([item[name][key] for item in seeds]) for key in seeds[0][name]} for name in seeds[0]}
    result["masks"] = rows
    title = f"{len(truth.photos)} photos, regardless of class, {options.seeds} seeds"
    header = ["masks", "a photo", *MEASURES]
    print_table(title, header, [[name, f"{row['per_photo']['mean']:.1f}", *_cells(row)] for name, row in rows.items()])
    write_report(options.json, result)


@contextmanager
def _photos(truth: PhotoSource, others: str | None) -> Iterator[str]:
    """A folder with links to the photos that are measured and those that are only learnt from, and no ground truth."""
    photos = [*truth.photos, *(open_source(others).photos if others else ())]
    with tempfile.TemporaryDirectory() as folder:
        for number, photo in enumerate(photos):
            (Path(folder) / f"{number:06d}{photo.path.suffix}").symlink_to(photo.path.resolve())
        yield folder


def _make(run: Run, data: str, options: argparse.Namespace, measured: int) -> tuple[dict[str, Found], float | None]:
    """All kinds of masks of a run's first photos, by name, and the photos a second of the proposals."""
    source, config = open_source(data), load_preset(options.preset).with_overrides(options.set)
    with hold_masks(run, source, config, preset=options.preset, workers=Workers(options.workers)) as summary:
        pass
    proposals = annotations_by_photo(run.proposals_path)
    options.data = data
    make_stage(run, options)
    kinds = {
        "cut": {number: as_cut(items) for number, items in proposals.items()},
        "proposals": proposals,
        "foreground": annotations_by_photo(run.codes_path),
    }
    if run.pool.is_dir():
        kinds["pool"] = {
            number: _best_of_pool(run, number, photo) for number, photo in enumerate(source.photos[:measured])
        }
    if config.instances.enabled != "off":
        make_stage(run, options, "instances")
        kinds["instances"] = annotations_by_photo(run.instances.codes_path)
    return kinds, summary.num_new / summary.seconds if summary.num_new else None


def _best_of_pool(run: Run, number: int, photo: Photo) -> list[dict[str, Any]]:
    """The best candidates of a photo, by the score with the foreground where there is one."""
    maps = ArrayStore(run.foreground.maps_path)
    known = maps.path(number).is_file()
    probability = np.asarray(maps.read(number)[..., 0], np.float32) if known else None
    pools = [Pool.from_arrays(arrays) for arrays in PoolStore(run.pool).read(number)]
    scores = np.concatenate(score_views(pools, probability))
    shapes = np.concatenate([shapes_on(pool, common_grid(pools[0])) for pool in pools])
    kept = suppress(pairwise_iou(shapes, shapes), scores, MOST_OVERLAP, MOST_CANDIDATES)
    masks = sharpen(kept, pools, probability, read_photo(photo), (photo.height, photo.width))
    return [{"segmentation": encode_mask(item.mask), "score": float(scores[item.number])} for item in masks]


def measure(run: Run, truth: PhotoSource, found: Found) -> dict[str, float | None]:
    """Masks a photo, and the measures in [0, 1]; the measured photos are the first of the run."""
    known = GroundTruth(truth)
    truths, predictions = [], []
    for number, photo in enumerate(truth.photos):
        objects = known.read_objects(photo)
        if objects is not None:
            truths.append(instances_from(objects))
            predictions.append([_plain(item) for item in found.get(number, [])])
    per_photo = sum(map(len, predictions)) / max(1, len(truths))
    return {"per_photo": per_photo, "box_corloc": box_corloc(truths, predictions)} | mask_ap(truths, predictions)


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    return {"segmentation": item["segmentation"], "score": item["score"], "iscrowd": 0, "category_id": 1}


def _gather(values: Sequence[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    mean, std = mean_and_std(known) if known else (None, None)
    return {"mean": mean, "std": std, "seeds": list(values)}


def _cells(row: dict[str, Any]) -> list[str]:
    return [_percent(row[name]["mean"], row[name]["std"]) for name in MEASURES]


def _percent(mean: float | None, std: float | None) -> str:
    if mean is None:
        return "-"
    return f"{100 * mean:.1f} %" if std is None else f"{100 * mean:.1f} ± {100 * std:.1f} %"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, data="COCO folder or json with instances")
    parser.add_argument("--with", dest="others", help="a folder of photos to learn from beside them")
    parser.add_argument("--seeds", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
