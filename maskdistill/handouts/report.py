"""A run as one page: what each stage brought, in figures and in pictures, of which there are never too many."""

from dataclasses import dataclass
from datetime import date
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from maskdistill import __version__
from maskdistill.datasets import IGNORE_INDEX, Photo, read_photo
from maskdistill.errors import DatasetError, MaskDistillError, RunError
from maskdistill.evaluation import metric_tables, metric_texts
from maskdistill.evaluation.label_names import LabelNames, names_of
from maskdistill.evaluation.photo_metrics import PhotoResults, read_photo_results
from maskdistill.evaluation.run_label_maps import PSEUDO_LABELS, LabelMaps
from maskdistill.handouts import html
from maskdistill.handouts.guide import PRESET, changed_settings
from maskdistill.pictures import colors, drawing
from maskdistill.pseudo_labels.filter import RULE_HELP, RULES
from maskdistill.review.decisions import Classes, read_classes, summarise
from maskdistill.review.mask_table import read_mask_table
from maskdistill.stages.status import stage_states
from maskdistill.storage.read_files import read_json_if_there
from maskdistill.storage.run_folder import Run, thumbnail_in
from maskdistill.storage.run_photos import photos_of

NUM_PHOTOS = 6  # with their label maps
MAX_CLUSTERS = 16  # with crops
NUM_CROPS = 8  # of a cluster
NUM_BORDER = 8  # masks on each side of the filter
MAX_CLASSES = 40  # rows of a table
PHOTO_SIDES = (320, 240, 160)  # pixels of a photo; the first at which the page is small enough
_BAR = "#2B7FA8"
_OPACITY = 0.62  # of a label map over its photo


@dataclass(frozen=True, eq=False)
class _Read:
    """What the page reads of the run."""

    run: Run
    info: dict[str, Any]
    photos: list[Photo]
    frame: pd.DataFrame
    names: LabelNames
    classes: Classes | None
    metrics: dict[str, Any] | None
    maps: LabelMaps
    results: PhotoResults | None


def report_page(run: Run) -> str:
    """HTML of the page, of less than ``html.MAX_BYTES``. Stages that the run does not have are left out.

    Ground truth, where there is some, is reported as metrics.json has it; nothing is computed anew.

    Raises:
        RunError: If there is no run, it has no masks yet, or a file is damaged.
    """
    found = _read(run)
    for side in PHOTO_SIDES:
        content = html.page(f"MaskDistill: the run {run.name}", _body(found, side))
        if len(content.encode()) < html.MAX_BYTES:
            return content
    raise RunError(f"The report of {run.path} would have more than {html.MAX_BYTES // 2**20} MB.")


def _read(run: Run) -> _Read:
    info = run.info()
    if not run.masks_path.is_file():
        raise RunError(f"{run.path} has no masks yet. Make them with: maskdistill run --run {run.path}")
    metrics = read_json_if_there(run.path / "metrics.json")
    classes = read_classes(run) if run.clusters_path.is_file() else None
    name_of = (lambda number: f"cluster {number}") if classes is None else classes.name_of
    names = names_of(1 if classes is None else classes.num_classes, name_of, metrics)
    frame = read_mask_table(run).frame
    return _Read(run, info, photos_of(run), frame, names, classes, metrics, LabelMaps(run), read_photo_results(run))


def _body(found: _Read, side: int) -> str:
    parts = [_head(found)]
    sections = (
        ("What it came to", _outcome(found)),
        ("Photos, stage by stage", _examples(found, side)),
        ("Clusters", _clusters(found)),
        ("Filter", _filter(found)),
        ("Classes", _class_tables(found)),
        ("What people decided", _decisions(found)),
        ("Stages", _stages(found)),
        ("Settings and versions", _settings(found)),
    )
    kept = [(title, content) for title, content in sections if content]
    for number, (title, content) in enumerate(kept, start=1):
        parts.append(
            f'<section aria-labelledby="part-{number}"><h2 id="part-{number}">{html.text(title)}</h2>'
            f"{content}</section>"
        )
    made = f"Made with maskdistill {__version__} on {date.today():%d %B %Y}"
    return f"{parts[0]}<main>{''.join(parts[1:])}</main>{html.footer(made)}"


def _head(found: _Read) -> str:
    backbone = found.info.get("backbone") or {}
    preset = found.info.get("preset") or PRESET
    weights = f"{backbone.get('name', '')}: {backbone.get('weights', '')}"
    return (
        f"<header><h1>MaskDistill: the run {html.text(found.run.name)}</h1>"
        f'<p class="soft">Unsupervised semantic segmentation (arXiv 2206.06363). Preset {html.text(preset)}. '
        f"Features of {html.text(weights)}</p></header>"
    )


def _outcome(found: _Read) -> str:
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


def _agreement(found: _Read) -> str:
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


def _examples(found: _Read, side: int) -> str:
    """A few photos with the label maps of each stage, spread over the run; unreadable ones give way to the next."""
    kinds = found.maps.kinds
    shown: dict[int, Image.Image] = {}
    for number in _spread_photos(found):
        if len(shown) == NUM_PHOTOS:
            break
        if number in shown:
            continue
        image = _photo(found.photos[number], side)
        if image is not None:
            shown[number] = image
    if not shown:
        return "<p>The photos of the run are gone, or cannot be read.</p>"
    rows, used = [], set()
    for number in sorted(shown):
        cells = [html.picture(html.photo_url(shown[number], side), f"The photo {found.photos[number].id}")]
        for kind in kinds:
            labels = found.maps.read(kind, number)
            if labels is None:
                cells.append('<span class="soft">none</span>')
                continue
            used |= set(np.unique(labels).tolist())
            alt = f"{metric_tables.kind_name(kind)} of {found.photos[number].id}"
            cells.append(html.picture(html.photo_url(_labelled(shown[number], labels), side), alt))
        rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    names = ("Photo", *map(metric_tables.kind_name, kinds))
    heads = "".join(f'<th scope="col">{html.text(name)}</th>' for name in names)
    entries = found.names.clusters()
    known = [label for label in sorted(used - {0, IGNORE_INDEX}) if label in entries]
    keys = html.legend((entries[label]["colour"], entries[label]["name"]) for label in known)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    head = f"<thead><tr>{heads}</tr></thead>"
    return f'<div class="wide"><table class="photos">{head}<tbody>{body}</tbody></table></div>{keys}'


def _spread_photos(found: _Read) -> list[int]:
    """Numbers of all photos in the order in which they are wanted: in turns one that was trained on and one that was
    not, each kind spread over the run.
    """
    whole = range(len(found.photos))
    trained = [number for number in whole if found.maps.has(PSEUDO_LABELS, number)]
    others = sorted(set(whole) - set(trained))
    turns = zip_longest(*(_spread(numbers) for numbers in (trained, others)))
    return [number for turn in turns for number in turn if number is not None]


def _spread(numbers: list[int]) -> list[int]:
    """A few from all over the list first, then the rest."""
    step = max(1, len(numbers) // NUM_PHOTOS)
    return [*numbers[::step], *(number for place, number in enumerate(numbers) if place % step)]


def _photo(photo: Photo, side: int) -> Image.Image | None:
    try:
        image = read_photo(photo, min_short_side=side)
    except (DatasetError, OSError):
        return None
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def _labelled(image: Image.Image, labels: np.ndarray) -> Image.Image:
    """A label map over the gray photo."""
    layer = drawing.label_layer(Image.fromarray(labels).resize(image.size, Image.Resampling.NEAREST)).convert("RGBA")
    layer.putalpha(layer.getchannel("A").point(lambda value: int(value * _OPACITY)))
    gray = image.convert("L").convert("RGBA")
    return Image.alpha_composite(gray, layer).convert("RGB")


def _clusters(found: _Read) -> str:
    """The most typical masks of the largest clusters."""
    if found.classes is None:
        return ""
    rows = found.frame[found.frame["vector"] >= 0].copy()
    at = np.searchsorted(found.classes.mask_ids, rows["mask_id"].to_numpy())
    rows["now"] = found.classes.cluster[at]
    sizes = rows.loc[rows["now"] > 0, "now"].value_counts()
    parts = []
    for cluster in sizes.index[:MAX_CLUSTERS].tolist():
        members = rows[rows["now"] == cluster].sort_values("distance")
        tiles = "".join(_tile(found, int(mask_id)) for mask_id in members["mask_id"].head(NUM_CROPS))
        name = html.text(found.names.cluster(cluster))
        title = f"{html.swatch(colors.cluster_color(cluster))}{name} <small class='soft'>{len(members):,} masks</small>"
        parts.append(f'<h3>{title}</h3><ul class="board">{tiles}</ul>')
    left = len(sizes) - MAX_CLUSTERS
    more = f"<p>{left} smaller clusters are not shown.</p>" if left > 0 else ""
    chosen = "The masks nearest to the middle of each cluster; the largest clusters first."
    return f'<p class="soft">{chosen}</p>{"".join(parts)}{more}'


def _tile(found: _Read, mask_id: int, words: str = "", *, muted: bool = False) -> str:
    try:
        content = thumbnail_in(found.run.thumbs, mask_id).read_bytes()
    except (OSError, RunError):
        return ""
    image = html.picture(drawing.jpeg_bytes_url(content), f"Mask {mask_id}", kind="crop")
    kind = ' class="muted"' if muted else ""
    return f"<li{kind}>{image}<span>{html.text(words)}</span></li>" if words else f"<li>{image}</li>"


def _filter(found: _Read) -> str:
    """How many masks each rule decided on, and the masks next to the threshold."""
    judged = found.frame[found.frame["candidate"] & (found.frame["rule"] != "")]
    if judged.empty:
        return ""
    counts = judged["rule"].value_counts()
    rows = [
        (
            f"{rule[:1].upper()}{rule[1:]}",
            f"{int(counts[rule]):,}",
            f"{RULE_HELP[rule][:1].upper()}{RULE_HELP[rule][1:]}.",
        )
        for rule in RULES
        if rule in counts.index
    ]
    parts = [html.table(["Rule", "Masks", "What it means"], rows)]
    metrics = found.metrics or {}
    if metrics.get("counts", {}).get("candidates"):
        kinds = metric_tables.measured(metrics, "training")
        parts.insert(0, f"<p>{html.marked(' '.join(metric_texts.filter_sentences(kinds, metrics['counts'])))}</p>")
    for title, kept in (("Dropped with the best scores", False), ("Kept with the lowest scores", True)):
        some = judged[judged["kept"] == kept].sort_values("score", ascending=kept).head(NUM_BORDER)
        pairs = zip(some["mask_id"].tolist(), some["score"].tolist(), strict=True)
        tiles = "".join(_tile(found, mask_id, f"score {score:.2f}", muted=not kept) for mask_id, score in pairs)
        if tiles:
            parts.append(f'<h3>{title}</h3><ul class="board">{tiles}</ul>')
    return "".join(parts)


def _class_tables(found: _Read) -> str:
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


def _decisions(found: _Read) -> str:
    try:
        lines = summarise(found.run).splitlines()
    except MaskDistillError as error:
        lines = [str(error)]
    return "".join(f"<p>{html.text(line)}</p>" for line in lines)


def _stages(found: _Read) -> str:
    rows = [(state.name.replace("_", " "), state.text) for state in stage_states(found.run)]
    return html.table(["Stage", "State"], rows)


def _settings(found: _Read) -> str:
    changed = changed_settings(found.run.config(), found.info.get("preset") or PRESET)
    versions = sorted((found.info.get("versions") or {}).items())
    parts = [html.table(["Setting", "Value"], changed, caption="Settings that are not the preset's")] if changed else []
    if versions:
        parts.append(html.table(["Package", "Version"], versions, caption="Versions that the run was made with"))
    return "".join(parts) or "<p>All settings are the preset's.</p>"
