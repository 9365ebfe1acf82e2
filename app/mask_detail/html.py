"""What is known of one mask, as HTML; the style is ``detail.css``. Whatever people wrote is escaped."""

import math
from datetime import datetime
from html import escape

from app.images import colors
from app.mask_detail import facts
from app.run_view import DecisionView, RunView
from maskdistill.review import decisions

_MOST_EVENTS = 8  # of a mask's history


def head(run_view: RunView, found: DecisionView, row: int) -> str:
    """Cluster, photo and place of a mask, by its row of the table."""
    mask = run_view.frame.iloc[row]
    cluster = int(found.cluster[row])
    name = found.name_of(cluster) if cluster else "no cluster"
    where = [f"photo {mask['image_id']}", mask["split"], f"mask {mask['mask_id']}", f"{mask['area']:.1%} of the photo"]
    if mask["origin"] != "proposal":
        where.append("seen by stage 1 alone")
    if cluster and name != f"cluster {cluster}":
        where.insert(0, f"cluster {cluster}")
    words = " · ".join(escape(str(item)) for item in where if isinstance(item, str) and item)
    swatch = f'<span class="swatch" style="background:{colors.cluster_color(cluster)}"></span>'
    return f'<div class="mask-head"><div>{swatch}<b>{escape(name)}</b></div><small>{words}</small></div>'


def verdict(run_view: RunView, found: DecisionView, row: int, on_show: facts.Verdict | None) -> str:
    """Whether it is kept, what the thresholds on show would say instead, if anything, and what people say of it."""
    mask, judged = run_view.frame.iloc[row], facts.judged(run_view)
    said = facts.verdict(mask, any_judged=judged is not None, cluster=int(found.cluster[row]))
    lines = [_verdict_chip(said)]
    if on_show is not None and on_show != said:
        lines.append(_verdict_chip(on_show, "By the thresholds on show: "))
    decision, label = int(found.effective.decision[row]), int(found.effective.cluster[row])
    waits = judged is not None and judged.waits(int(mask["mask_id"]), decision, label)
    words = facts.decision_words(found, row) or ("Decision taken back" if waits else "")
    if words:
        colour = colors.RELABELLED if label else colors.DECISION_COLORS[decision]
        lines.append(_chip(colour, words, "Counts when the filter runs next." if waits else ""))
    return "".join(lines)


def _verdict_chip(said: facts.Verdict, by: str = "") -> str:
    colour = {"good": colors.KEPT, "bad": colors.DROPPED, "plain": colors.NOT_JUDGED}[said.tone]
    reason = f"{by}{said.reason[0].lower()}{said.reason[1:]}" if by else said.reason
    return _chip(colour, f"{colors.SIGNS.get(said.tone, '')} {said.word}".strip(), reason)


def _chip(colour: str, word: str, text: str) -> str:
    style = f"background:{colour};color:{colors.text_on(colour)}"
    chip = f'<span class="chip" style="{style}">{escape(word)}</span>'
    return f'<div class="mask-verdict">{chip}<span>{escape(text)}</span></div>'


def bars(run_view: RunView, row: int) -> str:
    """Signals, parts of its score, and ground truth."""
    mask = run_view.frame.iloc[row]
    found = facts.judged(run_view)
    signals = [] if found is None else facts.signal_bars(found, int(mask["mask_id"]))
    parts = facts.part_bars(mask, run_view.table.parts)
    blocks = []
    if signals:
        blocks.append(_block("Signals of stage 1", "and what the filter asks for", signals))
    if parts:
        blocks.append(_block("Score of the proposal", f"{mask['quality']:.2f} in all", parts))
    truth = facts.truth_sentence(mask, run_view.table.truth_names)
    if truth:
        blocks.append(f"<h6>Ground truth <small>reporting only</small></h6><div>{escape(truth)}</div>")
    return f'<div class="mask-bars">{"".join(blocks)}</div>'


def _block(title: str, more: str, bars: list[facts.ScoreBar]) -> str:
    return f"<h6>{escape(title)} <small>{escape(more)}</small></h6>" + "".join(map(_bar, bars))


def _bar(bar: facts.ScoreBar) -> str:
    known = not math.isnan(bar.value)
    kind = "fails" if bar.fails else "" if known else "unknown"
    filled = f'<i style="width:{100 * bar.value:.1f}%"></i>' if known else ""
    ticks = "".join(f'<u style="left:{100 * limit:.1f}%"></u>' for limit in bar.limits)
    limit = f"{'✕ ' if bar.fails else ''}{bar.limit_text}"
    return (
        f'<div class="row {kind}"><span title="{escape(bar.help)}">{escape(bar.name)}</span>'
        f'<span class="track">{filled}{ticks}</span><span class="value">{_number(bar.value)}</span>'
        f'<span class="limit">{escape(limit)}</span></div>'
    )


def _number(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.3f}" if 0 < value < 0.1 else f"{value:.2f}"


def history(run_view: RunView, mask_id: int) -> str:
    """What people did to it, newest first."""
    events = decisions.history(run_view.run, mask_id)
    lines = [_event(event) for event in events[:_MOST_EVENTS]] or ["Nobody has decided on this mask yet."]
    if len(events) > _MOST_EVENTS:
        lines.append(f"<div>and {len(events) - _MOST_EVENTS} earlier</div>")
    return f'<div class="mask-bars"><h6>History of decisions</h6><div class="mask-history">{"".join(lines)}</div></div>'


def _event(event: decisions.DecisionEvent) -> str:
    when = f"{datetime.fromtimestamp(event.time):%d %b %H:%M}"
    text = f"{escape(event.reviewer)}: {escape(event.text)}"
    words = f'<span class="undone">{text}</span> undone' if event.undone else text
    return f"<div><time>{when}</time>{words}</div>"
