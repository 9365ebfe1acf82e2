"""Features of a photo and, where it is looked at twice, of its mirror image."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from maskdistill.config import FeatureConfig
from maskdistill.datasets.transforms import PatchGeometry
from maskdistill.features.backbone import Backbone
from maskdistill.features.forward import FeatureRequest, Features


@dataclass(frozen=True)
class ImageView:
    """Features of one view of a photo: itself, or its mirror image."""

    features: Features
    geometry: PatchGeometry
    mirrored: bool = False


Views = tuple[ImageView, ImageView | None]  # of a photo; the second only where it is asked for


def explore_request(backbone: Backbone) -> FeatureRequest:
    """What the usual settings of the explorer read, so that no slider needs a second forward pass."""
    return FeatureRequest(
        token_blocks=tuple(range(max(1, backbone.depth - 4), backbone.depth + 1)),
        last_qk=backbone.has_attention,
        projections=(("keys", backbone.depth),) if backbone.has_heads else (),
    )


def extract_views(
    backbone: Backbone,
    image: Image.Image,
    size: tuple[int, int],
    config: FeatureConfig,
    request: FeatureRequest,
    *,
    view_scale: float | None = None,
) -> Views:
    """One forward pass over the photo and, if asked for, one over its mirror image in another size.

    Args:
        backbone: The frozen transformer.
        image: Upright RGB, the photo or a smaller decoding of it.
        size: height, width of the photo in pixels.
        config: Size and fit.
        request: Which features to keep: ``Recipe.request``, or ``explore_request`` for all that a page may want.
        view_scale: Size of the mirror image as a fraction of the photo's; None takes no second view.
    """
    return extract_views_of(backbone, [image], [size], config, request, view_scale=view_scale)[0]


def extract_views_of(
    backbone: Backbone,
    images: Sequence[Image.Image],
    sizes: Sequence[tuple[int, int]],
    config: FeatureConfig,
    request: FeatureRequest,
    *,
    view_scale: float | None = None,
) -> list[Views]:
    """``extract_views`` of several photos, those of one shape together."""
    grids = [backbone.geometry(*size, config) for size in sizes]
    found = backbone.features_of(images, grids, request)
    firsts = [ImageView(features, grid) for features, grid in zip(found, grids, strict=True)]
    if view_scale is None:
        return [(first, None) for first in firsts]
    # Without padding: the mirror image of a padded grid would lie elsewhere than the photo.
    whole = dataclasses.replace(config, fit="resize")
    grids = [backbone.geometry(*size, whole, scale=view_scale) for size in sizes]
    found = backbone.features_of(images, grids, request, mirror=True)
    seconds = [ImageView(features, grid, mirrored=True) for features, grid in zip(found, grids, strict=True)]
    return list(zip(firsts, seconds, strict=True))
