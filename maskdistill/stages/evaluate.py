"""Stage ``evaluation``: what each stage brought. It alone reads ground truth, and nothing reads its result."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from maskdistill.config import LabelConfig
from maskdistill.confusion import (
    Confusion,
    match_by_majority,
    match_one_to_one,
    mean_and_std,
    report,
)
from maskdistill.datasets import read_label
from maskdistill.errors import DatasetError
from maskdistill.evaluation import best_iou, corloc
from maskdistill.instances import instances_of, mask_ap, predictions_of, single_mask_ap50
from maskdistill.masks import decode_mask
from maskdistill.painting import paint_labels, read_label_png
from maskdistill.stages.cluster import recluster
from maskdistill.stages.context import Context
from maskdistill.stages.label import mask_codes, paint_photo
from maskdistill.stages.predict import CRF, STAGE1, STAGE2, reported_numbers
from maskdistill.store import read_json, write_json

LabelsOf = Callable[[int], np.ndarray]


def evaluate_run(context: Context) -> str:
    """Write metrics.json."""
    counts = _counts(context)
    if not context.source.has_labels:
        write_json(context.run.path / "metrics.json", {"ground_truth": False, "counts": counts})
        return "No ground truth: counts only."
    numbers = reported_numbers(context.source, context.config.predictions.split)
    result: dict[str, Any] = {
        "ground_truth": True,
        "split": context.config.predictions.split,
        "matching": "one-to-one (Hungarian), background to background; over-clustering by majority is named so",
        "classes": list(context.source.classes),
        "counts": counts,
        "reported": _compare(context, numbers, _prediction_kinds(context)),
        "training": _compare(context, context.training_numbers, _training_kinds(context)),
        "masks": measure_masks(context, numbers),
    }
    if context.config.evaluation.num_seeds > 1:
        result["clustering_seeds"] = _seeds(context)
    if context.config.evaluation.probe:
        from maskdistill.stages.probe import train_probes

        result["with_labels"] = train_probes(context, numbers)
    write_json(context.run.path / "metrics.json", result)
    best = result["reported"].get(CRF) or result["reported"][STAGE2]
    return f"mIoU {best['miou']:.3f} on {best['num_images']} photos, {best['num_training']} of them trained on."


def measure(
    context: Context, numbers: Sequence[int], labels_of: LabelsOf, *, skip_unknown: bool = False
) -> dict[str, Any] | None:
    """Compare label maps with ground truth.

    Args:
        context: The run.
        numbers: Photos; those without ground truth are left out.
        labels_of: Number of a photo -> (H, W) uint8 label map, 255 unknown.
        skip_unknown: Leave unknown pixels out, rather than count them as wrong.

    Returns:
        What ``SegmentationReport.to_dict`` says, ``majority_miou``, and ``num_training``, how many of the photos
        training saw; None if no photo has ground truth.
    """
    num_clusters = read_json(context.run.path / "clusters.json")["num_classes"]
    counts = Confusion(num_classes=len(context.source.classes), num_clusters=num_clusters, skip_unknown=skip_unknown)
    seen = 0
    training = set(context.training_numbers)
    for number in numbers:
        truth = read_label(context.source, context.photo(number))
        if truth is not None:
            counts.update(truth, labels_of(number))
            seen += number in training
    if not counts.num_images:
        return None
    found = report(counts, context.source.classes, match_one_to_one(counts)).to_dict()
    majority = report(counts, context.source.classes, match_by_majority(counts))
    return {**found, "majority_miou": majority.miou, "num_training": seen}


def _compare(context: Context, numbers: Sequence[int], kinds: dict[str, tuple[LabelsOf, bool]]) -> dict[str, Any]:
    found = {}
    with context.reporter("evaluation", len(kinds), unit="stages") as reporter:
        for kind, (labels_of, skip_unknown) in kinds.items():
            found[kind] = measure(context, numbers, labels_of, skip_unknown=skip_unknown)
            reporter.advance()
    if all(item is None for item in found.values()):
        raise DatasetError("None of the photos to report on has ground truth. Choose another predictions.split.")
    return found


def _prediction_kinds(context: Context) -> dict[str, tuple[LabelsOf, bool]]:
    """What can be compared on any photo: the clustered proposals, both models, and the CRF."""
    made = read_json(context.run.path / "predictions.json")
    kinds = (STAGE1, STAGE2, *((CRF,) if made["crf"] else ()))
    there = set(made["photos"])

    def predicted(kind: str) -> LabelsOf:
        return lambda number: _read_or_empty(context, kind, number, there)

    return {"proposals": (clustered(context), False), **{kind: (predicted(kind), False) for kind in kinds}}


def _read_or_empty(context: Context, kind: str, number: int, there: set[int]) -> np.ndarray:
    """The prediction; background only for a photo that could not be read."""
    if number in there:
        return read_label_png(context.run.prediction(kind, number))
    photo = context.photo(number)
    return np.zeros((photo.height, photo.width), np.uint8)


def _training_kinds(context: Context) -> dict[str, tuple[LabelsOf, bool]]:
    """On the photos trained on: the same, and the pseudo-labels before and after the filter, as far as they say."""
    kept = read_json(context.run.path / "pseudo_labels.json")["photos"]
    config = context.config.labels
    codes = mask_codes(context.run, config)
    table = context.run.candidates().merge(context.run.kept(), on="mask_id")
    by_photo = {number: rows.assign(kept=True) for number, rows in table.groupby("image")}

    def unfiltered(number: int) -> np.ndarray:
        if number not in by_photo:
            photo = context.photo(number)
            return np.zeros((photo.height, photo.width), np.uint8)
        return paint_photo(context, number, by_photo[number], codes, config)

    def filtered(number: int) -> np.ndarray:
        if number in kept:
            return read_label_png(context.run.pseudo_label(number))
        photo = context.photo(number)
        return np.full((photo.height, photo.width), 255, np.uint8)

    def on_kept(labels_of: LabelsOf) -> LabelsOf:
        """The same, unknown where the filtered labels are: what the filter brings on what it keeps."""
        return lambda number: np.where(filtered(number) == 255, np.uint8(255), labels_of(number))

    stages = {kind: item for kind, item in _prediction_kinds(context).items() if kind != CRF}
    return {
        "proposals": stages["proposals"],
        "unfiltered": (unfiltered, True),
        "proposals_on_kept": (on_kept(stages["proposals"][0]), True),
        "pseudo_labels": (filtered, True),
        STAGE1: stages[STAGE1],
        STAGE2: stages[STAGE2],
    }


def clustered(context: Context, clusters: dict[int, int] | None = None) -> LabelsOf:
    """Number of a photo -> label map of its proposals, each in its cluster."""
    known = clusters if clusters is not None else context.run.cluster_of_mask()

    def labels_of(number: int) -> np.ndarray:
        photo = context.photo(number)
        items = [item for item in context.annotations.get(number, []) if item["id"] in known]
        masks = [decode_mask(item["segmentation"]) for item in items]
        scores = [item["score"] for item in items]
        labels = [known[item["id"]] for item in items]
        return paint_labels((photo.height, photo.width), masks, labels, scores, [True] * len(items), LabelConfig())

    return labels_of


def measure_masks(context: Context, numbers: Sequence[int]) -> dict[str, Any]:
    """CorLoc and mask AP of the proposals: objects are the connected regions of a class."""
    truths, several, single, ious = [], [], [], []
    for number in numbers:
        labels = read_label(context.source, context.photo(number))
        if labels is None:
            continue
        items = context.annotations.get(number, [])
        masks = [decode_mask(item["segmentation"]) for item in items]
        found = predictions_of(masks, [item["score"] for item in items], labels)
        truths.append(instances_of(labels))
        several.append(found)
        single.append(found[:1])
        if ((labels > 0) & (labels < 255)).any():
            ious.append(best_iou(masks[0], labels) if masks else 0.0)
    return {
        "num_images": len(truths),
        "corloc": corloc(ious) if ious else None,
        "mean_best_iou": float(np.mean(ious)) if ious else None,
        **{f"mask_{name}": value for name, value in mask_ap(truths, several).items()},
        "mask_ap50_single_protocol": single_mask_ap50(truths, single),
    }


def _seeds(context: Context) -> dict[str, Any]:
    """mIoU of the clustered proposals under several clustering seeds, on the training photos."""
    scores = []
    for seed in range(context.config.seed, context.config.seed + context.config.evaluation.num_seeds):
        ids, _, clustering = recluster(context, seed)
        clusters = dict(zip(ids.tolist(), (clustering.labels + 1).tolist(), strict=True))
        found = measure(context, context.training_numbers, clustered(context, clusters))
        scores.append(None if found is None else found["miou"])
    known = [score for score in scores if score is not None]
    mean, spread = mean_and_std(known) if known else (None, None)
    return {"miou": scores, "mean": mean, "std": spread}


def _counts(context: Context) -> dict[str, Any]:
    """What can be said without ground truth."""
    kept = context.run.kept()
    rules = pd.Series(kept["rule"]).value_counts().to_dict()
    clusters = context.run.clusters()
    return {
        "photos": len(context.source.photos),
        "training_photos": len(context.training_numbers),
        "masks": len(clusters),
        "candidates": len(kept),
        "kept": int(kept["kept"].sum()),
        "rules": {str(name): int(count) for name, count in rules.items()},
        "pseudo_labels": len(read_json(context.run.path / "pseudo_labels.json")["photos"]),
    }
