"""Downloads of the photo on show: overlay, mask and the whole derivation; made when they are asked for."""

import io
import json
import zipfile
from functools import partial

import streamlit as st
from PIL import Image

from app import photo_cache
from maskdistill.config import RunConfig
from maskdistill.datasets import Photo, read_photo
from maskdistill.pictures import derivation, drawing
from maskdistill.pictures.derivation import DerivationStep
from maskdistill.proposals.live import LiveProposals

OPACITY = 0.45


def draw(photo: Photo, config: RunConfig, live: LiveProposals) -> None:
    """A button that opens the choice of files."""
    stem = photo.id.replace("/", "_")
    with st.popover("Download", icon=":material/download:", width="stretch"):
        st.caption("At the photo's own size. The zip holds every picture, and the settings as JSON.")
        _button("Photo with masks", partial(overlay_png, photo, config), f"{stem}-overlay.png", "image/png")
        _button("Masks as palette PNG", partial(mask_png, photo, config), f"{stem}-mask.png", "image/png")
        _button("Derivation as one sheet", partial(sheet_png, photo, live), f"{stem}-derivation.png", "image/png")
        _button("Everything as zip", partial(bundle, photo, config, live), f"{stem}.zip", "application/zip")


def _button(label: str, make: "partial[bytes]", name: str, mime: str) -> None:
    st.download_button(label, make, name, mime, key=f"download:{label}", on_click="ignore", width="stretch")


def overlay_png(photo: Photo, config: RunConfig) -> bytes:
    """The photo with its masks, at full size."""
    found = photo_cache.full_size(config.features, config.proposals, config.crf, photo)
    masks = [item.mask for item in found.proposals]
    return drawing.png_bytes(drawing.overlay(read_photo(photo), masks, OPACITY))


def mask_png(photo: Photo, config: RunConfig) -> bytes:
    """Palette PNG at full size: 0 background, n the n-th mask."""
    found = photo_cache.full_size(config.features, config.proposals, config.crf, photo)
    masks = [item.mask for item in found.proposals]
    return drawing.png_bytes(drawing.index_mask(masks, (photo.height, photo.width)))


def sheet_png(photo: Photo, live: LiveProposals) -> bytes:
    """The derivation's pictures on one page."""
    return drawing.png_bytes(drawing.contact_sheet(_pictures(photo, live)))


def bundle(photo: Photo, config: RunConfig, live: LiveProposals) -> bytes:
    """Zip of all pictures and the settings."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("overlay.png", overlay_png(photo, config))
        archive.writestr("mask.png", mask_png(photo, config))
        archive.writestr("settings.json", json.dumps(config.to_dict(), indent=1))
        for number, (title, picture) in enumerate(_pictures(photo, live), start=1):
            name = title.lower().replace(" ", "-")
            archive.writestr(f"{number:02d}-{name}.png", drawing.png_bytes(picture))
    return buffer.getvalue()


def _pictures(photo: Photo, live: LiveProposals) -> list[tuple[str, Image.Image]]:
    image = photo_cache.pixels(photo)
    masks = [item.mask for item in live.proposals.proposals]
    steps = [*derivation.attention_steps(live), *derivation.mask_steps(live, 0)]
    pictures = [(step.title, _on_photo(step, image, live)) for step in steps]
    return [("Photo", image), *pictures, ("Masks", drawing.overlay(image, masks, OPACITY))]


def _on_photo(step: DerivationStep, image: Image.Image, live: LiveProposals) -> Image.Image:
    """A step's picture over the grey photo, the way the page shows it."""
    geometry = live.view.geometry
    grey = image.convert("L").convert("RGB")
    layer = step.image.convert("RGBA")
    if step.on_patches:
        cell = geometry.patch_size
        box = (0, 0, geometry.resized_width / cell, geometry.resized_height / cell)
        layer = layer.resize(image.size, Image.Resampling.NEAREST, box=box)
    opacity = 0.75
    layer.putalpha(layer.getchannel("A").point(lambda value: int(value * opacity)))
    return Image.alpha_composite(grey.convert("RGBA"), layer).convert("RGB")
