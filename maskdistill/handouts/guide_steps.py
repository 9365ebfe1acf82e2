"""Steps 1 to 4 of the Guide's page, from the photo to its mask: nothing trained."""

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from maskdistill.config import describe_setting
from maskdistill.handouts import html
from maskdistill.handouts.guide_subject import GuideSubject
from maskdistill.handouts.scene import Frame, Scene, cell_size, cells, mesh, ring
from maskdistill.pictures import colors, derivation, drawing, overlays
from maskdistill.proposals.affinity import stacked_features
from maskdistill.proposals.live import LiveProposals, propose_live

BRIGHT = 0.98  # quantile of the attention that gets the brightest color
NUM_THRESHOLDS = 8  # values of the threshold that can be compared
MOST_PAIRS = 1_600_000  # of patches, whose affinities are all on the page: about as many bytes at most
_TILE = 232  # pixels, longer side of a picture in the row of steps


@dataclass(frozen=True)
class Shown:
    """What a step shows beside its texts."""

    picture: str  # HTML
    control: str = ""  # HTML, below the texts
    below: str = ""  # HTML across the page


def photo_step(subject: GuideSubject) -> Shown:
    """The bare photo."""
    photo = subject.photo
    scene = Scene(f"The photo {photo.id}", subject.image.size)
    return Shown(scene.html(f"{photo.id}: {photo.width} × {photo.height} pixels"))


def patches_step(subject: GuideSubject) -> Shown:
    """The grid of patches, and the attention of each head."""
    geometry = subject.live.view.geometry
    frames = [Frame("Patches", "", "Patches only")]
    attention = subject.live.view.features.cls_attention
    high = 0.0
    if attention is not None:
        maps = attention.numpy().reshape(-1, *subject.live.view.features.grid)
        named = [*((f"{number}", values) for number, values in enumerate(maps, start=1)), ("All", maps.mean(axis=0))]
        for name, values in named:
            high = float(np.quantile(values, BRIGHT))  # a few patches that get most would leave all others dark
            step = derivation.DerivationStep(name, "", drawing.color_map(values, 0, high, "sequential"))
            who = "All heads together" if name == "All" else f"Head {name}"
            frames.append(Frame(name, cells(step, geometry), f"{who}; the brightest color is {high:.2%} and more"))
    scene = Scene(
        f"Patches of {subject.photo.id}, and the attention that they get",
        subject.image.size,
        frames,
        chosen=len(frames) - 1,
        gray=len(frames) > 1,
        above=mesh(geometry),
    )
    size = f"{geometry.resized_width} × {geometry.resized_height}"
    spec = subject.backbone.spec
    facts = (
        f"{geometry.cols} × {geometry.rows} = {geometry.rows * geometry.cols:,} patches; the photo is read at {size} "
        f"pixels. Weights: {spec.name}. {spec.weights}"
    )
    scale = html.color_scale("Attention", ("0", "much"), "sequential") if len(frames) > 1 else ""
    control = scene.pills("Head of the attention", "head") if len(frames) > 1 else ""
    return Shown(scene.html(facts) + scale, control)


def affinity_step(subject: GuideSubject) -> Shown:
    """How similar each patch is to a ringed one, which a click chooses."""
    live, geometry = subject.live, subject.live.view.geometry
    patch = derivation.default_patch(live, 0) or (geometry.rows // 2, geometry.cols // 2)
    step = derivation.affinity_step(live, patch, "Affinity")
    where = f"Ring: row {patch[0] + 1}, column {patch[1] + 1}"
    if subject.config.proposals.engine != "published":
        tau = subject.config.proposals.tau
        linked = (derivation.affinity_map(live, patch) > tau).mean()
        where = f"{where}; {linked:.0%} of the patches have an affinity above τ = {tau:g}"
    data, canvas, control = _all_affinities(live, patch)
    scene = Scene(
        f"Affinity of every patch of {subject.photo.id} to the ringed one",
        subject.image.size,
        [Frame("Affinity", cells(step, geometry), where)],
        gray=True,
        above=canvas + ring(patch, geometry),
        kind="pickable" if data else "",
    )
    picture = scene.html("Click a patch to ring another." if data else "")
    if data:
        picture = picture.replace('class="scene', 'data-affinity class="scene', 1)
    scale = html.color_scale("Affinity", step.ends or ("low", "high"), step.scale)
    return Shown(picture + scale + data, control)


def _all_affinities(live: LiveProposals, patch: tuple[int, int]) -> tuple[str, str, str]:
    """Every patch's affinity to every other, to be shown on a click: data, canvas and fields; empty where too many."""
    geometry = live.view.geometry
    count = geometry.rows * geometry.cols
    if live.recipe.config.engine == "published" or count**2 > MOST_PAIRS:
        return "", "", ""
    vectors = stacked_features(live.view.features, live.recipe.feature, live.recipe.blocks)
    pairs = np.asarray(vectors @ vectors.T, np.float32)  # cosines: the vectors are of unit length
    low = min(0.0, float(pairs.min()))
    levels = np.clip(np.rint((pairs - low) / (1 - low) * 255), 0, 255).astype(np.uint8)
    about = {
        "picture": drawing.png_url(Image.fromarray(levels)),
        "rows": geometry.rows,
        "cols": geometry.cols,
        "low": round(low, 5),
        "tau": live.recipe.config.tau,
        "cell": [geometry.patch_size / geometry.resized_width, geometry.patch_size / geometry.resized_height],
        "colors": colors.scale_pixels(np.linspace(0, 1, 256), "sequential").tolist(),
    }
    data = f'<script type="application/json" id="affinity-data">{json.dumps(about, separators=(",", ":"))}</script>'
    width = 100 * geometry.padded_width / geometry.resized_width
    height = 100 * geometry.padded_height / geometry.resized_height
    canvas = (
        f'<canvas class="layer cells" width="{geometry.cols}" height="{geometry.rows}" hidden '
        f'style="{cell_size(geometry)};width:{width:.3f}%;height:{height:.3f}%"></canvas>'
    )
    fields = "".join(
        f'<label>{name} <input type="number" name="{key}" min="1" max="{most}" value="{place + 1}"></label>'
        for name, key, most, place in (
            ("Row", "row", geometry.rows, patch[0]),
            ("Column", "col", geometry.cols, patch[1]),
        )
    )
    return data, canvas, f'<fieldset class="control"><legend>Ringed patch</legend>{fields}</fieldset>'


def cut_step(subject: GuideSubject) -> Shown:
    """The mask under several thresholds, and the steps that led to it."""
    found = _thresholds(subject)
    frames = [Frame(name, _mask_layers(live), _mask_facts(live)) for name, live in found]
    chosen = next(place for place, (_, live) in enumerate(found) if live is subject.live)
    scene = Scene(f"The mask found in {subject.photo.id}", subject.image.size, frames, chosen=chosen)
    sign = "Candidates" if subject.config.proposals.engine == "published" else "τ"
    control = scene.slider(sign) if len(frames) > 1 else ""
    steps = derivation.mask_steps(subject.live, 0)
    tiles = "".join(_tile(subject, step) for step in steps)
    below = f'<h3>How this mask came about</h3><ul class="board large">{tiles}</ul>' if tiles else ""
    return Shown(scene.html(subject.live.proposals.problem or ""), control, below)


def _thresholds(subject: GuideSubject) -> list[tuple[str, LiveProposals]]:
    """Masks under values of the threshold over its usual range; the settings' own is the subject's very masks."""
    from maskdistill.proposals.propose import Recipe

    config = subject.config
    setting = describe_setting("proposals.topk" if config.proposals.engine == "published" else "proposals.tau")
    own = setting.value_in(config)
    low, high = setting.slider_ends(own, usual=True) or (own, own)
    values = {round(float(value), 2) for value in np.linspace(low, high, NUM_THRESHOLDS)}
    found = {f"{own:.2f}": (own, subject.live)}
    for value in sorted(values):
        if f"{value:.2f}" not in found:
            name = setting.full_name.partition(".")[2]
            changed: dict[str, Any] = {name: value}
            recipe = Recipe.resolve(replace(config.proposals, **changed), config.crf, subject.backbone)
            found[f"{value:.2f}"] = (value, propose_live(subject.views, subject.image, recipe, subject.pool))
    ordered = sorted(found.items(), key=lambda item: item[1][0])
    return [(name, live) for name, (_, live) in ordered]


def _mask_layers(live: LiveProposals) -> str:
    layers = (
        html.layer(overlays.mask_layer(item.mask, colors.mask_color(rank)))
        for rank, item in enumerate(live.proposals.proposals)
    )
    return "".join(layers)


def _mask_facts(live: LiveProposals) -> str:
    found = live.proposals.proposals
    if not found:
        return "No mask at this threshold"
    areas = ", ".join(f"{item.mask.mean():.0%}" for item in found)
    return f"The mask covers {areas} of the photo; score {found[0].score:.2f} of 1"


def _tile(subject: GuideSubject, step: derivation.DerivationStep) -> str:
    geometry = subject.live.view.geometry
    image = step.image
    if not step.on_patches:  # the photo's size, which a small picture does not need
        image = image.resize(_small(image.size), Image.Resampling.NEAREST)
        image.info.update(step.image.info)
    small = replace(step, image=image)
    mark = "" if step.mark is None else ring(step.mark, geometry)
    scene = Scene(f"{step.title}", subject.image.size, [Frame("", cells(small, geometry))], gray=True, above=mark)
    return f"<li>{scene.html()}<span><strong>{html.text(step.title)}</strong> {html.text(step.caption)}</span></li>"


def _small(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, _TILE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
