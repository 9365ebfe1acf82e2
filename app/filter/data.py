"""The candidates as the filter sees them, and the thresholds on show."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from app import cache, selection, session
from app.mask_detail.facts import Verdict, verdict_by
from app.run_context import run_config
from app.run_view import DecisionView, RunView, candidates_of, decision_view
from maskdistill.config import FilterConfig, RunConfig
from maskdistill.pseudo_labels.filter import RULES, THRESHOLDS, FilterResult, filter_masks
from maskdistill.pseudo_labels.signals import MaskSignals
from maskdistill.storage.run_folder import Run

SECTION = "filter."
ALL = "all"  # in place of a threshold: every rule in force
_RESULTS = 64  # thresholds whose results are kept in memory
FIELDS = tuple(threshold.field for threshold in THRESHOLDS)


@dataclass(frozen=True, eq=False)
class Candidates:
    """N masks that stage 1 judged, with people's decisions; rows of ``signals``. Shared by sessions: never changed."""

    run_view: RunView
    decisions_now: DecisionView
    signals: MaskSignals
    mask_ids: np.ndarray  # (N,) int64
    rows: np.ndarray  # (N,) rows of the table of all masks
    photos: np.ndarray  # (N,) object, each one's photo by name
    kept_on_disk: np.ndarray | None  # (N,) bool, as the last filtering left it; None if there was none
    truth_iou: np.ndarray | None  # (N,) NaN where unknown; None without ground truth

    @property
    def key(self) -> tuple[Any, ...]:
        """Names this state of files and decisions, for caches."""
        return (self.run_view.run.path, self.run_view.stamp, self.decisions_now.version)


def read_candidates(run_view: RunView) -> Candidates:
    """Read again when a file or a decision has changed.

    Raises:
        RunError: If a file or the database of the run cannot be read.
    """
    decisions_now = decision_view(run_view)
    return _candidates(run_view.run.path, (run_view.stamp, decisions_now.version), run_view, decisions_now)


@cache.newest(4)
def _candidates(path: Path, key: tuple[str, int], run_view: RunView, decisions_now: DecisionView) -> Candidates:
    table = candidates_of(run_view)
    rows = run_view.table.rows_of(table["mask_id"].to_numpy())
    effective = decisions_now.effective
    relabelled = effective.cluster[rows]
    judged = table.assign(
        decision=effective.decision[rows],
        cluster=np.where(relabelled > 0, relabelled, table["cluster"].to_numpy()),
    )
    truth = run_view.frame["truth_iou"].to_numpy()[rows]
    return Candidates(
        run_view=run_view,
        decisions_now=decisions_now,
        signals=MaskSignals.from_columns(judged),
        mask_ids=table["mask_id"].to_numpy(),
        rows=rows,
        photos=run_view.frame["image_id"].to_numpy()[rows],
        kept_on_disk=run_view.frame["kept"].to_numpy()[rows] if run_view.run.kept_path.is_file() else None,
        truth_iou=None if np.isnan(truth).all() else truth,
    )


def verdict_on_show(run_view: RunView, mask_id: int) -> Verdict | None:
    """What the thresholds on show make of a mask; None if stage 1 did not judge it.

    Raises:
        RunError: If a file or the database of the run cannot be read.
    """
    candidates = read_candidates(run_view)
    rows = np.flatnonzero(candidates.mask_ids == mask_id)
    if not len(rows):
        return None
    config, _ = selection.apply_changes(run_config(run_view.run.info()), selection.current().changes)
    result = filter_masks(candidates.signals, config.filter)
    return verdict_by(RULES[result.rule[rows[0]]], kept=bool(result.kept[rows[0]]))


def result_of(candidates: Candidates, config: FilterConfig) -> FilterResult:
    """What thresholds keep; kept in memory, for thresholds that are often asked for, as those of a preset."""
    return _results(candidates.run_view.run.path, candidates.key).get(
        config, lambda: filter_masks(candidates.signals, config)
    )


@cache.newest(2)
def _results(path: Path, key: tuple[Any, ...]) -> cache.Shelf:
    return cache.Shelf(_RESULTS)


def settings_on_show(run: Run) -> tuple[RunConfig, RunConfig]:
    """The run's own settings and those on show.

    If the run's own thresholds changed since the page was drawn last, as after somebody else filtered it, those on show
    stay as they were, with a notice.

    Raises:
        RunError: If this version does not know the run's settings.
    """
    base = run_config(run.info())
    before = session.recall(session.Key.FILTER_OWN)
    if before is not None and before[0] == run.path and before[1] != base.filter:
        _keep_shown(base, before[1])
    session.remember(session.Key.FILTER_OWN, (run.path, base.filter))
    config, changes = selection.apply_changes(base, selection.current().changes)
    selection.select(changes=changes)
    return base, config


def _keep_shown(base: RunConfig, before: FilterConfig) -> None:
    shown, _ = selection.apply_changes(replace(base, filter=before), selection.current().changes)
    show(base, shown.filter)
    if shown.filter != base.filter:
        session.notify("The run was filtered with other thresholds meanwhile. Those on show are still yours.")


def show(base: RunConfig, config: FilterConfig) -> None:
    """Put thresholds on show; other sections' changes stay."""
    others = tuple(item for item in selection.current().changes if not item.startswith(SECTION))
    selection.select(changes=(*others, *overrides(config, base.filter)))


def change(base: RunConfig, **values: float) -> None:
    """Change some thresholds of those on show."""
    for field, value in values.items():
        selection.change_setting(base, f"{SECTION}{field}", as_text(value))


def overrides(config: FilterConfig, base: FilterConfig | None = None) -> list[str]:
    """Settings as ``--set`` takes them: those that differ from ``base``, or all."""
    values, own = asdict(config), {} if base is None else asdict(base)
    return [f"{SECTION}{name}={as_text(value)}" for name, value in values.items() if value != own.get(name)]


def as_text(value: float | str) -> str:
    """A value as it stands in a link: a slider's 0.29000000000000004 is 0.29."""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def active_field(config: FilterConfig) -> str:
    """The threshold whose border is on show, or ``ALL``; without a choice, the first rule in force."""
    first = next((item.field for item in THRESHOLDS if getattr(config, item.field) != item.neutral), FIELDS[0])
    return selection.option(selection.Option.BORDER, first, (ALL, *FIELDS))
