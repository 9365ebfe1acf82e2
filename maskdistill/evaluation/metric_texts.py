"""metrics.json in sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from maskdistill.evaluation.metric_tables import (
    KINDS,
    Measures,
    final_group,
    final_kind,
    kind_name,
    measured,
    percent,
    points,
)

_STEPS = ("stage1", "stage2", "stage2_crf", "rounds", "rounds_crf")
_LEAST_GAIN = 5e-4  # of a fraction: what rounds to 0.1 points
_LEAST_CONFUSION = 0.05  # of a class's pixels


def headline(metrics: Mapping[str, Any]) -> str:
    """One sentence on the final label maps; empty without ground truth."""
    kinds = measured(metrics, final_group(metrics))
    if not kinds:
        return ""
    kind = final_kind(kinds)
    return f"{kind_name(kind)} reaches {percent(kinds[kind]['miou'])} mIoU on {_photos(kinds[kind])}."


def _photos(values: Measures) -> str:
    count, trained_on = values["num_images"], values.get("num_training", 0)
    photos = f"{count:,} photo{'' if count == 1 else 's'}"
    if not trained_on:
        return f"{photos} that no training saw"
    return f"{photos}, {'all' if trained_on == count else f'{trained_on:,}'} of them trained on"


def step_sentences(kinds: Mapping[str, Measures]) -> list[str]:
    """The gain of each step over the one before, a sentence each."""
    sentences = []
    for kind in _STEPS:
        before = KINDS[kind].before
        if kind in kinds and before in kinds:
            gain = kinds[kind]["miou"] - kinds[before]["miou"]
            text = points(gain) if abs(gain) >= _LEAST_GAIN else "no change"
            sentences.append(f"{kind_name(kind)}: **{text}** over {kind_name(before)}.")
    return sentences


def filter_sentences(kinds: Mapping[str, Measures], counts: Mapping[str, Any]) -> list[str]:
    """What the filter did: how much stays, and how good that is."""
    sentences = [f"The filter keeps **{counts['kept']:,} of {counts['candidates']:,}** candidates."]
    if "pseudo_labels" in kinds:
        labels, same = kinds["pseudo_labels"], kinds.get("proposals_on_kept")
        text = f"Its label maps cover {percent(labels['coverage'])} of the pixels, at {percent(labels['miou'])} mIoU"
        rest = f"; the proposals reach {percent(same['miou'])} on the same pixels." if same else "."
        sentences.append(text + rest)
    return sentences


def seed_sentence(seeds: Mapping[str, Any] | None) -> str:
    """Spread of the clustered proposals over clustering seeds; empty if it was not measured."""
    if not seeds:
        return ""
    values = ", ".join(percent(value) for value in seeds["miou"])
    spread = "" if seeds["std"] is None else f" ± {100 * seeds['std']:.1f}"
    count = len(seeds["miou"])
    return (
        f"Clustered again with {count} seed{'' if count == 1 else 's'}, the proposals of the training photos "
        f"reach **{100 * seeds['mean']:.1f}{spread}\N{NO-BREAK SPACE}%** mIoU ({values})."
    )


def repair_sentence(repairs: Mapping[str, Any] | None) -> str:
    """What people's repairs of masks brought; empty if there are none, or none on a photo with ground truth.

    Args:
        repairs: Part of metrics.json.
    """
    if not repairs:
        return ""
    parts = []
    if count := repairs["masks"]:
        masks = "One mask that people mended has" if count == 1 else f"{count:,} masks that people mended have"
        before, after = percent(repairs["iou_before"]), percent(repairs["iou_after"])
        parts.append(
            f"{masks} a best IoU with an object of **{after}**, {before} before; "
            f"{repairs['better']:,} got better, {repairs['worse']:,} worse."
        )
    if repairs["new"]:
        parts.append(f"Masks that people added, {repairs['new']:,}: {percent(repairs['iou_new'])}.")
    return " ".join(parts)


def extremes(table: pd.DataFrame, count: int = 3) -> str:
    """A sentence on the best and the worst classes; ``table`` is of ``class_table``."""
    known = table[table["second"].notna() & (table["class"] != "background")]
    if len(known) < 2:
        return ""
    count = min(count, len(known) // 2)
    best, worst = known.head(count), known.tail(count)[::-1]
    return f"Best: {_named(best)}. Worst: {_named(worst)}."


def _named(rows: pd.DataFrame) -> str:
    return ", ".join(
        f"{name} ({percent(value / 100, 0)})" for name, value in zip(rows["class"], rows["second"], strict=True)
    )


def greatest_gain(table: pd.DataFrame, against: str) -> str:
    """A sentence on the class that gained most and the one that lost most; empty if none changed by a point.

    Args:
        table: Of ``class_table``.
        against: Name of the first of its kinds.
    """
    known = table[table["gain"].notna()]
    if known.empty or known["gain"].abs().max() < 1:
        return ""
    gains = known["gain"].to_numpy()
    best, worst = known.iloc[int(gains.argmax())], known.iloc[int(gains.argmin())]
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
    if not shares.size or shares.max() < _LEAST_CONFUSION:
        return ""
    row, column = divmod(int(shares.argmax()), shares.shape[1])
    truth, predicted = names[row + 1], names[column + 1]
    return f"Confused most: {percent(shares[row, column], 0)} of **{truth}** is predicted as **{predicted}**."
