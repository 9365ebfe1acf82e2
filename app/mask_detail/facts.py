"""What is known of one mask, in the order it is told: the verdict, its scores, stage 1's signals, the truth."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from app import cache
from app.run_view import DecisionView, RunView
from maskdistill.config import FilterConfig
from maskdistill.errors import ConfigError
from maskdistill.files import read_json
from maskdistill.proposals.scoring import PART_HELP, PART_NAMES, WEIGHTS
from maskdistill.pseudo_labels.filter import KEPT, RULE_HELP, THRESHOLDS
from maskdistill.pseudo_labels.signals import MaskSignals

SIGNALS = {  # of MaskSignals: what they are called, and what they say
    "score": ("Score", "mean probability that stage 1 gives the mask's class inside it"),
    "iou": ("IoU", "of the proposal with what stage 1 predicts there"),
    "agreement": ("Agreement", "share of the mask in which stage 1 predicts its cluster"),
    "distance_quantile": ("Distance to centre", "share of its cluster that lies nearer to the cluster's centre"),
    "area": ("Area", "fraction of the photo that stage 1's version of the mask covers"),
    "border": ("Border", "share of the photo's border that the mask covers"),
    "standing": ("Place in cluster", "share of its cluster with a better score; 0 is the best"),
}


@dataclass(frozen=True)
class Verdict:
    """Whether a mask is kept, and why."""

    tone: Literal["good", "bad", "plain"]
    word: str
    reason: str  # one sentence


@dataclass(frozen=True)
class ScoreBar:
    """A number in [0, 1]; NaN was not measured."""

    name: str
    value: float
    help: str
    limits: tuple[float, ...] = ()  # thresholds on the bar
    limit_text: str = ""
    fails: bool = False


@dataclass(frozen=True, eq=False)
class Judged:
    """What the filter went by."""

    mask_ids: np.ndarray  # (C,) int64, as in candidates.parquet
    signals: MaskSignals
    config: FilterConfig | None = None  # None if no filter has run
    decision: np.ndarray | None = None  # (C,) people's word when the filter ran: 1, -1 or 0
    relabel: np.ndarray | None = None  # (C,) class that people had given then, 0 for none

    def waits(self, mask_id: int, decision: int, relabel: int) -> bool:
        """Whether what people say of a mask now counts only when the filter runs next."""
        row = self.row_of(mask_id)
        if row is None or self.decision is None or self.relabel is None:
            return False
        return (decision, relabel) != (int(self.decision[row]), int(self.relabel[row]))

    def row_of(self, mask_id: int) -> int | None:
        """Row of a mask, None if stage 1 did not judge it."""
        rows = np.flatnonzero(self.mask_ids == mask_id)
        return int(rows[0]) if len(rows) else None


def judged(run_view: RunView) -> Judged | None:
    """The signals of all candidates and the filter's settings; None before stage 1."""
    return _judged(run_view.run.path, run_view.stamp, run_view) if run_view.run.candidates_path.is_file() else None


@cache.newest(4)
def _judged(path: Path, stamp: str, run_view: RunView) -> Judged:
    run, table = run_view.run, run_view.run.candidates()
    ids, none = table["mask_id"].to_numpy(), np.zeros(len(table), np.int8)
    kept = run.kept() if run.kept_path.is_file() else None
    if kept is None or not np.array_equal(kept["mask_id"], ids):
        return Judged(ids, MaskSignals.from_columns(table))
    decision, relabel = (np.asarray(kept.get(name, none)) for name in ("decision", "relabel"))
    cluster = np.where(relabel > 0, relabel, table["cluster"])  # the filter judged a mask among those of its new class
    record = run.stage_path("filter")
    config = _filter_config(read_json(record)) if record.is_file() else None
    return Judged(ids, MaskSignals.from_columns(table.assign(cluster=cluster)), config, decision, relabel)


def _filter_config(record: dict[str, Any]) -> FilterConfig | None:
    """What the kept masks were chosen by; None of a record of another version."""
    settings = record.get("made_from", {}).get("settings", {}).get("filter")
    try:
        return None if settings is None else FilterConfig(**settings)
    except (TypeError, ConfigError):
        return None


def verdict(row: pd.Series, *, any_judged: bool, cluster: int) -> Verdict:
    """Why a mask is kept, dropped, or neither.

    Args:
        row: Of the mask table.
        any_judged: Whether the first model has judged masks of the run.
        cluster: Where the mask is after people's changes, 0 for nowhere.
    """
    if row["candidate"] and row["rule"]:
        return verdict_by(row["rule"], kept=row["kept"])
    if row["candidate"]:
        return Verdict("plain", "Not filtered", "No filter has gone over the masks of this run yet.")
    return Verdict("plain", "Not judged", _why_not_judged(row["split"], any_judged, cluster))


def verdict_by(rule: str, *, kept: bool) -> Verdict:
    """What one of the filter's rules says of a mask."""
    text = RULE_HELP.get(rule, rule)
    reason = text if rule == KEPT else f"{rule}: {text}"
    return Verdict("good" if kept else "bad", "Kept" if kept else "Dropped", f"{_capital(reason)}.")


def _why_not_judged(split: str | None, any_judged: bool, cluster: int) -> str:
    if not any_judged:
        return "The first model has not judged the masks of this run yet."
    if isinstance(split, str) and split != "train":
        return f"Photo of the {split} split: only masks of training photos are filtered."
    if not cluster:
        return "It is in no cluster: a person rejected it or its cluster, and the first model never saw it."
    return "The first model was not asked about it: it came later than the candidates."


def signal_bars(found: Judged, mask_id: int) -> list[ScoreBar]:
    """Stage 1's signals of a mask with the filter's thresholds; empty if it was not judged."""
    row = found.row_of(mask_id)
    if row is None:
        return []
    return [_signal_bar(found, row, signal) for signal in SIGNALS]


def _signal_bar(found: Judged, row: int, signal: str) -> ScoreBar:
    name, text = SIGNALS[signal]
    value = min(max(float(getattr(found.signals, signal)[row]), 0.0), 1.0)
    set_ones = [] if found.config is None else _limits(found.config, signal)
    signs = {True: "≥", False: "≤"}
    return ScoreBar(
        name,
        value,
        text,
        limits=tuple(limit for _, limit in set_ones),
        limit_text=", ".join(f"{signs[below]} {limit:.3g}" for below, limit in set_ones),
        fails=any(value < limit if below else value > limit for below, limit in set_ones),
    )


def _limits(config: FilterConfig, signal: str) -> list[tuple[bool, float]]:
    """Thresholds on a signal that do something: whether they drop what is below, and where they are."""
    found = [(item, getattr(config, item.field)) for item in THRESHOLDS if item.signal == signal]
    return [(item.drops_below, limit) for item, limit in found if limit != item.neutral]


def part_bars(row: pd.Series, parts: tuple[str, ...]) -> list[ScoreBar]:
    """The proposal's score part by part, those that were measured."""
    values = {name: float(row[f"part_{name}"]) for name in parts}
    return [
        ScoreBar(
            PART_NAMES.get(name, name),
            value,
            f"{_capital(PART_HELP.get(name, name))} (weight {WEIGHTS.get(name, 0):g})",
        )
        for name, value in values.items()
        if not math.isnan(value)
    ]


def truth_sentence(row: pd.Series, names: tuple[str, ...]) -> str:
    """What ground truth says of a mask; "" where there is none."""
    truth = int(row["truth"])
    if not 0 <= truth < len(names):
        return ""
    share = "" if math.isnan(row["truth_share"]) else f", {row['truth_share']:.0%} of its pixels"
    iou = "" if math.isnan(row["truth_iou"]) else f"; IoU with its best object {row['truth_iou']:.2f}"
    return f"{names[truth]}{share}{iou}"


def decision_words(found: DecisionView, row: int) -> str:
    """What stands of people's words on a mask: "Accepted by anna", "Relabelled as cluster 3 by anna", or ""."""
    said = found.effective
    if not said.decision[row]:
        return f"Skipped by {said.reviewer[row]}" if said.skipped[row] and said.reviewer[row] else ""
    word = "Rejected" if said.decision[row] < 0 else "Accepted"
    if said.cluster[row]:
        word = f"Relabelled as {found.name_of(int(said.cluster[row]))}"
    return f"{word} by {said.reviewer[row]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
