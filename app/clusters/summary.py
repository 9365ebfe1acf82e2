"""Figures of the selected masks beside those of all masks, as HTML; no Streamlit in here."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from app import cache
from app.clusters import mask_selection
from app.run_view import DecisionView, RunView
from maskdistill.pictures import colors

_MOST = 3  # clusters listed


@dataclass(frozen=True)
class Share:
    """A cluster's part of the selection."""

    cluster: int
    selected: float  # fraction of the selected masks
    all: float  # fraction of all masks


@dataclass(frozen=True)
class Measure:
    """A figure of the selected masks, and of all."""

    name: str
    selected: str
    all: str
    help: str


@dataclass(frozen=True)
class SelectionSummary:
    """A selection in figures."""

    num_masks: int
    num_photos: int
    shares: tuple[Share, ...]  # the largest clusters in it, largest first
    num_clusters: int
    measures: tuple[Measure, ...]


def summarize(run_view: RunView, decisions_now: DecisionView, rows: np.ndarray) -> SelectionSummary:
    """Figures of the masks in these rows of the table."""
    frame, fields = run_view.frame, mask_selection.selection_data(run_view, decisions_now).fields
    cluster = fields["cluster"]
    whole = _whole(run_view.run.path, (run_view.stamp, decisions_now.version), run_view, fields)
    counts = np.bincount(cluster[rows], minlength=len(whole.clusters))
    largest = [int(number) for number in np.argsort(-counts, kind="stable")[:_MOST] if counts[number]]
    return SelectionSummary(
        num_masks=len(rows),
        num_photos=int(np.count_nonzero(np.bincount(frame["image"].to_numpy()[rows]))),
        shares=tuple(
            Share(number, counts[number] / len(rows), whole.clusters[number] / len(cluster)) for number in largest
        ),
        num_clusters=int(np.count_nonzero(counts[1:])),
        measures=tuple(filter(None, _measures(run_view, fields["kept"], rows, whole))),
    )


@dataclass(frozen=True, eq=False)
class _Whole:
    """The same figures of all masks; NaN where none is known."""

    clusters: np.ndarray  # (K + 1,) masks of each cluster
    kept: float
    score: float
    quality: float
    truth: np.ndarray  # (C,) masks of each class of the ground truth


@cache.newest(4)
def _whole(path: Path, state: Hashable, run_view: RunView, fields: Mapping[str, np.ndarray]) -> _Whole:
    frame = run_view.frame
    truth = frame["truth"].to_numpy()
    return _Whole(
        np.bincount(fields["cluster"]),
        _share_of_kept(fields["kept"]),
        _known_mean(frame["score"].to_numpy()),
        _known_mean(frame["quality"].to_numpy()),
        np.bincount(truth[truth >= 0]),
    )


def _measures(run_view: RunView, kept: np.ndarray, rows: np.ndarray, whole: _Whole) -> list[Measure | None]:
    score, quality = (run_view.frame[name].to_numpy()[rows] for name in ("score", "quality"))
    kept_help = "share of the judged masks that the filter keeps"
    score_help = "mean probability that stage 1 gives the mask's class in it"
    return [
        _measure("Kept", _share_of_kept(kept[rows]), whole.kept, "{:.0%}", kept_help),
        _measure("Score", _known_mean(score), whole.score, "{:.2f}", score_help),
        _measure(
            "Proposal", _known_mean(quality), whole.quality, "{:.2f}", "mean score of the proposals, before any model"
        ),
        _main_truth(run_view, rows, whole),
    ]


def _measure(name: str, own: float, whole: float, form: str, help_text: str) -> Measure | None:
    known = np.isfinite(own) and np.isfinite(whole)
    return Measure(name, form.format(own), form.format(whole), help_text) if known else None


def _share_of_kept(kept: np.ndarray) -> float:
    counts = np.bincount(kept, minlength=2)
    judged = int(counts[1:].sum())
    return float(counts[1] / judged) if judged else float("nan")


def _known_mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _main_truth(run_view: RunView, rows: np.ndarray, whole: _Whole) -> Measure | None:
    own = run_view.frame["truth"].to_numpy()[rows]
    counts = np.bincount(own[own >= 0], minlength=len(whole.truth))
    if not counts.any():
        return None
    main = int(counts.argmax())
    share, usual = (f"{part[main] / part.sum():.0%}" for part in (counts, whole.truth))
    name = run_view.table.truth_names[main]
    return Measure(f"Truth: {name}", share, usual, "the commonest ground-truth class among them; for reporting only")


def as_html(summary: SelectionSummary, name_of: Callable[[int], str]) -> str:
    """Bars for the clusters, then the measures in a row."""
    bars = "".join(_bar(share, name_of) for share in summary.shares)
    more = summary.num_clusters - sum(share.cluster > 0 for share in summary.shares)
    text = f"and {more} more cluster{'' if more == 1 else 's'} · " if more > 0 else ""
    rest = f'<div class="more">{text}the line marks the share among all masks</div>'
    measures = "".join(
        f'<span title="{escape(item.help)}"><small>{escape(item.name)}</small><b>{item.selected}</b>'
        f"<small>all {item.all}</small></span>"
        for item in summary.measures
    )
    return f'<div class="shares">{bars}{rest}</div><div class="measures">{measures}</div>'


def _bar(share: Share, name_of: Callable[[int], str]) -> str:
    name = name_of(share.cluster) if share.cluster else "left out"
    colour = colors.cluster_color(share.cluster)
    return (
        f'<div class="share" title="{share.selected:.1%} of the selection, {share.all:.1%} of all masks">'
        f'<span class="what"><i style="background:{colour}"></i><em>{escape(name)}</em></span>'
        f'<span class="bar"><b style="width:{100 * share.selected:.1f}%;background:{colour}"></b>'
        f'<u style="left:{100 * share.all:.1f}%"></u></span><span class="much">{share.selected:.0%}</span></div>'
    )
