"""Steps 1 to 4, from the photo to its mask: live on any photo, nothing trained."""

from dataclasses import replace

import numpy as np

from app import photo_cache, selection, session
from app.components.layered_image import ColorScale, Layer, Slider, View, layered_image
from app.guide.picture import KEY, step_image
from app.guide.step_context import StepContext
from app.selection import Option
from maskdistill.config import Setting, describe_setting
from maskdistill.datasets.transforms import pixel_to_patch
from maskdistill.pictures import colors, derivation, drawing, overlays

MAP = 0.72  # opacity of a map of values: the photo's shapes still show
BRIGHT = 0.98  # quantile of the attention that gets the brightest colour
MEAN, NO_HEAD = "mean", "none"
MASK, SIDES = "mask", "sides"
TAU, TOPK = describe_setting("proposals.tau"), describe_setting("proposals.topk")


def draw_photo(context: StepContext) -> str:
    """The bare photo."""
    layered_image(step_image(context, context.photo.id), key=KEY)
    return f"{context.photo.width} × {context.photo.height} pixels"


def draw_patches(context: StepContext) -> str:
    """The grid of patches and the attention of a head, or of all."""
    geometry = context.live.view.geometry
    head = chosen_head(context)
    step = None if head == NO_HEAD else _attention(context, head)
    alt = f"Patches of {context.photo.id}" if step is None else f"{step.title}: attention to each patch"
    view = View() if step is None else _map_view(step, "Attention")
    image = replace(step_image(context, alt), views=(view,), gray=step is not None, lines=True)
    layered_image(image, key=KEY)
    size = f"{geometry.resized_width} × {geometry.resized_height}"
    count = geometry.rows * geometry.cols
    spec = photo_cache.backbone(context.config.features).spec
    return (
        f"{geometry.cols} × {geometry.rows} = {count:,} patches; the photo is read at {size} pixels. "
        f"Weights: {spec.name}, {spec.weights}"
    )


def heads(context: StepContext) -> list[str]:
    """What can be laid over the patches, as the link tells it."""
    attention = context.live.view.features.cls_attention
    count = 0 if attention is None else len(attention)
    return [NO_HEAD, *(str(number) for number in range(1, count + 1)), MEAN] if count else [NO_HEAD]


def chosen_head(context: StepContext) -> str:
    """The one on show; the mean, if the link says nothing."""
    options = heads(context)
    return selection.option(Option.HEAD, options[-1], options)


def _attention(context: StepContext, head: str) -> derivation.DerivationStep:
    """A few patches that get most of it would leave all others dark, so the colours end below them."""
    features = context.live.view.features
    if features.cls_attention is None:
        raise RuntimeError("The features of the photo came without the attention of the CLS token.")
    maps = features.cls_attention.numpy().reshape(-1, *features.grid)
    values = maps.mean(axis=0) if head == MEAN else maps[int(head) - 1]
    high = float(np.quantile(values, BRIGHT))
    title = "All heads" if head == MEAN else f"Head {head}"
    image = drawing.color_map(values, 0, high, "sequential")
    return derivation.DerivationStep(title, "", image, ends=("0", f"{high:.2%} and more"))


def draw_affinity(context: StepContext) -> str:
    """How similar each patch is to the ringed one; a click rings another."""
    geometry = context.live.view.geometry
    patch = (
        valid_patch(context) or derivation.default_patch(context.live, 0) or (geometry.rows // 2, geometry.cols // 2)
    )
    step = derivation.affinity_step(context.live, patch, "Affinity")
    image = replace(
        step_image(context, f"Affinity of every patch to the one in row {patch[0] + 1}, column {patch[1] + 1}"),
        views=(replace(_map_view(step, "Affinity"), ring=patch),),
        gray=True,
        hint="Click a patch to see which patches are similar",
    )
    layered_image(image, key=KEY, on_pick=lambda u, v: selection.select(patch=pixel_to_patch(u, v, geometry)))
    linked = (derivation.affinity_map(context.live, patch) > context.config.proposals.tau).mean()
    where = f"Ring: row {patch[0] + 1}, column {patch[1] + 1}"
    if context.config.proposals.engine == "published":
        return where
    return f"{where}; {linked:.0%} of the patches have an affinity above τ = {context.config.proposals.tau:g}"


def _map_view(step: derivation.DerivationStep, title: str) -> View:
    return View((Layer.of_step(step, MAP),), scale=ColorScale.of_step(step, title))


def valid_patch(context: StepContext) -> derivation.Patch | None:
    """The patch of the link, if the photo has it."""
    patch, geometry = selection.current().patch, context.live.view.geometry
    if patch is not None and (patch[0] >= geometry.rows or patch[1] >= geometry.cols):
        grid = f"{geometry.rows} × {geometry.cols}"
        session.notify(f"The link's patch {patch[0]}-{patch[1]} lies outside this photo's {grid} patches.")
        selection.select(patch=None)
        return None
    return patch


def draw_cut(context: StepContext) -> str:
    """The mask, or the two sides of the cut, under the threshold of the slider."""
    setting = TOPK if context.config.proposals.engine == "published" else TAU
    found = context.live.proposals
    sides = _sides(context) if selection.option(Option.LAYER, MASK, (MASK, SIDES)) == SIDES else None
    masks = tuple(
        Layer.of_image(overlays.mask_layer(item.mask, colors.mask_color(rank)))
        for rank, item in enumerate(found.proposals)
    )
    image = replace(
        step_image(context, "The two sides of the cut" if sides else f"The mask found in {context.photo.id}"),
        views=(_map_view(sides, "Blue: one side, orange: the other") if sides else View(masks),),
        gray=sides is not None,
        slider=_slider(setting, setting.value_in(context.config)),
    )
    layered_image(
        image,
        key=KEY,
        on_slide=lambda moved: selection.change_setting(context.run_context.base, setting.full_name, f"{moved:.2f}"),
    )
    if not found.proposals:
        return "No mask at this threshold"
    areas = ", ".join(f"{item.mask.mean():.0%}" for item in found.proposals)
    return f"The mask covers {areas} of the photo; score {found.proposals[0].score:.2f} of 1"


def _sides(context: StepContext) -> derivation.DerivationStep | None:
    """The signed map that the cut splits at zero."""
    steps = derivation.mask_steps(context.live, 0)
    return next((step for step in steps if step.scale == "diverging" and step.mark is not None), None)


def _slider(setting: Setting, value: float) -> Slider:
    sign = "τ" if setting is TAU else "Candidates"
    low, high = setting.slider_ends(value, usual=True) or (0.0, 1.0)
    return Slider(sign, low, high, setting.step, value, digits=2, name=setting.label)
