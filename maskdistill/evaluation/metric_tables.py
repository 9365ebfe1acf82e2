"""metrics.json for people: kinds of label maps, numbers in percent, and tables."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import pandas as pd

from maskdistill.storage.run_folder import FINAL_KINDS

PhotoGroup = Literal["reported", "training"]
# The second only where the foreground made the first, the third only where the run finds single objects.
MaskPart = Literal["masks", "cut_masks", "instances"]
Measures = Mapping[str, Any]  # of one kind of label maps, as ``SegmentationReport.to_dict`` gives them
GROUPS: dict[PhotoGroup, str] = {"reported": "Reported photos", "training": "Training photos"}


class MapKind(NamedTuple):
    """Label maps of one kind."""

    name: str
    before: str = ""  # the kind that it is compared with


# In the order of the method.
KINDS: dict[str, MapKind] = {
    "proposals": MapKind("Proposals"),
    "stage1": MapKind("Stage 1", "proposals"),
    "unfiltered": MapKind("Labels, unfiltered", "proposals"),
    "proposals_on_kept": MapKind("Proposals, same pixels"),
    "pseudo_labels": MapKind("Pseudo-labels", "unfiltered"),
    "stage2": MapKind("Stage 2", "stage1"),
    "stage2_crf": MapKind("Stage 2 + CRF", "stage2"),
    "rounds": MapKind("Rounds", "stage2"),
    "rounds_crf": MapKind("Rounds + CRF", "rounds"),
}
MASK_METRICS: dict[str, tuple[str, str]] = {  # name in metrics.json -> label, help
    "corloc": ("CorLoc", "Share of photos whose best mask overlaps an object, or all of them, with IoU 0.5 or more."),
    "mean_best_iou": ("Mean best IoU", "Of each photo's best mask with the object, or all objects, it fits best."),
    "box_corloc": (
        "Box CorLoc",
        "Share of photos in which the box of the best-scored mask fits an object's box (IoU 0.5).",
    ),
    "mask_ap50": ("Mask AP50", "COCO average precision at IoU 0.5, regardless of class: every object counts."),
    "mask_ap": ("Mask AP", "COCO average precision over IoU 0.5 to 0.95, regardless of class."),
    "mask_ar": ("Mask AR", "COCO average recall over IoU 0.5 to 0.95: the share of objects that some mask finds."),
    "mask_ar_small": ("AR, small", "Mask AR of objects below 32 × 32 pixels."),
    "mask_ar_medium": ("AR, medium", "Mask AR of objects from 32 × 32 to 96 × 96 pixels."),
    "mask_ar_large": ("AR, large", "Mask AR of objects above 96 × 96 pixels."),
    "mask_ap50_single_protocol": (
        "AP50, single",
        "One mask a photo against the one object it fits best. Too optimistic: other objects do not count as missed.",
    ),
}
COLUMNS = ("Label maps", "mIoU", "Gain", "Against", "Pixels right", "Pixels labelled", "mIoU by majority", "Photos")


def mask_measures(metrics: Mapping[str, Any], part: MaskPart = "masks") -> dict[str, float]:
    """What metrics.json has of ``MASK_METRICS`` for the masks that count, or for another part."""
    values = metrics.get(part) or {}
    return {name: values[name] for name in MASK_METRICS if values.get(name) is not None}


def kind_name(kind: str) -> str:
    """Name of a kind of label maps; of "truth" and "photo" too."""
    others = {"truth": "Ground truth", "photo": "Photo"}
    return KINDS[kind].name if kind in KINDS else others.get(kind, kind)


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction in percent, without a line break before its unit; a dash for nothing."""
    return "–" if value is None or value != value else f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def signed(value: float, digits: int = 1) -> str:
    """A difference of fractions in percentage points, with its sign unless it rounds to nothing."""
    rounded = f"{100 * abs(value):.{digits}f}"
    sign = "" if float(rounded) == 0 else "+" if value > 0 else "−"
    return f"{sign}{rounded}"


def points(value: float, digits: int = 1) -> str:
    """The same with its unit."""
    return f"{signed(value, digits)} points"


def measured(metrics: Mapping[str, Any], group: PhotoGroup) -> dict[str, Measures]:
    """The kinds that were measured on a group of photos, in the order of the method; empty without ground truth."""
    kinds = metrics.get(group) or {}
    # Where nothing that has ground truth has a label, there are counts but no IoU.
    return {kind: kinds[kind] for kind in KINDS if kinds.get(kind) and kinds[kind]["miou"] is not None}


def final_kind(kinds: Mapping[str, Any]) -> str:
    """The kind that counts as the result; the last one where no final model was measured."""
    return next((kind for kind in FINAL_KINDS if kind in kinds), list(kinds)[-1])


def final_group(metrics: Mapping[str, Any]) -> PhotoGroup:
    """The photos that the result is reported on: the training photos only if no others have ground truth."""
    return "reported" if measured(metrics, "reported") else "training"


def final_measures(metrics: Mapping[str, Any] | None) -> Measures | None:
    """The measures of the result; None without ground truth."""
    kinds = measured(metrics, final_group(metrics)) if metrics else {}
    return kinds[final_kind(kinds)] if kinds else None


def stage_table(kinds: Mapping[str, Measures]) -> pd.DataFrame:
    """One row a kind, with ``COLUMNS``: fractions in percent, gains in percentage points; NaN where unknown.

    Args:
        kinds: As ``measured`` gives them.
    """
    rows = []
    for kind, values in kinds.items():
        before = kinds.get(KINDS[kind].before)
        gain = None if before is None else 100 * (values["miou"] - before["miou"])
        shares = [100 * values[name] for name in ("pixel_accuracy", "coverage", "majority_miou")]
        against = kind_name(KINDS[kind].before) if before is not None else ""
        rows.append((kind_name(kind), 100 * values["miou"], gain, against, *shares, values["num_images"]))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"Gain": float})


def class_table(kinds: Mapping[str, Measures], first: str, second: str) -> pd.DataFrame:
    """IoU of each class in two kinds, in percent, the best of the second first; NaN for a class that is absent.

    Returns:
        class, first, second, gain (percentage points).
    """
    left, right = kinds[first]["iou"], kinds[second]["iou"]
    rows = [(name, _hundred(left.get(name)), _hundred(value)) for name, value in right.items()]
    table = pd.DataFrame(rows, columns=["class", "first", "second"]).astype({"first": float, "second": float})
    table["gain"] = table["second"] - table["first"]
    return table.sort_values("second", ascending=False, na_position="last", ignore_index=True, kind="stable")


def _hundred(value: float | None) -> float | None:
    return None if value is None else 100 * value


def run_table(first: Mapping[str, Any], second: Mapping[str, Any], names: Sequence[str]) -> pd.DataFrame:
    """Metrics of two runs beside each other, in percent, and the difference in points.

    Args:
        first: metrics.json of one run.
        second: Of the other.
        names: Of the runs.
    """
    left, right = _flat(first), _flat(second)
    rows = [(name, left.get(name), right.get(name)) for name in [*left, *(key for key in right if key not in left)]]
    table = pd.DataFrame(rows, columns=["Metric", *names]).astype(dict.fromkeys(names, float))
    return table.assign(Difference=table[names[1]] - table[names[0]])


def _flat(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Every metric of a run in percent, by its label."""
    flat = {}
    for group, title in GROUPS.items():
        for kind, values in measured(metrics, group).items():
            flat[f"mIoU, {kind_name(kind)}, {title.lower()}"] = 100 * values["miou"]
    parts: dict[MaskPart, str] = {"masks": "", "cut_masks": ", masks as cut", "instances": ", single objects"}
    for part, suffix in parts.items():
        for name, value in mask_measures(metrics, part).items():
            flat[f"{MASK_METRICS[name][0]}{suffix}"] = 100 * value
    if seeds := metrics.get("clustering_seeds"):
        flat["mIoU, mean over clustering seeds"] = 100 * seeds["mean"]
    counts = metrics.get("counts") or {}
    if counts.get("candidates"):
        flat["Candidates kept"] = 100 * counts["kept"] / counts["candidates"]
    return flat
