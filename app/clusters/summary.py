"""Figures of the selected masks beside those of all masks, as HTML; no Streamlit in here."""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import numpy as np

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
    counts, all_counts = (np.bincount(values, minlength=int(cluster.max()) + 1) for values in (cluster[rows], cluster))
    largest = [int(number) for number in np.argsort(-counts, kind="stable")[:_MOST] if counts[number]]
    return SelectionSummary(
        num_masks=len(rows),
        num_photos=len(np.unique(frame["image"].to_numpy()[rows])),
        shares=tuple(
            Share(number, counts[number] / len(rows), all_counts[number] / len(cluster)) for number in largest
        ),
        num_clusters=int(np.count_nonzero(counts[1:])),
        measures=tuple(filter(None, _measures(run_view, fields["kept"], rows))),
    )


def _measures(run_view: RunView, kept: np.ndarray, rows: np.ndarray) -> list[Measure | None]:
    frame = run_view.frame
    return [
        _share_kept(kept, rows),
        _mean("Score", frame["score"].to_numpy(), rows, "mean probability that stage 1 gives the mask's class in it"),
        _mean("Proposal", frame["quality"].to_numpy(), rows, "mean score of the proposals, before any model"),
        _main_truth(run_view, rows),
    ]


def _share_kept(kept: np.ndarray, rows: np.ndarray) -> Measure | None:
    own, whole = (part[part > 0] == 1 for part in (kept[rows], kept))
    if not len(own) or not len(whole):
        return None
    return Measure(
        "Kept", f"{own.mean():.0%}", f"{whole.mean():.0%}", "share of the judged masks that the filter keeps"
    )


def _mean(name: str, values: np.ndarray, rows: np.ndarray, help_text: str) -> Measure | None:
    own, whole = (part[np.isfinite(part)] for part in (values[rows], values))
    if not len(own) or not len(whole):
        return None
    return Measure(name, f"{own.mean():.2f}", f"{whole.mean():.2f}", help_text)


def _main_truth(run_view: RunView, rows: np.ndarray) -> Measure | None:
    truth = run_view.frame["truth"].to_numpy()
    own = truth[rows]
    known, all_known = own[own >= 0], truth[truth >= 0]
    if not len(known):
        return None
    main = int(np.bincount(known).argmax())
    share, usual = (f"{(part == main).mean():.0%}" for part in (known, all_known))
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
