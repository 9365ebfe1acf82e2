"""What is known of one mask: the filter's verdict, stage 1's signals, the proposal's score, ground truth, decisions."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from app import cache
from app.run_view import DecisionView, RunView, candidates_of
from maskdistill.config import FilterConfig
from maskdistill.errors import ConfigError
from maskdistill.proposals.scoring import PART_HELP, PART_NAMES, WEIGHTS
from maskdistill.pseudo_labels.filter import KEPT, RULE_HELP, THRESHOLDS
from maskdistill.pseudo_labels.signals import MaskSignals
from maskdistill.storage.read_files import read_json_if_there

SIGNALS = {  # of MaskSignals: their names and what they mean
    "score": (
        "Score",
        "mean probability that stage 1 gives the mask's class inside it; of single objects, its geometric mean "
        "with how far they are one",
    ),
    "iou": ("IoU", "IoU of the proposal with stage 1's prediction there"),
    "agreement": ("Agreement", "share of the mask in which stage 1 predicts its cluster"),
    "distance_quantile": ("Distance to centre", "share of its cluster's masks that are nearer to the centre"),
    "area": ("Area", "fraction of the photo that stage 1's version of the mask covers"),
    "border": ("Border", "share of the photo's border that the mask covers"),
    "standing": ("Rank in cluster", "share of its cluster's masks with a better score; 0 is the best"),
}

SHARE = ("Clusterings", "share of the clusterings, each of another seed, that put the mask in its cluster")


@dataclass(frozen=True)
class Verdict:
    """Whether a mask is kept, and why."""

    tone: Literal["good", "bad", "plain"]
    label: str
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
class FilterRecord:
    """The input and the settings of the filter."""

    mask_ids: np.ndarray  # (C,) int64, as in candidates.parquet
    signals: MaskSignals
    config: FilterConfig | None = None  # None if no filter has run
    decision: np.ndarray | None = None  # (C,) people's decisions when the filter ran: 1, -1 or 0
    relabel: np.ndarray | None = None  # (C,) classes that people had given then, 0 for none

    def is_outdated(self, mask_id: int, decision: int, relabel: int) -> bool:
        """Whether the filter ran before people's present decision on a mask."""
        row = self.row_of(mask_id)
        if row is None or self.decision is None or self.relabel is None:
            return False
        return (decision, relabel) != (int(self.decision[row]), int(self.relabel[row]))

    def row_of(self, mask_id: int) -> int | None:
        """Row of a mask, None if stage 1 did not judge it."""
        rows = np.flatnonzero(self.mask_ids == mask_id)
        return int(rows[0]) if len(rows) else None


def filter_record(run_view: RunView) -> FilterRecord | None:
    """The signals of all candidates and the filter's settings; None before stage 1."""
    if not run_view.run.candidates_path.is_file():
        return None
    return _filter_record(run_view.run.path, run_view.stamp, run_view)


@cache.newest(4)
def _filter_record(path: Path, stamp: str, run_view: RunView) -> FilterRecord:
    run, table = run_view.run, candidates_of(run_view)
    ids, none = table["mask_id"].to_numpy(), np.zeros(len(table), np.int8)
    kept = run.kept(("mask_id", "decision", "relabel")) if run.kept_path.is_file() else None
    if kept is None or not np.array_equal(kept["mask_id"], ids):
        return FilterRecord(ids, MaskSignals.from_columns(table))
    decision, relabel = (np.asarray(kept.get(name, none)) for name in ("decision", "relabel"))
    cluster = np.where(relabel > 0, relabel, table["cluster"])  # the filter judged a mask among those of its new class
    record = read_json_if_there(run.stage_path("filter"))
    config = _filter_config(record) if record else None
    return FilterRecord(ids, MaskSignals.from_columns(table.assign(cluster=cluster)), config, decision, relabel)


def _filter_config(record: dict[str, Any]) -> FilterConfig | None:
    """The filter's settings; None of a record of another version."""
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
        return Verdict("plain", "Not filtered", "The filter has not run yet.")
    return Verdict("plain", "Not judged", _why_not_judged(row["split"], any_judged, cluster))


def verdict_by(rule: str, *, kept: bool) -> Verdict:
    """The verdict of one of the filter's rules."""
    text = RULE_HELP.get(rule, rule)
    reason = text if rule == KEPT else f"{rule}: {text}"
    return Verdict("good" if kept else "bad", "Kept" if kept else "Dropped", f"{_capital(reason)}.")


def _why_not_judged(split: str | None, any_judged: bool, cluster: int) -> str:
    if not any_judged:
        return "The first model has not judged the masks of this run yet."
    if isinstance(split, str) and split != "train":
        return f"Photo of the {split} split: only masks of training photos are filtered."
    if not cluster:
        return "It is in no cluster: it or its cluster was rejected before the first model was trained."
    return "It is newer than the last predictions of the first model."


def signal_bars(record: FilterRecord, mask_id: int) -> list[ScoreBar]:
    """Stage 1's signals of a mask with the filter's thresholds; empty if it was not judged."""
    row = record.row_of(mask_id)
    return [] if row is None else [_signal_bar(record, row, signal) for signal in SIGNALS]


def _signal_bar(record: FilterRecord, row: int, signal: str) -> ScoreBar:
    name, text = SIGNALS[signal]
    value = min(max(float(getattr(record.signals, signal)[row]), 0.0), 1.0)
    active = [] if record.config is None else _limits(record.config, signal)
    signs = {True: "≥", False: "≤"}
    return ScoreBar(
        name,
        value,
        text,
        limits=tuple(limit for _, limit in active),
        limit_text=", ".join(f"{signs[below]} {limit:.3g}" for below, limit in active),
        fails=any(value < limit if below else value > limit for below, limit in active),
    )


def _limits(config: FilterConfig, signal: str) -> list[tuple[bool, float]]:
    """Active thresholds on a signal: whether they drop what is below, and their values."""
    limits = [(item, getattr(config, item.field)) for item in THRESHOLDS if item.signal == signal]
    return [(item.drops_below, limit) for item, limit in limits if limit != item.neutral]


def part_bars(row: pd.Series, parts: tuple[str, ...]) -> list[ScoreBar]:
    """The measured parts of the proposal's score."""
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


def share_bars(row: pd.Series) -> list[ScoreBar]:
    """How many clusterings agree on a mask's cluster; empty where there was one only."""
    share = float(row["share"])
    return [] if math.isnan(share) else [ScoreBar(SHARE[0], share, f"{_capital(SHARE[1])}.")]


def truth_sentence(row: pd.Series, names: tuple[str, ...]) -> str:
    """The ground truth of a mask; "" where there is none."""
    truth = int(row["truth"])
    if not 0 <= truth < len(names):
        return ""
    share = "" if math.isnan(row["truth_share"]) else f", {row['truth_share']:.0%} of its pixels"
    iou = "" if math.isnan(row["truth_iou"]) else f"; IoU with its best object {row['truth_iou']:.2f}"
    return f"{names[truth]}{share}{iou}"


def decision_text(decisions_now: DecisionView, row: int) -> str:
    """The decision on a mask that stands: "Accepted by anna", "Relabelled as cluster 3 by anna", or ""."""
    effective = decisions_now.effective
    if not effective.decision[row]:
        skipped = effective.skipped[row] and effective.reviewer[row]
        return f"Skipped by {effective.reviewer[row]}" if skipped else ""
    text = "Rejected" if effective.decision[row] < 0 else "Accepted"
    if effective.cluster[row]:
        text = f"Relabelled as {decisions_now.name_of(int(effective.cluster[row]))}"
    return f"{text} by {effective.reviewer[row]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
