"""The photo with its masks or an affinity map on it, scores below; a click selects a patch."""

from collections.abc import Mapping

import numpy as np

from app import photo_cache, selection
from app.components.layered_image import ColorScale, Grid, Layer, LayeredImage, Part, View, layered_image
from maskdistill.datasets import Photo
from maskdistill.datasets.transforms import pixel_to_patch
from maskdistill.pictures import colors, drawing
from maskdistill.pictures.derivation import DerivationStep, Patch
from maskdistill.proposals.live import LiveProposals
from maskdistill.proposals.scoring import PART_HELP, PART_NAMES, WEIGHTS

_MAP = 0.45  # least opacity of a map of values


def photo_view(
    photo: Photo,
    live: LiveProposals,
    affinity: DerivationStep | None,
    picked: Patch | None,
    *,
    key: str,
    max_height: int,
    more: tuple[View, ...] = (),
    first: View | None = None,
) -> None:
    """Draw the photo.

    Args:
        photo: The photo.
        live: Its masks.
        affinity: Map that the toolbar's last choice shows, or None.
        picked: Patch (row, col) that was clicked; a new one brings the map to the front.
        key: Widget key.
        max_height: CSS pixels.
        more: Further choices of the toolbar, between masks and map.
        first: A choice before the masks.
    """
    geometry = live.view.geometry
    masks = tuple(
        mask_layer(rank, item.mask, item.score, item.parts) for rank, item in enumerate(live.proposals.proposals)
    )
    image = LayeredImage(
        src=photo_cache.photo_url(photo),
        size=(photo.width, photo.height),
        alt=photo.id,
        height=f"{max_height}px",
        views=(*([first] if first else []), View(masks, "Masks"), *more, _affinity_view(affinity)),
        opacity=45,
        grid=Grid.of_geometry(geometry),
        hint="Click a patch to see which patches are similar",
        picked=picked,
    )
    layered_image(image, key=key, on_pick=lambda u, v: selection.select(patch=pixel_to_patch(u, v, geometry)))


def mask_layer(rank: int, mask: np.ndarray, score: float, parts: Mapping[str, float]) -> Layer:
    """A mask over the photo, and its entry in the list below.

    Args:
        rank: Its place among the photo's masks, which gives its name and color.
        mask: (H, W) bool.
        score: In [0, 1].
        parts: What the score is made of.
    """
    color = colors.mask_color(rank)
    return Layer(
        drawing.png_url(drawing.mask_layer(mask, color)),
        smooth=False,
        outline=True,
        name=f"Mask {rank + 1}",
        color=color,
        score=f"{score:.2f}",
        parts=tuple(
            Part(PART_NAMES[name], value, f"{PART_HELP[name]} (weight {WEIGHTS[name]:g})")
            for name, value in parts.items()
        ),
    )


def _affinity_view(step: DerivationStep | None) -> View:
    if step is None:
        return View(name="Affinity")
    scale = ColorScale.of_step(step, "Affinity to the ringed patch")
    return View((Layer.of_step(step, least=_MAP),), "Affinity", step.mark, scale)
