"""Masks of one photo for somebody who looks at it, on a copy of bounded size. Importing this loads no torch."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from PIL import Image

from maskdistill.config import FeatureConfig
from maskdistill.datasets import Photo, read_photo

if TYPE_CHECKING:  # importing these loads torch, which a first page can do without
    from maskdistill.features.backbone import Backbone
    from maskdistill.features.forward import FeatureRequest
    from maskdistill.proposals.pool import Pool
    from maskdistill.proposals.propose import Proposals, Recipe
    from maskdistill.proposals.views import ImageView

LIVE_SIDE = 1024  # pixels, longest side of the copy that masks are drawn on


@dataclass(frozen=True)
class LiveProposals:
    """Masks of one photo under one set of settings, on the copy of at most ``LIVE_SIDE`` pixels."""

    proposals: "Proposals"
    recipe: "Recipe"
    view: "ImageView"
    milliseconds: float  # from features at hand to masks


def live_size(photo: Photo) -> tuple[int, int]:
    """height, width in pixels of the copy that is explored."""
    scale = min(1.0, LIVE_SIDE / max(photo.height, photo.width))
    return max(1, round(photo.height * scale)), max(1, round(photo.width * scale))


def live_pixels(photo: Photo) -> Image.Image:
    """Upright RGB copy of at most ``LIVE_SIDE`` pixels.

    Raises:
        DatasetError: If the file is damaged.
    """
    height, width = live_size(photo)
    image = read_photo(photo, min_short_side=min(height, width))
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)


def read_views(
    backbone: "Backbone", photo: Photo, features: FeatureConfig, view_scale: float, more: "FeatureRequest"
) -> tuple["ImageView", "ImageView"]:
    """The photo's two views with all features that people look at, and ``more``; the forward passes happen here.

    Raises:
        DatasetError: If the file is damaged.
    """
    from maskdistill.proposals.views import explore_request, extract_views

    side = backbone.geometry(photo.height, photo.width, features)
    scale = max(1.0, view_scale)
    image = read_photo(photo, min_short_side=round(scale * min(side.resized_height, side.resized_width)))
    size = (photo.height, photo.width)
    request = explore_request(backbone).joined(more)
    first, second = extract_views(backbone, image, size, features, request, view_scale=view_scale)
    assert second is not None  # its scale is given
    return first, second


def propose_live(
    views: tuple["ImageView", "ImageView"], image: Image.Image, recipe: "Recipe", pool: Sequence["Pool"]
) -> LiveProposals:
    """Masks on the copy, out of features at hand.

    Args:
        views: Of ``read_views``.
        image: Of ``live_pixels``.
        recipe: Settings.
        pool: Candidates of the views, as ``find_pool`` finds them.
    """
    from maskdistill.proposals.propose import propose_from_views

    start = time.perf_counter()
    first, second = views
    view = replace(first, geometry=replace(first.geometry, height=image.height, width=image.width))
    found = propose_from_views(view, second, image, recipe, tuple(pool))
    return LiveProposals(found, recipe, view, 1000 * (time.perf_counter() - start))
