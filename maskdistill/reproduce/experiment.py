"""The runs of a published experiment: masks once, then one run for each clustering seed, measured as published."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskdistill.config import RunConfig
from maskdistill.datasets import open_source
from maskdistill.datasets.splits import reported_numbers
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.evaluation.mask_ap import instances_from, instances_of, mask_ap, predictions_of, single_mask_ap50
from maskdistill.features.backbone import choose_device
from maskdistill.files import write_json
from maskdistill.models.mask_rcnn import MaskRcnnPredictor
from maskdistill.stages.chain import Options, run_stages
from maskdistill.stages.seed_copy import copy_before_clusters
from maskdistill.stages.stage_list import NAMES
from maskdistill.stages.time_estimates import record_speed
from maskdistill.storage.progress import Reporter
from maskdistill.storage.read_files import read_json, read_json_if_there
from maskdistill.storage.run_folder import Run

WANTED = NAMES[: NAMES.index("evaluation") + 1]


def run_seeds(
    data: Path,
    config: RunConfig,
    folder: Path,
    *,
    preset: str,
    seeds: Sequence[int],
    limit: int = 0,
    num_workers: int = 0,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Do every stage for each seed, going on where it was stopped.

    Seeds decide the clusters and what comes after; masks and vectors are those of the first.

    Args:
        data: Photos, as ``layout`` leaves them.
        config: Settings; their seed is replaced.
        folder: Takes a run for each seed.
        preset: Name for the record.
        seeds: Of the clusterings.
        limit: At most so many photos, 0 for all.
        num_workers: Processes, 0 for one a core.
        quiet: No progress.

    Returns:
        For each seed: ``seed``, ``run``, ``metrics`` (metrics.json) and ``detector``, AP50 of the first model's objects
        as COCO counts (``ap50``) and under the "single" protocol, None if it is no Mask R-CNN.
    """
    first = folder / f"seed-{seeds[0]}"
    found = []
    for seed in seeds:
        run = Run(folder / f"seed-{seed}")
        if run.path != first and not run.path.exists():
            copy_before_clusters(first, run.path)
        how = Options(limit=limit, num_workers=num_workers, quiet=quiet, on_finished=record_speed)
        seeded = config.with_overrides([f"seed={seed}"])
        run_stages(run, str(data), seeded, preset=preset, wanted=WANTED, options=how, on_stage=_tell(seed, quiet))
        metrics = read_json(run.path / "metrics.json")
        detector = measure_detector(run, data, limit, quiet=quiet)
        found.append({"seed": seed, "run": str(run.path), "metrics": metrics, "detector": detector})
    return found


def _tell(seed: int, quiet: bool) -> Any:
    def tell(name: str, sentence: str) -> None:
        if not quiet:
            sys.stderr.write(f"seed {seed}, {name}: {sentence}\n")

    return tell


def measure_detector(run: Run, data: Path, limit: int = 0, *, quiet: bool = False) -> dict[str, Any] | None:
    """AP50 of what the first model, a Mask R-CNN, finds on the reported photos; for reporting only.

    Kept in reproduce.json of the run until the model changes.
    """
    config = run.config()
    if config.stage1.model != "mask_rcnn":
        return None
    path, weights = run.path / "reproduce.json", run.path / "stage1" / "model.safetensors"
    key = [weights.stat().st_mtime_ns, limit, config.predictions.split]
    known = read_json_if_there(path) or {}
    if known.get("key") == key:
        return known["detector"]
    source = open_source(str(data))
    source = source.limited(limit) if limit else source
    predictor = MaskRcnnPredictor.load(weights, config.stage1, choose_device(config.features.device))
    truth, truths, predictions = GroundTruth(source), [], []
    numbers = reported_numbers(source, config.predictions.split)
    with Reporter(run.progress_path, "detector", len(numbers), quiet=quiet) as reporter:
        for number in numbers:
            photo = source.photos[number]
            labels = truth.read(photo)
            if labels is not None:
                objects = truth.read_objects(photo)
                found = predictor.candidates(photo)
                masks, scores = [item.mask for item in found], [item.score for item in found]
                truths.append(instances_of(labels) if objects is None else instances_from(objects))
                predictions.append(predictions_of(masks, scores, labels if objects is None else None))
            reporter.advance()
    detector = {
        "num_images": len(truths),
        "ap50": mask_ap(truths, predictions)["ap50"],
        "ap50_single_protocol": single_mask_ap50(truths, predictions),
        "objects_told_apart": source.kind == "coco",
    }
    write_json(path, {"key": key, "detector": detector})
    return detector
