"""What the masks of a selection have in common, beside what all masks are like. No Streamlit in here."""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import numpy as np

from app.clusters import mask_selection
from app.images import colors
from app.run_view import DecisionView, RunView

_MOST = 3  # clusters told of


@dataclass(frozen=True)
class Share:
    """A cluster's part of the selection."""

    cluster: int
    here: float  # fraction of the selected masks
    all: float  # fraction of all masks


@dataclass(frozen=True)
class Fact:
    """A measure of the selected masks, and of all."""

    name: str
    here: str
    all: str
    help: str


@dataclass(frozen=True)
class SelectionSummary:
    """What a selection is like."""

    num_masks: int
    num_photos: int
    shares: tuple[Share, ...]  # the largest clusters in it, largest first
    num_clusters: int
    facts: tuple[Fact, ...]


def summarise(run_view: RunView, decisions_now: DecisionView, rows: np.ndarray) -> SelectionSummary:
    """What the masks in these rows of the table are like."""
    frame, fields = run_view.frame, mask_selection.selection_data(run_view, decisions_now).fields
    cluster = fields["cluster"]
    here, everywhere = (np.bincount(values, minlength=int(cluster.max()) + 1) for values in (cluster[rows], cluster))
    largest = [int(number) for number in np.argsort(-here, kind="stable")[:_MOST] if here[number]]
    return SelectionSummary(
        num_masks=len(rows),
        num_photos=len(np.unique(frame["image"].to_numpy()[rows])),
        shares=tuple(Share(number, here[number] / len(rows), everywhere[number] / len(cluster)) for number in largest),
        num_clusters=int(np.count_nonzero(here[1:])),
        facts=tuple(filter(None, _facts(run_view, fields["kept"], rows))),
    )


def _facts(run_view: RunView, kept: np.ndarray, rows: np.ndarray) -> list[Fact | None]:
    frame = run_view.frame
    return [
        _share_kept(kept, rows),
        _mean("Score", frame["score"].to_numpy(), rows, "mean probability that stage 1 gives the mask's class in it"),
        _mean("Proposal", frame["quality"].to_numpy(), rows, "mean score of the proposals, before any model"),
        _main_truth(run_view, rows),
    ]


def _share_kept(kept: np.ndarray, rows: np.ndarray) -> Fact | None:
    values = [part[part > 0] == 1 for part in (kept[rows], kept)]
    if not all(map(len, values)):
        return None
    here, everywhere = (f"{part.mean():.0%}" for part in values)
    return Fact("Kept", here, everywhere, "share of the judged masks that the filter keeps")


def _mean(name: str, values: np.ndarray, rows: np.ndarray, told: str) -> Fact | None:
    parts = [part[np.isfinite(part)] for part in (values[rows], values)]
    if not all(map(len, parts)):
        return None
    here, everywhere = (f"{part.mean():.2f}" for part in parts)
    return Fact(name, here, everywhere, told)


def _main_truth(run_view: RunView, rows: np.ndarray) -> Fact | None:
    truth = run_view.frame["truth"].to_numpy()
    own = truth[rows]
    known, all_known = own[own >= 0], truth[truth >= 0]
    if not len(known):
        return None
    main = int(np.bincount(known).argmax())
    here, everywhere = (f"{(part == main).mean():.0%}" for part in (known, all_known))
    name = run_view.table.truth_names[main]
    return Fact(f"Truth: {name}", here, everywhere, "the commonest ground-truth class among them; for reporting only")


def as_html(found: SelectionSummary, name_of: Callable[[int], str]) -> str:
    """Bars for the clusters, then the facts in a row."""
    bars = "".join(_bar(share, name_of) for share in found.shares)
    more = found.num_clusters - sum(share.cluster > 0 for share in found.shares)
    words = f"and {more} more cluster{'' if more == 1 else 's'} · " if more > 0 else ""
    rest = f'<div class="more">{words}the line marks the share among all masks</div>'
    facts = "".join(
        f'<span title="{escape(fact.help)}"><small>{escape(fact.name)}</small><b>{fact.here}</b>'
        f"<small>all {fact.all}</small></span>"
        for fact in found.facts
    )
    return f'<div class="shares">{bars}{rest}</div><div class="facts">{facts}</div>'


def _bar(share: Share, name_of: Callable[[int], str]) -> str:
    name = name_of(share.cluster) if share.cluster else "left out"
    colour = colors.cluster_colour(share.cluster)
    return (
        f'<div class="share" title="{share.here:.1%} of the selection, {share.all:.1%} of all masks">'
        f'<span class="what"><i style="background:{colour}"></i><em>{escape(name)}</em></span>'
        f'<span class="bar"><b style="width:{100 * share.here:.1f}%;background:{colour}"></b>'
        f'<u style="left:{100 * share.all:.1f}%"></u></span><span class="much">{share.here:.0%}</span></div>'
    )
