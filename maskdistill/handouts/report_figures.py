"""Parts of a run's report in figures: the outcome, its classes, people's decisions, stages and settings."""

from typing import Any

import numpy as np

from maskdistill.errors import MaskDistillError
from maskdistill.evaluation import metric_tables, metric_texts
from maskdistill.handouts import html
from maskdistill.handouts.guide import PRESET, changed_settings
from maskdistill.handouts.report_subject import ReportSubject
from maskdistill.review.decisions import summarise
from maskdistill.stages.status import stage_states

MAX_CLASSES = 40  # rows of a table
_BAR = "#2B7FA8"


def outcome(found: ReportSubject) -> str:
    """Counts, mIoU of each stage where there is ground truth, and how much the stages agree."""
    frame, metrics = found.frame, found.metrics or {}
    numbers = [("Photos", f"{len(found.photos):,}"), ("Masks", f"{int((frame['origin'] == 'proposal').sum()):,}")]
    if found.classes is not None:
        numbers.append(("Clusters", f"{found.classes.num_classes:,}"))
    if candidates := int(frame["candidate"].sum()):
        numbers.append(("Kept by the filter", f"{int(frame['kept'].sum()):,} of {candidates:,}"))
    group = metric_tables.final_group(metrics) if metrics else "reported"
    kinds = metric_tables.measured(metrics, group)
    if kinds:
        kind = metric_tables.final_kind(kinds)
        numbers.insert(0, (f"mIoU, {metric_tables.kind_name(kind)}", metric_tables.percent(kinds[kind]["miou"])))
        for name in ("corloc", "mask_ap50"):
            value = metric_tables.mask_measures(metrics).get(name)
            if value is not None:
                numbers.append((f"{metric_tables.MASK_METRICS[name][0]} of the masks", metric_tables.percent(value)))
    figures = "".join(f"<div><dt>{html.text(name)}</dt><dd>{html.text(value)}</dd></div>" for name, value in numbers)
    parts = [f'<dl class="figures">{figures}</dl>']
    if kinds:
        sentences = [f"**{metric_texts.headline(metrics)}**", *metric_texts.step_sentences(kinds)]
        parts.append(f"<p>{html.marked(' '.join(sentences))}</p>")
        for name, title in metric_tables.GROUPS.items():
            parts.append(_stage_bars(metrics, name, title))
        seeds = metric_texts.seed_sentence(metrics.get("clustering_seeds"))
        parts.append(f"<p>{html.marked(seeds)}</p>" if seeds else "")
        parts.append(
            '<p class="soft">In brackets: gain in points over the step before. Ground truth is used for reporting '
            "only: nothing that trains, selects or sets a threshold sees it.</p>"
        )
    else:
        parts.append(
            "<p>These photos have no ground truth that was compared, so the stages are not scored; the agreement of "
            "the stages shows how much each changed.</p>"
        )
    return "".join(parts) + _agreement(found)


def _stage_bars(metrics: dict[str, Any], group: metric_tables.PhotoGroup, title: str) -> str:
    kinds = metric_tables.measured(metrics, group)
    if not kinds:
        return ""
    rows = []
    for name, miou, gain in metric_tables.stage_table(kinds)[["Label maps", "mIoU", "Gain"]].to_numpy().tolist():
        gained = "" if np.isnan(gain) else f" ({metric_tables.signed(gain / 100)})"
        rows.append((name, miou, f"{miou:.1f} %{gained}", _BAR))
    count = next(iter(kinds.values()))["num_images"]
    return f"<h3>mIoU, {html.text(title.lower())} ({count:,})</h3>{html.bars(rows, 100)}"


def _agreement(found: ReportSubject) -> str:
    """How much the stages agree, which needs no ground truth."""
    if found.results is None or len(found.results.kinds) < 2:
        return ""
    table = found.results.agreement()
    names = [metric_tables.kind_name(kind) for kind in table.index]
    rows = [
        (name, *(metric_tables.percent(value) for value in row))
        for name, row in zip(names, table.to_numpy(), strict=True)
    ]
    caption = "Share of the pixels on which two kinds of label maps agree"
    return html.details("Agreement of the stages", html.table(["", *names], rows, caption=caption))


def class_tables(found: ReportSubject) -> str:
    """IoU of each class, and how much of the photos each takes."""
    parts, metrics = [], found.metrics or {}
    group = metric_tables.final_group(metrics) if metrics else "reported"
    kinds = metric_tables.measured(metrics, group)
    if len(kinds) > 1:
        first, final = next(iter(kinds)), metric_tables.final_kind(kinds)
        table = metric_tables.class_table(kinds, first, final)
        sentences = [metric_texts.extremes(table), metric_texts.greatest_gain(table, metric_tables.kind_name(first))]
        parts.append(f"<p>{html.marked(' '.join(part for part in sentences if part))}</p>")
        rows = [
            (
                row[0],
                *(metric_tables.percent(value / 100) for value in row[1:3]),
                metric_tables.signed(row[3] / 100) if row[3] == row[3] else "–",
            )
            for row in table.dropna(subset="second").head(MAX_CLASSES).itertuples(index=False)
        ]
        head = ["Class", *(f"IoU, {metric_tables.kind_name(kind)}" for kind in (first, final)), "Points"]
        parts.append(html.table(head, rows))
    if found.results is not None and found.maps.kinds:
        sizes = found.results.class_sizes(found.maps.final)
        sizes = sizes[sizes["label"] > 0].sort_values("share", ascending=False).head(MAX_CLASSES)
        most = float(sizes["share"].max()) if len(sizes) else 0
        entries = found.names.clusters()
        rows = [
            (entries[label]["name"], share, f"{share:.1%}", entries[label]["colour"])
            for label, share in zip(sizes["label"].tolist(), sizes["share"].tolist(), strict=True)
            if label in entries
        ]
        title = f"Share of all pixels, {metric_tables.kind_name(found.maps.final)}"
        parts.append(f"<h3>{html.text(title)}</h3>{html.bars(rows, most)}" if rows else "")
    return "".join(parts)


def decisions(found: ReportSubject) -> str:
    """What people decided, in sentences."""
    try:
        lines = summarise(found.run).splitlines()
    except MaskDistillError as error:
        lines = [str(error)]
    if mended := metric_texts.repair_sentence((found.metrics or {}).get("repairs")):
        lines.append(mended.replace("**", ""))
    return "".join(f"<p>{html.text(line)}</p>" for line in lines)


def stages(found: ReportSubject) -> str:
    """Which are done, and which are stale and why."""
    rows = [(state.name.replace("_", " "), state.text) for state in stage_states(found.run)]
    return html.table(["Stage", "State"], rows)


def settings(found: ReportSubject) -> str:
    """Those that are not the preset's, and the versions of the libraries."""
    changed = changed_settings(found.run.config(), found.info.get("preset") or PRESET)
    versions = sorted((found.info.get("versions") or {}).items())
    parts = [html.table(["Setting", "Value"], changed, caption="Settings that are not the preset's")] if changed else []
    if versions:
        parts.append(html.table(["Package", "Version"], versions, caption="Versions that the run was made with"))
    return "".join(parts) or "<p>All settings are the preset's.</p>"
