"""Stage ``evaluation``: what each stage brought. It alone reads ground truth, and nothing reads its result."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from maskdistill.datasets import IGNORE_INDEX
from maskdistill.datasets.splits import reported_numbers
from maskdistill.evaluation.confusion import Confusion, match_by_majority, match_one_to_one, mean_and_std, report
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.evaluation.mask_ap import (
    box_corloc,
    instances_from,
    instances_of,
    mask_ap,
    predictions_of,
    single_mask_ap50,
)
from maskdistill.evaluation.mask_truth import make_truth
from maskdistill.evaluation.photo_metrics import make_photo_results
from maskdistill.evaluation.region_metrics import best_iou, corloc
from maskdistill.files import write_json
from maskdistill.masks import decode_mask
from maskdistill.pseudo_labels.label_maps import read_label_png
from maskdistill.stages.cluster import recluster
from maskdistill.stages.context import Context, annotations_by_photo
from maskdistill.stages.evaluate_repairs import measure_repairs
from maskdistill.stages.label import (
    LabelsOf,
    candidates_by_photo,
    clustered_labels,
    flat_labels,
    mask_codes,
    paint_photo,
)
from maskdistill.stages.predict import STAGE1, STAGE2
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import final_measures


def evaluate_run(context: Context) -> str:
    """Write metrics.json, None in it for what no photo has the ground truth for, and the counts of photos and masks.

    Ground truth that cannot be used is left out, which metrics.json and the sentence say; the rest is measured.
    """
    truth = GroundTruth(context.source)
    for describe in (make_photo_results, make_truth):  # the first reads the ground truth of every photo
        _describe_photos(context, truth, describe)
    counts = _counts(context)
    if not truth.exists:
        about = {"ground_truth": False, "ground_truth_left_out": truth.describe(), "counts": counts}
        write_json(context.run.path / "metrics.json", about)
        return " ".join(("No ground truth: counts only.", *(note.reason for note in truth.notes[:1])))
    numbers = reported_numbers(context.source, context.config.predictions.split)
    result: dict[str, Any] = {
        "ground_truth": True,
        "split": context.config.predictions.split,
        "matching": "one-to-one (Hungarian), background to background; over-clustering by majority is named so",
        "classes": list(context.source.classes),
        "counts": counts,
        "reported": compare(context, truth, numbers, _prediction_kinds(context)),
        "training": compare(context, truth, context.training_numbers, _training_kinds(context)),
        "masks": measure_masks(context, truth, numbers, context.annotations),
    }
    if context.run.mask_stage != "proposals":
        cut = annotations_by_photo(context.run.proposals_path)
        result["cut_masks"] = measure_masks(context, truth, numbers, cut)
    if context.config.instances.enabled != "off" and read_json(context.run.instances.record_path)["used"]:
        objects = annotations_by_photo(context.run.instances.codes_path)
        result["instances"] = measure_masks(context, truth, numbers, objects)
    if (repairs := measure_repairs(context, truth)) is not None:
        result["repairs"] = repairs
    if context.config.evaluation.num_seeds > 1 and context.config.clusters.by == "vectors":
        result["clustering_seeds"] = _seeds(context, truth) if result["training"]["proposals"] else None
    if context.config.evaluation.probe:
        from maskdistill.stages.probe import train_probes  # loads torch

        result["with_labels"] = train_probes(context, truth, numbers)
    write_json(context.run.path / "metrics.json", result | {"ground_truth_left_out": truth.describe()})
    return " ".join(part for part in (_sentence(result), truth.sentence) if part)


def _describe_photos(context: Context, truth: GroundTruth, describe: Callable[..., Any]) -> None:
    with context.reporter("evaluation", len(context.source.photos)) as reporter:
        describe(context.run, truth, lambda done, _total: reporter.reach(done))


def compare(
    context: Context,
    truth: GroundTruth,
    numbers: Sequence[int],
    kinds: Mapping[str, LabelsOf],
    num_clusters: int = 0,
) -> dict[str, Any]:
    """Compare kinds of label maps with ground truth, each matched for itself.

    Args:
        context: The run.
        truth: Of its photos.
        numbers: Photos; those without ground truth are left out.
        kinds: Where the label maps come from, by name. Pixels that they leave open (255) are left out too, which
            ``coverage`` tells.
        num_clusters: K of these label maps; 0 is the run's.

    Returns:
        By the same names what ``SegmentationReport.to_dict`` returns, ``majority_miou``, and ``num_training``, how many
        of the photos training saw; None if there is no pixel to judge.
    """
    num_classes = len(context.source.classes)
    num_clusters = num_clusters or context.run.num_classes
    counts = {kind: Confusion(num_classes=num_classes, num_clusters=num_clusters, skip_unknown=True) for kind in kinds}
    training, seen = set(context.training_numbers), 0
    with context.reporter("evaluation", len(numbers)) as reporter:
        for number in numbers:
            classes = truth.read(context.photo(number))
            if classes is not None:
                seen += number in training
                for kind, labels_of in kinds.items():
                    counts[kind].update(classes, labels_of(number))
            reporter.advance()
    return {kind: _describe(context, found, seen) for kind, found in counts.items()}


def _describe(context: Context, counts: Confusion, num_training: int) -> dict[str, Any] | None:
    if not counts.coverage:
        return None
    found = report(counts, context.source.classes, match_one_to_one(counts)).to_dict()
    majority = report(counts, context.source.classes, match_by_majority(counts))
    return {**found, "majority_miou": majority.miou, "num_training": num_training}


def _sentence(result: dict[str, Any]) -> str:
    best = final_measures(result["reported"])
    if best:
        return f"mIoU {best['miou']:.3f} on {best['num_images']} photos, {best['num_training']} of them trained on."
    if result["masks"]["num_images"]:
        return "The ground truth of every reported photo is ignored (255), so nothing is measured."
    trained = final_measures(result["training"])
    rest = f" mIoU {trained['miou']:.3f} on {trained['num_images']} photos trained on." if trained else ""
    return f"No reported photo has ground truth: choose another predictions.split.{rest}"


def _prediction_kinds(context: Context) -> dict[str, LabelsOf]:
    """What can be compared on any photo: the clustered proposals, every model, and the CRF."""
    made = read_json(context.run.path / "predictions.json")
    readable = set(made["photos"])

    def predicted(kind: str, number: int) -> np.ndarray:
        """Background only for a photo that could not be read."""
        there = number in readable
        return read_label_png(context.run.prediction(kind, number)) if there else flat_labels(context, number)

    last = made.get("model", STAGE2).partition("/")[0]
    kinds = (STAGE1, STAGE2, last, *((f"{last}_crf",) if made["crf"] else ()))
    proposals = partial(clustered_labels, context, clusters=context.run.class_of_mask())
    return {"proposals": proposals, **{kind: partial(predicted, kind) for kind in kinds}}


def _training_kinds(context: Context) -> dict[str, LabelsOf]:
    """On the photos trained on: the same, and the pseudo-labels before and after the filter, where they have one."""
    kinds, config = _prediction_kinds(context), context.config.labels
    kept = set(read_json(context.run.path / "pseudo_labels.json")["photos"])
    codes = mask_codes(context.run, config)
    by_photo = candidates_by_photo(context.run)

    def unfiltered(number: int) -> np.ndarray:
        if number not in by_photo:
            return flat_labels(context, number)
        return paint_photo(context, number, by_photo[number].assign(kept=True, relabel=0), codes, config)

    def filtered(number: int) -> np.ndarray:
        there = number in kept
        return read_label_png(context.run.pseudo_label(number)) if there else flat_labels(context, number, IGNORE_INDEX)

    def proposals_on_kept(number: int) -> np.ndarray:
        """Unknown where the filtered labels are: what the filter brings on what it keeps."""
        labels = filtered(number)
        return np.where(labels == IGNORE_INDEX, labels, kinds["proposals"](number))

    return {
        "proposals": kinds["proposals"],
        "unfiltered": unfiltered,
        "proposals_on_kept": proposals_on_kept,
        "pseudo_labels": filtered,
        **{kind: kinds[kind] for kind in (STAGE1, STAGE2, "rounds") if kind in kinds},
    }


def measure_masks(
    context: Context, truth: GroundTruth, numbers: Sequence[int], annotations: Mapping[int, list[dict[str, Any]]]
) -> dict[str, Any]:
    """CorLoc and mask AP of masks; objects not told apart are the connected regions of a class.

    Args:
        context: The run.
        truth: Of its photos.
        numbers: Photos; those without ground truth are left out.
        annotations: The masks of each photo that has any, best first.
    """
    truths, predictions, ious = [], [], []
    for number in numbers:
        labels = truth.read(context.photo(number))
        if labels is None:
            continue
        items = annotations.get(number, [])
        masks = [decode_mask(item["segmentation"]) for item in items]
        objects = truth.read_objects(context.photo(number))
        truths.append(instances_of(labels) if objects is None else instances_from(objects))
        scores = [item["score"] for item in items]
        predictions.append(predictions_of(masks, scores, labels if objects is None else None))
        if ((labels > 0) & (labels < IGNORE_INDEX)).any():
            ious.append(best_iou(masks[0], labels) if masks else 0.0)
    return {
        "num_images": len(truths),
        "corloc": corloc(ious) if ious else None,
        "mean_best_iou": float(np.mean(ious)) if ious else None,
        "box_corloc": box_corloc(truths, predictions),
        **{f"mask_{name}": value for name, value in mask_ap(truths, predictions).items()},
        "mask_ap50_single_protocol": single_mask_ap50(truths, predictions),
    }


def _seeds(context: Context, truth: GroundTruth) -> dict[str, Any]:
    """mIoU of the clustered proposals under several clustering seeds, on the training photos."""
    first = context.config.seed
    by_seed = recluster(context, range(first, first + context.config.evaluation.num_seeds))
    kinds = {str(seed): partial(clustered_labels, context, clusters=clusters) for seed, clusters in by_seed.items()}
    num_clusters = read_json(context.run.path / "clusters.json")["num_classes"]  # whatever people changed in them
    found = compare(context, truth, context.training_numbers, kinds, num_clusters)
    scores = [item["miou"] for item in found.values()]
    mean, spread = mean_and_std(scores)
    return {"miou": scores, "mean": mean, "std": spread}


def _counts(context: Context) -> dict[str, Any]:
    """What can be counted without ground truth."""
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
