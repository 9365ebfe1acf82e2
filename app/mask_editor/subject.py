"""A photo whose masks are mended, as all sessions share it: tokens read, likeness of its patches, other shapes."""

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

from app import photo_cache
from app.components.editable_image import Field
from app.run_context import run_config
from app.run_view import RunView
from maskdistill.config import FeatureConfig
from maskdistill.datasets import Photo
from maskdistill.pictures import drawing
from maskdistill.proposals.pool_masks import content_of
from maskdistill.review.repair import Mender, Preview, make_preview
from maskdistill.review.repair.stored import stored_tokens


@dataclass(frozen=True, eq=False)
class EditedPhoto:
    """Nothing here may be changed."""

    mender: Mender
    scale: float  # from pixels of the photo to those of the copy that it is mended on
    field: Field


def edited_photo(run_view: RunView, number: int) -> EditedPhoto:
    """A photo of a run, ready to mend its masks.

    Raises:
        MaskDistillError: If the photo, or the transformer, cannot be read.
    """
    photo = run_view.photos[number]
    key = (photo_cache.photo_key(photo), run_view.run.fingerprint_of("proposals"))
    with _making():  # two sessions that open the same photo make it once
        return _edited_photo(run_view.run.path, number, key, run_view, photo)


@st.cache_resource(max_entries=1, show_spinner=False)
def _making() -> threading.Lock:
    return threading.Lock()


@st.cache_resource(max_entries=6, show_spinner="Reading the photo …")
def _edited_photo(path: Path, number: int, key: tuple[str, str], _run_view: RunView, _photo: Photo) -> EditedPhoto:
    features = run_config(_run_view.info).features
    found = stored_tokens(_run_view.run, number, _photo, features)
    tokens, content = found if found is not None else _fresh_tokens(_photo, features)
    pixels = np.asarray(photo_cache.pixels(_photo))
    field = preview_field(make_preview(tokens, content))
    return EditedPhoto(Mender(tokens, pixels, content), pixels.shape[1] / _photo.width, field)


def _fresh_tokens(photo: Photo, features: FeatureConfig) -> tuple[np.ndarray, tuple[float, float]]:
    """Tokens by a forward pass, where the run has stored none."""
    from maskdistill.features.patch_tokens import FreshTokens

    fresh = FreshTokens(features, photo_cache.backbone(features))
    with photo_cache.forward_lock():
        tokens, geometry = fresh(photo)
    width = tokens.shape[2] // len(fresh.blocks)
    return tokens[..., -width:], content_of(geometry)


def preview_field(preview: Preview) -> Field:
    """What the browser draws previews from, as a PNG of some hundred kilobytes."""
    src = drawing.png_url(Image.fromarray(preview.values))
    return Field(src, preview.rows, preview.cols, preview.reach, preview.least_way, preview.noise)
