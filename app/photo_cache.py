"""Photos and the transformer that reads them, kept for all sessions: sources, pixels, pictures, live masks."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import streamlit as st
from PIL import Image

from app.cache import Shelf
from maskdistill.config import CrfConfig, FeatureConfig, ProposalConfig
from maskdistill.datasets import Photo, PhotoSource, ProgressCallback, open_source, read_photo
from maskdistill.errors import printable
from maskdistill.pictures import drawing
from maskdistill.proposals.live import LIVE_SIDE, LiveProposals, live_pixels, propose_live, read_views

if TYPE_CHECKING:  # importing these loads torch, which the first page can do without
    from maskdistill.features.backbone import Backbone
    from maskdistill.features.forward import FeatureRequest
    from maskdistill.features.registry import BackboneChoice
    from maskdistill.proposals.pool import Pool
    from maskdistill.proposals.propose import Proposals
    from maskdistill.proposals.views import ImageView

_Config = TypeVar("_Config", FeatureConfig, ProposalConfig)

THUMB_SIDE = 168  # pixels, longest side


@st.cache_resource(show_spinner=False, max_entries=1)
def _sources() -> Shelf:
    return Shelf(size=4)


def source(spec: str, on_progress: ProgressCallback | None = None, seen: Path | None = None) -> PhotoSource:
    """A source of photos, inspected once per server.

    Args:
        spec: As ``open_source`` takes it.
        on_progress: Called while photos are looked for and read.
        seen: Where a run keeps what the photos were (``Run.seen_path``).

    Raises:
        DatasetError: If there is nothing to use.
    """
    return _sources().get(spec, lambda: open_source(spec, on_progress=on_progress, seen=seen))


def renewed(spec: str, seen: Path) -> PhotoSource:
    """A source of photos, looked at again; those who ask after that get what was found.

    Args:
        spec: As ``source`` takes it.
        seen: Likewise: of a million photos, those that did not change are not read again.

    Raises:
        DatasetError: If there is nothing to use.
        ConfigError: If nobody may read it.
    """
    rescan(spec)
    return source(spec, seen=seen)


def rescan(spec: str) -> None:
    """Look at the files again the next time."""
    _sources().drop(spec)


@st.cache_data(ttl=120, max_entries=16, show_spinner="Looking for weights …")
def choice(name: str) -> "BackboneChoice":
    """What a backbone's name comes to on this machine."""
    from maskdistill.features.registry import choose_backbone

    return choose_backbone(name)


@st.cache_resource(max_entries=2, show_spinner="Loading the transformer …")
def _backbone(features: FeatureConfig) -> "Backbone":
    from maskdistill.features.backbone import load_backbone

    return load_backbone(features)


def backbone(features: FeatureConfig) -> "Backbone":
    """The frozen transformer of these settings, one for all sizes of photos."""
    return _backbone(_some_of(features, "backbone", "architecture", "device", "precision", "runtime"))


def _some_of(config: _Config, *names: str) -> _Config:
    """Only some of the settings; the others as they are by default."""
    return type(config)(**{name: getattr(config, name) for name in names})


def _of_views(features: FeatureConfig) -> FeatureConfig:
    """Only the settings that the features of a photo depend on."""
    return _some_of(features, "backbone", "architecture", "shorter_side", "fit", "device", "precision", "runtime")


def photo_key(photo: Photo) -> str:
    """Names the pixels of a photo: another file, content or view gives another key."""
    return printable(f"{photo.path}|{photo.digest}|{photo.view}")  # Streamlit hashes text as UTF-8


@st.cache_resource(max_entries=24, show_spinner=False)
def _pixels(key: str, _photo: Photo) -> Image.Image:
    return live_pixels(_photo)


def pixels(photo: Photo) -> Image.Image:
    """Upright RGB copy of at most ``LIVE_SIDE`` pixels; do not change it."""
    return _pixels(photo_key(photo), photo)


@st.cache_data(max_entries=64, show_spinner=False)
def _photo_url(key: str, side: int, _photo: Photo) -> str:
    image = pixels(_photo).copy()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return drawing.jpeg_url(image)


def photo_url(photo: Photo, side: int = LIVE_SIDE) -> str:
    """The photo as a data URL, its longest side at most ``side`` pixels."""
    return _photo_url(photo_key(photo), side, photo)


@st.cache_data(max_entries=4000, show_spinner=False)
def _thumb_url(key: str, _photo: Photo) -> str:
    image = read_photo(_photo, min_short_side=THUMB_SIDE)
    image.thumbnail((THUMB_SIDE, THUMB_SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return drawing.jpeg_url(image, quality=80)


def thumb_url(photo: Photo) -> str:
    """A small copy as a data URL, about 5 kB.

    Raises:
        DatasetError: If the file is damaged behind its header.
    """
    return _thumb_url(photo_key(photo), photo)


@st.cache_resource(show_spinner=False, max_entries=1)
def forward_lock() -> threading.Lock:
    """Sessions share the cores: two passes at once would both come later than one after the other."""
    return threading.Lock()


@st.cache_resource(max_entries=16, show_spinner="Reading the photo with the transformer …")
def _looks(
    features: FeatureConfig, view_scale: float, more: "FeatureRequest", key: str, _photo: Photo
) -> tuple["ImageView", "ImageView"]:
    net = backbone(features)
    with forward_lock():
        return read_views(net, _photo, features, view_scale, more)


def _views(
    features: FeatureConfig, proposal: ProposalConfig, key: str, photo: Photo
) -> tuple["ImageView", "ImageView"]:
    """Both views of a photo, with what these settings read; rare settings take a forward pass of their own."""
    from maskdistill.proposals.propose import Recipe
    from maskdistill.proposals.views import explore_request

    net = backbone(features)
    request = Recipe.resolve(proposal, CrfConfig(), net).request
    return _looks(features, proposal.view_scale, request.without(explore_request(net)), key, photo)


@st.cache_resource(max_entries=16, show_spinner=False)
def _pool(features: FeatureConfig, proposal: ProposalConfig, key: str, _photo: Photo) -> "tuple[Pool, ...]":
    from maskdistill.proposals.propose import Recipe, find_pool

    views = _views(features, proposal, key, _photo)
    return find_pool(*views, Recipe.resolve(proposal, CrfConfig(), backbone(features)))


def _of_pool(proposal: ProposalConfig) -> ProposalConfig:
    """Only the settings that the candidates depend on; the others as they are by default."""
    cuts = ("engine", "num_objects", "feature", "blocks", "views", "view_scale")
    return _some_of(proposal, *cuts, "pool", "pool_depth", "pool_joins", "pool_size")


@st.cache_resource(max_entries=32, show_spinner=False)
def _live(features: FeatureConfig, proposal: ProposalConfig, crf: CrfConfig, key: str, _photo: Photo) -> LiveProposals:
    from maskdistill.proposals.propose import Recipe

    views = _views(features, proposal, key, _photo)
    pool = _pool(features, _of_pool(proposal), key, _photo)
    return propose_live(views, pixels(_photo), Recipe.resolve(proposal, crf, backbone(features)), pool)


def live(features: FeatureConfig, proposal: ProposalConfig, crf: CrfConfig, photo: Photo) -> LiveProposals:
    """Masks of a photo; the forward pass runs once per photo and feature settings, whatever the other settings.

    Raises:
        MaskDistillError: If the weights, the photo or a setting cannot be used.
    """
    return _live(_of_views(features), proposal, crf, photo_key(photo), photo)


def full_size(features: FeatureConfig, proposal: ProposalConfig, crf: CrfConfig, photo: Photo) -> "Proposals":
    """The masks at the photo's own size, for downloads."""
    from maskdistill.proposals.propose import Recipe, propose_from_views

    features, key = _of_views(features), photo_key(photo)
    first, second = _views(features, proposal, key, photo)
    recipe, pool = Recipe.resolve(proposal, crf, backbone(features)), _pool(features, _of_pool(proposal), key, photo)
    return propose_from_views(first, second, read_photo(photo), recipe, pool)
