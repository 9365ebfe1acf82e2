"""Parts of a run's report in pictures: photos with the label maps of each stage, masks of clusters and filter."""

from itertools import zip_longest

import numpy as np
from PIL import Image

from maskdistill.datasets import IGNORE_INDEX, Photo, read_photo
from maskdistill.errors import DatasetError, RunError
from maskdistill.evaluation import metric_tables, metric_texts
from maskdistill.evaluation.run_label_maps import PSEUDO_LABELS
from maskdistill.handouts import html
from maskdistill.handouts.report_subject import ReportSubject
from maskdistill.pictures import colors, drawing
from maskdistill.pseudo_labels.filter import RULE_HELP, RULES
from maskdistill.storage.run_folder import thumbnail_in

NUM_PHOTOS = 6  # with their label maps
MAX_CLUSTERS = 16  # with crops
NUM_CROPS = 8  # of a cluster
NUM_BORDER = 8  # masks on each side of the filter
_OPACITY = 0.62  # of a label map over its photo


def examples(found: ReportSubject, side: int) -> str:
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


def _spread_photos(found: ReportSubject) -> list[int]:
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


def clusters(found: ReportSubject) -> str:
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
        parts.append(f'<h3>{title}</h3><ul class="board eight">{tiles}</ul>')
    left = len(sizes) - MAX_CLUSTERS
    more = f"<p>{left} smaller clusters are not shown.</p>" if left > 0 else ""
    chosen = "The masks nearest to the middle of each cluster; the largest clusters first."
    return f'<p class="soft">{chosen}</p>{"".join(parts)}{more}'


def _tile(found: ReportSubject, mask_id: int, words: str = "", *, muted: bool = False) -> str:
    try:
        content = thumbnail_in(found.run.thumbs, mask_id).read_bytes()
    except (OSError, RunError):
        return ""
    image = html.picture(drawing.jpeg_bytes_url(content), f"Mask {mask_id}", kind="crop")
    kind = ' class="muted"' if muted else ""
    return f"<li{kind}>{image}<span>{html.text(words)}</span></li>" if words else f"<li>{image}</li>"


def filter_rules(found: ReportSubject) -> str:
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
            parts.append(f'<h3>{title}</h3><ul class="board eight">{tiles}</ul>')
    return "".join(parts)
