"""metrics.json as tables and sentences. No Streamlit in here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from maskdistill.storage.run_folder import FINAL_KINDS

Group = Literal["reported", "training"]
Measures = Mapping[str, Any]  # by kind of label maps, what ``SegmentationReport.to_dict`` says; None where unknown
GROUPS: tuple[Group, ...] = ("reported", "training")
MINUS = "−"


@dataclass(frozen=True)
class MapKind:
    """Label maps of one kind, for people."""

    name: str
    help: str
    before: str = ""  # the kind that it is measured against


# In the order of the method.
KINDS: dict[str, MapKind] = {
    "proposals": MapKind("Proposals", "the masks of the frozen transformer, each in its cluster"),
    "stage1": MapKind("Stage 1", "the first model, trained on all masks and their clusters", "proposals"),
    "unfiltered": MapKind("Labels, unfiltered", "what stage 1 sees in the training photos, all of it", "proposals"),
    "proposals_on_kept": MapKind("Proposals, same pixels", "the proposals where the pseudo-labels say something"),
    "pseudo_labels": MapKind("Pseudo-labels", "what the filter keeps of what stage 1 sees", "unfiltered"),
    "stage2": MapKind("Stage 2", "the second model, trained on the pseudo-labels", "stage1"),
    "stage2_crf": MapKind("Stage 2 + CRF", "the same, refined along the edges of the photo", "stage2"),
    "rounds": MapKind("Rounds", "trained again on its own label maps", "stage2"),
    "rounds_crf": MapKind("Rounds + CRF", "the same, refined along the edges of the photo", "rounds"),
}
COLUMNS = ("Label maps", "mIoU", "Gain", "Against", "Pixels right", "Pixels labelled", "mIoU by majority", "Photos")
_STEPS = ("stage1", "stage2", "stage2_crf", "rounds", "rounds_crf")


def kind_name(kind: str) -> str:
    """What a kind of label maps is called; "truth" and "photo" too."""
    others = {"truth": "Ground truth", "photo": "Photo"}
    return KINDS[kind].name if kind in KINDS else others.get(kind, kind)


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction in percent, not to be broken at the end of a line; a dash for nothing."""
    return "–" if value is None or value != value else f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def signed(value: float, digits: int = 1) -> str:
    """A difference of fractions in percentage points, with its sign unless it rounds to nothing."""
    rounded = f"{100 * abs(value):.{digits}f}"
    sign = "" if float(rounded) == 0 else "+" if value > 0 else MINUS
    return f"{sign}{rounded}"


def points(value: float, digits: int = 1) -> str:
    """The same with its unit."""
    return f"{signed(value, digits)} points"


def measured(metrics: Mapping[str, Any], group: Group) -> dict[str, Measures]:
    """The kinds that were measured on a group of photos, in the order of the method; empty without ground truth."""
    found = metrics.get(group) or {}
    return {kind: found[kind] for kind in KINDS if found.get(kind)}


def final_kind(found: Mapping[str, Any]) -> str:
    """The kind that counts as the result; the last that there is where no final model was measured."""
    return next((kind for kind in FINAL_KINDS if kind in found), list(found)[-1])


def final_group(metrics: Mapping[str, Any]) -> Group:
    """The photos that the result is told of: the reported ones, unless only training photos have ground truth."""
    return "reported" if measured(metrics, "reported") else "training"


def stage_table(found: Mapping[str, Measures]) -> pd.DataFrame:
    """One row a kind, with ``COLUMNS``: fractions in percent, gains in percentage points; NaN where unknown.

    Args:
        found: As ``measured`` gives it.
    """
    rows = []
    for kind, values in found.items():
        before = found.get(KINDS[kind].before)
        gain = None if before is None else 100 * (values["miou"] - before["miou"])
        shares = [100 * values[name] for name in ("pixel_accuracy", "coverage", "majority_miou")]
        against = kind_name(KINDS[kind].before) if before is not None else ""
        rows.append((kind_name(kind), 100 * values["miou"], gain, against, *shares, values["num_images"]))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"Gain": float})


def headline(metrics: Mapping[str, Any]) -> str:
    """One sentence on the final label maps; empty without ground truth."""
    found = measured(metrics, final_group(metrics))
    if not found:
        return ""
    kind = final_kind(found)
    values = found[kind]
    return f"{kind_name(kind)} reaches {percent(values['miou'])} mIoU on {_photos(values)}."


def _photos(values: Measures) -> str:
    count, seen = values["num_images"], values.get("num_training", 0)
    photos = f"{count:,} photo{'' if count == 1 else 's'}"
    if not seen:
        return f"{photos} that no training saw"
    return f"{photos}, {'all' if seen == count else f'{seen:,}'} of them trained on"


def step_sentences(found: Mapping[str, Measures]) -> list[str]:
    """What each step brought against the one before, a sentence each."""
    sentences = []
    for kind in _STEPS:
        before = KINDS[kind].before
        if kind in found and before in found:
            gain = found[kind]["miou"] - found[before]["miou"]
            verb = f"**{points(gain)}**" if abs(gain) >= 5e-4 else "**nothing**"
            sentences.append(f"{_subject(kind)} brought {verb} over {_object(before)}.")
    return sentences


def _subject(kind: str) -> str:
    words = {"stage1": "Stage 1", "stage2": "Stage 2, on filtered labels,", "rounds": "Further rounds"}
    return words.get(kind, "The CRF")


def _object(kind: str) -> str:
    return "the clustered proposals" if kind == "proposals" else kind_name(kind).lower()


def filter_sentences(found: Mapping[str, Measures], counts: Mapping[str, Any]) -> list[str]:
    """What the filter did: how much stays, and how good that is."""
    sentences = [f"The filter keeps **{counts['kept']:,} of {counts['candidates']:,}** candidates."]
    if "pseudo_labels" in found:
        labels = found["pseudo_labels"]
        said = f"Its label maps speak of {percent(labels['coverage'])} of the pixels, at {percent(labels['miou'])} mIoU"
        same = found.get("proposals_on_kept")
        rest = f"; the proposals reach {percent(same['miou'])} on the same pixels." if same else "."
        sentences.append(said + rest)
    return sentences


def seed_sentence(seeds: Mapping[str, Any] | None) -> str:
    """Spread of the clustered proposals over clustering seeds; empty if it was not measured."""
    if not seeds:
        return ""
    values = ", ".join(percent(value) for value in seeds["miou"])
    spread = "" if seeds["std"] is None else f" ± {100 * seeds['std']:.1f}"
    count = len(seeds["miou"])
    return (
        f"Clustered again under {count} seed{'' if count == 1 else 's'}, the proposals of the training photos reach "
        f"**{100 * seeds['mean']:.1f}{spread}\N{NO-BREAK SPACE}%** mIoU ({values})."
    )


MASK_FIGURES: dict[str, tuple[str, str]] = {  # name in metrics.json -> words, help
    "corloc": ("CorLoc", "Share of photos whose best mask overlaps an object, or all of them, with IoU 0.5 or more."),
    "mean_best_iou": ("Mean best IoU", "Of each photo's best mask with the object, or all objects, it fits best."),
    "mask_ap50": ("Mask AP50", "COCO average precision at IoU 0.5, regardless of class: every object counts."),
    "mask_ap": ("Mask AP", "COCO average precision over IoU 0.5 to 0.95, regardless of class."),
    "mask_ar": ("Mask AR", "COCO average recall over IoU 0.5 to 0.95: the share of objects that some mask finds."),
    "mask_ap50_single_protocol": (
        "AP50, single",
        "One mask a photo against the one object it fits best. It flatters: other objects are not counted as missed.",
    ),
}


def class_table(found: Mapping[str, Measures], first: str, second: str) -> pd.DataFrame:
    """IoU of each class in two kinds, in percent, the best of the second first; NaN for a class that is absent.

    Returns:
        class, first, second, gain (percentage points).
    """
    left, right = found[first]["iou"], found[second]["iou"]
    rows = [(name, _hundred(left.get(name)), _hundred(value)) for name, value in right.items()]
    table = pd.DataFrame(rows, columns=["class", "first", "second"]).astype({"first": float, "second": float})
    table["gain"] = table["second"] - table["first"]
    return table.sort_values("second", ascending=False, na_position="last", ignore_index=True, kind="stable")


def extremes(table: pd.DataFrame, count: int = 3) -> str:
    """A sentence on the best and the worst classes and the greatest gain; ``table`` is of ``class_table``."""
    known = table[table["second"].notna() & (table["class"] != "background")]
    if len(known) < 2:
        return ""
    count = min(count, len(known) // 2)
    best, worst = known.head(count), known.tail(count)[::-1]
    return f"Best: {_named(best)}. Worst: {_named(worst)}."


def greatest_gain(table: pd.DataFrame, against: str) -> str:
    """A sentence on the class that gained most and the one that lost most; empty if nothing moved by a point.

    Args:
        table: Of ``class_table``.
        against: What the first of its kinds is called.
    """
    known = table[table["gain"].notna()]
    if known.empty or known["gain"].abs().max() < 1:
        return ""
    best, worst = known.loc[known["gain"].idxmax()], known.loc[known["gain"].idxmin()]
    parts = []
    if best["gain"] >= 1:
        parts.append(f"**{best['class']}** gained most ({points(best['gain'] / 100, 0)})")
    if worst["gain"] <= -1:
        parts.append(f"**{worst['class']}** lost most ({points(worst['gain'] / 100, 0)})")
    return f"Against {against}, {' and '.join(parts)}."


def worst_confusion(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """A sentence on the two classes of objects that are confused most; empty if none is confused by 5 %.

    Args:
        counts: Pixels, rows ground truth, columns predicted class, the last one "no class".
        names: Of the classes, background first.
    """
    pixels = np.asarray(counts, dtype=np.float64)
    shares = pixels[1:, 1 : len(names)] / np.maximum(pixels[1:].sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    if not shares.size or shares.max() < 0.05:
        return ""
    row, column = np.unravel_index(int(shares.argmax()), shares.shape)
    truth, found = names[row + 1], names[column + 1]
    return f"Mixed up most: {percent(shares[row, column], 0)} of **{truth}** is taken for **{found}**."


def _named(rows: pd.DataFrame) -> str:
    return ", ".join(
        f"{name} ({percent(value / 100, 0)})" for name, value in zip(rows["class"], rows["second"], strict=True)
    )


def _hundred(value: float | None) -> float | None:
    return None if value is None else 100 * value


def run_table(first: Mapping[str, Any], second: Mapping[str, Any], names: Sequence[str]) -> pd.DataFrame:
    """Figures of two runs side by side, in percent, and the difference in points.

    Args:
        first: metrics.json of one run.
        second: Of the other.
        names: What the runs are called.
    """
    left, right = _flat(first), _flat(second)
    rows = [(name, left.get(name), right.get(name)) for name in [*left, *(key for key in right if key not in left)]]
    table = pd.DataFrame(rows, columns=["Figure", *names]).astype(dict.fromkeys(names, float))
    return table.assign(Difference=table[names[1]] - table[names[0]])


def _flat(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Every figure of a run in percent, by its words."""
    flat = {}
    for group, words in zip(GROUPS, ("reported photos", "training photos"), strict=True):
        for kind, values in measured(metrics, group).items():
            flat[f"mIoU, {kind_name(kind)}, {words}"] = 100 * values["miou"]
    for name, (words, _) in MASK_FIGURES.items():
        value = (metrics.get("masks") or {}).get(name)
        if value is not None:
            flat[words] = 100 * value
    if seeds := metrics.get("clustering_seeds"):
        flat["mIoU, mean over clustering seeds"] = 100 * seeds["mean"]
    counts = metrics.get("counts") or {}
    if counts.get("candidates"):
        flat["Candidates kept"] = 100 * counts["kept"] / counts["candidates"]
    return flat
