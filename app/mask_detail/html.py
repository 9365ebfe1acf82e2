"""What is known of one mask, as HTML; the style is ``dialog.css``. Whatever people wrote is escaped."""

import math
from datetime import datetime
from html import escape

from app.mask_detail import facts
from app.run_view import DecisionView, RunView
from app.stage_names import found_by
from maskdistill.pictures import colors
from maskdistill.review import decisions

_MOST_EVENTS = 8  # of a mask's history


def head(run_view: RunView, decisions_now: DecisionView, row: int) -> str:
    """Cluster, photo and place of a mask, by its row of the table."""
    mask = run_view.frame.iloc[row]
    cluster = int(decisions_now.cluster[row])
    name = decisions_now.name_of(cluster) if cluster else "no cluster"
    where = [f"photo {mask['image_id']}", mask["split"], f"mask {mask['mask_id']}", f"{mask['area']:.1%} of the photo"]
    where.append(found_by(mask["origin"]))
    if cluster and name != f"cluster {cluster}":
        where.insert(0, f"cluster {cluster}")
    text = " · ".join(escape(str(item)) for item in where if isinstance(item, str) and item)
    swatch = f'<span class="swatch" style="background:{colors.cluster_color(cluster)}"></span>'
    return f'<div class="mask-head"><div>{swatch}<b>{escape(name)}</b></div><small>{text}</small></div>'


def verdict(run_view: RunView, decisions_now: DecisionView, row: int, preview: facts.Verdict | None) -> str:
    """The filter's verdict, that of the thresholds on the page where it differs, and people's decision."""
    mask, record = run_view.frame.iloc[row], facts.filter_record(run_view)
    own = facts.verdict(mask, any_judged=record is not None, cluster=int(decisions_now.cluster[row]))
    lines = [_verdict_chip(own)]
    if preview is not None and preview != own:
        lines.append(_verdict_chip(preview, "By the thresholds on this page: "))
    effective = decisions_now.effective
    decision, label = int(effective.decision[row]), int(effective.cluster[row])
    outdated = record is not None and record.is_outdated(int(mask["mask_id"]), decision, label)
    text = facts.decision_text(decisions_now, row) or ("Decision cleared" if outdated else "")
    if text:
        color = colors.RELABELLED if label else colors.DECISION_COLORS[decision]
        lines.append(_chip(color, text, "It counts when the filter runs next." if outdated else ""))
    return "".join(lines)


def _verdict_chip(verdict: facts.Verdict, by: str = "") -> str:
    color = {"good": colors.KEPT, "bad": colors.DROPPED, "plain": colors.NOT_JUDGED}[verdict.tone]
    reason = f"{by}{verdict.reason[0].lower()}{verdict.reason[1:]}" if by else verdict.reason
    return _chip(color, f"{colors.SIGNS.get(verdict.tone, '')} {verdict.label}".strip(), reason)


def _chip(color: str, label: str, text: str) -> str:
    style = f"background:{color};color:{colors.text_on(color)}"
    chip = f'<span class="chip" style="{style}">{escape(label)}</span>'
    return f'<div class="mask-verdict">{chip}<span>{escape(text)}</span></div>'


def heading(title: str, more: str = "") -> str:
    """The heading of a part of the dialog."""
    return f'<h3 class="mask-heading">{escape(title)} <small>{escape(more)}</small></h3>'


def bars(run_view: RunView, row: int) -> str:
    """Signals, agreement of the clusterings, parts of its score, and ground truth."""
    mask, record = run_view.frame.iloc[row], facts.filter_record(run_view)
    signals = [] if record is None else facts.signal_bars(record, int(mask["mask_id"]))
    shares = facts.share_bars(mask)
    parts = facts.part_bars(mask, run_view.table.parts)
    blocks = []
    if signals:
        blocks.append(_block("Signals of stage 1", "with the filter's thresholds", signals))
    if shares:
        blocks.append(_block("Cluster", "how many clusterings agree", shares))
    if parts:
        what = "mask" if "given" in run_view.table.parts else "proposal"
        blocks.append(_block(f"Score of the {what}", f"{mask['quality']:.2f} in all", parts))
    if mask["category"]:
        blocks.append(f"{heading('Category', 'came with the mask')}<div>{escape(mask['category'])}</div>")
    truth = facts.truth_sentence(mask, run_view.table.truth_names)
    if truth:
        blocks.append(f"{heading('Ground truth', 'reporting only')}<div>{escape(truth)}</div>")
    return f'<div class="mask-bars">{"".join(blocks)}</div>'


def _block(title: str, more: str, bars: list[facts.ScoreBar]) -> str:
    return heading(title, more) + "".join(map(_bar, bars))


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
    """People's decisions on it, newest first."""
    events = decisions.history(run_view.run, mask_id)
    lines = [_event(event) for event in events[:_MOST_EVENTS]] or ["No decisions yet."]
    if len(events) > _MOST_EVENTS:
        lines.append(f"<div>and {len(events) - _MOST_EVENTS} earlier</div>")
    return f'{heading("History of decisions")}<div class="mask-history">{"".join(lines)}</div>'


def _event(event: decisions.DecisionEvent) -> str:
    when = f"{datetime.fromtimestamp(event.time):%d %b %H:%M}"
    text = f"{escape(event.reviewer)}: {escape(event.text)}"
    shown = f'<span class="undone">{text}</span> undone' if event.undone else text
    return f"<div><time>{when}</time>{shown}</div>"
