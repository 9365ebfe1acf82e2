"""Steps 5 to 8 of the Guide's page: the photo among a run's clusters, its filter and its models."""

from dataclasses import replace

import numpy as np

from maskdistill.clustering.neighbors import nearest_to
from maskdistill.handouts import html
from maskdistill.handouts.guide_steps import Shown
from maskdistill.handouts.guide_subject import GuideSubject, RunOnShow
from maskdistill.handouts.scene import Frame, Scene
from maskdistill.pictures import colors, drawing, overlays
from maskdistill.pseudo_labels.filter import PHOTO_BEST
from maskdistill.pseudo_labels.new_photo import Places, filter_photo

NUM_TILES = 12  # masks of a board
MOST_CLUSTERS = 12  # that have a board of their own
MOST_KEYS = 5  # classes that are named below a picture
MOST_EPOCHS = 12  # pictures of a training
THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_CROP = 360  # pixels


def clusters_step(subject: GuideSubject) -> Shown:
    """The mask beside the most similar ones, and the most typical ones of each cluster."""
    on_show, places = _needed(subject)
    own = int(places.clusters[0])
    members = np.bincount(on_show.classes.cluster, minlength=on_show.classes.num_classes + 1)
    boards = [("Most similar", _nearest(subject, on_show, places.vectors[0]))]
    largest = [int(number) for number in np.argsort(-members[1:], kind="stable") + 1 if members[number]]
    for cluster in sorted(largest[:MOST_CLUSTERS]):
        boards.append((on_show.classes.name_of(cluster), _typical(on_show, cluster)))
    pictures = "".join(
        f'<ul class="board frame-board" data-facts=""{"" if place == 0 else " hidden"}>{tiles}</ul>'
        for place, (_, tiles) in enumerate(boards)
    )
    pills = "".join(
        f'<label><input type="radio" name="cluster" value="{place}"{" checked" if place == 0 else ""}>'
        f"{html.text(name)}</label>"
        for place, (name, _) in enumerate(boards)
    )
    color, name = colors.cluster_color(own), on_show.classes.name_of(own) if own else "no class"
    assert subject.predicted is not None
    crop = overlays.crop_with_outline(subject.image, subject.predicted.own[0], color, _CROP)
    mine = (
        f'<figure class="own" style="--mark:{color}">{html.picture(html.photo_url(crop, _CROP), f"The mask, {name}")}'
        f"<figcaption>This mask: {html.text(name)}</figcaption></figure>"
    )
    facts = f"{name[:1].upper()}{name[1:]} holds {members[own]:,} of the run's {members[1:].sum():,} masks."
    if on_show.run.own_mask_stage == "foreground":
        facts += " The photo's mask is as the run's foreground corrects it."
    caption = f'<p class="facts">{html.text(facts)}</p>'
    control = f'<fieldset class="control" data-frames><legend>Show</legend>{pills}</fieldset>'
    return Shown(f'{mine}<div class="boards">{pictures}</div>{caption}', control)


def _nearest(subject: GuideSubject, on_show: RunOnShow, vector: np.ndarray) -> str:
    """The most similar masks, without those of the photo itself."""
    found, cosines = nearest_to(on_show.vectors, vector, NUM_TILES + on_show.run.masks_per_photo)
    images = on_show.frame["image"].to_numpy()[on_show.row_of_vector[found]]
    others = images != subject.number
    pairs = list(zip(found[others][:NUM_TILES].tolist(), cosines[others][:NUM_TILES].tolist(), strict=True))
    return "".join(_tile(on_show, place, f"cosine {cosine:.2f}") for place, cosine in pairs)


def _typical(on_show: RunOnShow, cluster: int) -> str:
    places = np.flatnonzero(on_show.classes.cluster == cluster)
    distances = on_show.frame["distance"].to_numpy()[on_show.row_of_vector[places]]
    return "".join(_tile(on_show, int(place), "") for place in places[np.argsort(distances, kind="stable")][:NUM_TILES])


def _tile(on_show: RunOnShow, place: int, words: str) -> str:
    """The crop of the mask in a row of the vectors."""
    row = on_show.row_of_vector[place]
    cluster = int(on_show.classes.cluster[place])
    name = on_show.classes.name_of(cluster) if cluster else "no class"
    return crop_tile(on_show, int(row), name, colors.cluster_color(cluster), words)


def crop_tile(on_show: RunOnShow, row: int, name: str, color: str, words: str = "", *, muted: bool = False) -> str:
    """A mask's crop with its class, as an item of a board; nothing if the crop is gone."""
    image_id = str(on_show.frame["image_id"].iat[row])
    content = on_show.crop(int(on_show.frame["mask_id"].to_numpy()[row]))
    if content is None:
        return ""
    image = html.picture(drawing.jpeg_bytes_url(content), f"A mask of {image_id}", kind="crop")
    more = f"<small>{html.text(words)}</small>" if words else ""
    kind = ' class="muted"' if muted else ""
    return f"<li{kind}>{image}<span>{html.swatch(color)}{html.text(name)} {more}</span></li>"


def first_model_step(subject: GuideSubject) -> Shown:
    """What the first model draws after each epoch."""
    on_show, predicted = subject.on_show, subject.predicted
    assert on_show is not None
    assert predicted is not None
    total = on_show.config.stage1.epochs
    chosen = sorted({round(place) for place in np.linspace(0, len(predicted.epochs) - 1, MOST_EPOCHS)})
    epochs = [predicted.epochs[place] for place in chosen]
    frames = [
        Frame(
            f"{epoch} of {total}" if epoch else "before",
            html.layer(overlays.confidence_layer(probabilities)),
            f"After epoch {epoch} of {total}" if epoch else "Before the training",
        )
        for epoch, probabilities in epochs
    ]
    scene = Scene(
        f"What the first model draws on {subject.photo.id}",
        subject.image.size,
        frames,
        chosen=len(frames) - 1,
        gray=True,
    )
    photos = on_show.table["image"].nunique()
    keys = html.legend(_keys(on_show, predicted.first))
    facts = f"Trained on {photos:,} photos, each seen {total} times."
    return Shown(scene.html(facts) + keys, scene.slider("Epoch") if len(frames) > 1 else "")


def filter_step(subject: GuideSubject) -> Shown:
    """The photo's masks with the scores that the first model gives them, kept or dropped under several thresholds."""
    on_show, places = _needed(subject)
    assert subject.predicted is not None
    seen, number = subject.predicted.masks, subject.number
    config = on_show.config.filter
    others = on_show.table if number is None else on_show.table[on_show.table["image"] != number]
    own = f"{config.min_score:.2f}"
    values = {f"{value:.2f}": value for value in (*THRESHOLDS, config.min_score)}
    frames = []
    for name, value in sorted(values.items(), key=lambda item: item[1]):
        found = filter_photo(others, number, seen, places, replace(config, min_score=value))
        layers = []
        for item, kept, rule in zip(seen, found.kept.tolist(), found.rules, strict=True):
            color = colors.cluster_color(int(item.label))
            layers.append(html.layer(overlays.mask_layer(item.mask, color, dropped=not kept)))
            words = f"{item.score:.2f}{', back as the best' if rule == PHOTO_BEST else ''}{'' if kept else ', dropped'}"
            x, y = overlays.anchor_of(item.mask)
            kind = "tag" if kept else "tag out"
            place = f"left:{100 * x:.1f}%;top:{100 * y:.1f}%;--tag:{color}"
            layers.append(f'<b class="{kind}" style="{place}">{html.text(words)}</b>')
        stays = int(found.whole.kept[: len(others)].sum())
        facts = f"This photo: {found.kept.sum()} of {len(seen)} masks stay. The run: {stays:,} of {len(others):,}"
        frames.append(Frame(name, "".join(layers), facts))
    chosen = [frame.name for frame in frames].index(own)
    scene = Scene(
        f"Masks of {subject.photo.id} with the first model's scores", subject.image.size, frames, chosen=chosen
    )
    return Shown(scene.html(f"The run's threshold is {own}."), scene.slider("Score at least"))


def final_model_step(subject: GuideSubject) -> Shown:
    """First and final model on the two sides of a line."""
    on_show, predicted = subject.on_show, subject.predicted
    assert on_show is not None
    assert predicted is not None
    first, final = (overlays.class_layer(labels) for labels in (predicted.first, predicted.final))
    layers = html.layer(first) + html.layer(final, kind="wiped") + '<i class="line"></i>'
    scene = Scene(
        f"First and final model on {subject.photo.id}",
        subject.image.size,
        [Frame("", _cover(layers), "")],
        gray=True,
        kind="wipe",
    )
    differ = np.mean(predicted.first != predicted.final)
    ratio = subject.image.size[0] / subject.image.size[1]
    sides = f'<p class="sides soft" style="--ratio:{ratio:.4f}"><span>First model</span><span>Final model</span></p>'
    keys = html.legend(_keys(on_show, np.stack([predicted.first, predicted.final])))
    control = (
        '<div class="control"><label><b>Border</b> <input type="range" min="0" max="100" value="50" data-wipe>'
        "</label></div>"
    )
    return Shown(sides + scene.html(f"The two models differ on {differ:.1%} of the photo.") + keys, control)


def _cover(layers: str) -> str:
    """The final model's side has the photo of its own beneath, so that the first one's labels do not shine through."""
    return layers.replace('<img class="layer wiped"', '<i class="photo wiped"></i><img class="layer wiped"', 1)


def _keys(on_show: RunOnShow, labels: np.ndarray) -> list[tuple[str, str]]:
    """Colors and names of the classes that cover most of a picture."""
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    largest = [int(label) for label in np.argsort(-counts, kind="stable")[:MOST_KEYS] if counts[label]]
    return [(colors.cluster_color(label), on_show.classes.name_of(label)) for label in largest]


def _needed(subject: GuideSubject) -> tuple[RunOnShow, Places]:
    assert subject.on_show is not None
    assert subject.predicted is not None
    return subject.on_show, subject.predicted.places
